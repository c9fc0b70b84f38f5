//! What the log says of TLS: certificates whose time is over, and handshakes that fail by the hundred.

use std::fs;
use std::io::Write;
use std::time::Instant;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;

use crate::client::Client;
use crate::process::Process;
use crate::tls::Authority;

/// A process that speaks nothing but TLS, on one shard, with the files called `server` of that authority.
fn serve(authority: &Authority) -> Process {
    let files = authority.files("server");
    let (certificate, key) = (files.certificate.display(), files.key.display());
    Process::serve(&[
        "--listen=tcps://127.0.0.1:0",
        "--shards=1",
        &format!("--tls-certificate={certificate}"),
        &format!("--tls-key={key}"),
    ])
}

fn end(mut process: Process) -> String {
    process.signal(Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    log
}

#[test]
fn a_certificate_whose_time_is_over_is_told_at_the_start() {
    let authority = Authority::new();
    authority.settings();
    let log = end(serve(&authority));
    assert!(!log.contains("expire"), "{log}");

    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(2020, 1, 1);
    fs::write(authority.folder.join("server.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(authority.folder.join("server.key"), key.serialize_pem()).unwrap();
    let log = end(serve(&authority));
    assert_eq!(log.matches("has expired").count(), 1, "{log}");
    assert!(log.contains("server.pem") && log.contains("WARN"), "{log}");
}

#[test]
fn a_storm_of_handshakes_that_fail_does_not_fill_the_log() {
    const STORM: usize = 300;
    let authority = Authority::new();
    authority.settings();
    let process = serve(&authority);
    let begin = Instant::now();
    for _ in 0..STORM {
        let mut client = Client::connect(process.address());
        // A record of a handshake that is none.
        client.stream.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
        client.read_to_end();
    }
    let seconds = begin.elapsed().as_secs() as usize + 2;
    let log = end(process);
    let lines = log.matches("connection refused").count();
    assert!((1..=10 * seconds).contains(&lines), "{lines} lines in {seconds} s: {log}");
    assert!(log.contains(&format!("closed for Violation(TlsHandshake): {STORM}")), "all are counted: {log}");
}
