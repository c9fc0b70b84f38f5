//! `fanwire keygen`: makes key pairs for `cryptosign`, and says what the public half of a key is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use zeroize::Zeroizing;

use super::credentials::read_key;
use super::output;
use super::usage_error;
use crate::auth::cryptosign::{PublicKey, SigningKey};
use crate::auth::key::{self, Form};

/// Make a key pair for cryptosign
///
/// The private key goes to FILE, which only its owner may read, the public key to FILE.pub. A file that is there is
/// left alone. The public key is printed in hexadecimal, as the router's configuration has it.
#[derive(clap::Args, Debug)]
pub struct Keygen {
    /// File for the private key
    file: PathBuf,

    /// Make nothing: print the public half of the private key in FILE, whatever its form, or of the public key there
    #[arg(long)]
    public: bool,

    /// Form of the keys
    #[arg(long, value_enum, default_value_t = FormName::Hex)]
    form: FormName,

    /// Comment in keys of OpenSSH's form
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

/// The values of `--form`.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum FormName {
    /// Hexadecimal digits
    Hex,
    /// As ssh-keygen makes them
    Openssh,
    /// PKCS#8 and SubjectPublicKeyInfo, as openssl makes them
    Pem,
}

impl FormName {
    fn form(self) -> Form {
        match self {
            FormName::Hex => Form::Hex,
            FormName::Openssh => Form::OpenSsh,
            FormName::Pem => Form::Pem,
        }
    }
}

impl Keygen {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let told = if self.public { self.public() } else { self.generate() };
        match told {
            Ok(text) => match output::line(text.trim_end()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => usage_error(failure),
            },
            Err(what) => usage_error(what),
        }
    }

    /// The public key, in the form that was asked for.
    fn public(&self) -> Result<String, String> {
        // As hex both halves look the same; the name tells them apart.
        let beside = self.file.extension().is_some_and(|extension| extension == "pub");
        let public = match self.read_public().filter(|_| beside) {
            Some(public) => public,
            None => match read_key(&self.file) {
                Ok(key) => key.public(),
                Err(what) => self.read_public().ok_or(what)?,
            },
        };
        Ok(key::write_public(&public, self.form.form(), &self.comment))
    }

    fn read_public(&self) -> Option<PublicKey> {
        key::read_public(&std::fs::read_to_string(&self.file).ok()?).ok()
    }

    fn generate(&self) -> Result<String, String> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| format!("there is no entropy: {error}"))?;
        let key = SigningKey::from_seed(&seed);
        let form = self.form.form();
        let public_file = public_file(&self.file);
        if public_file.exists() {
            return Err(format!("{} is there already", public_file.display()));
        }
        create(&self.file, 0o600, &key::write(&key, form, &self.comment))?;
        create(&public_file, 0o644, &key::write_public(&key.public(), form, &self.comment))?;
        Ok(key.public().to_string())
    }
}

/// `FILE.pub`
fn public_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Writes a new file. Nobody but its owner ever sees a private one, not even while it is written.
fn create(path: &Path, mode: u32, text: &str) -> Result<(), String> {
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = created.and_then(|mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already", path.display()),
        _ => format!("{} cannot be written: {error}", path.display()),
    })
}
