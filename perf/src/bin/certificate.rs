//! Writes a certificate for 127.0.0.1, and its key, into a folder: for systems that are compared over TLS.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;

/// Write certificate.pem, for 127.0.0.1, and key.pem into a folder.
#[derive(Parser, Debug)]
struct Options {
    /// The folder, which is there
    folder: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Options::parse().folder;
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    std::fs::write(folder.join("certificate.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}
