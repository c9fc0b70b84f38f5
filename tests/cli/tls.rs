//! `wss://` and `tcps://`, against a router of the tests' own behind rustls, with a certificate made for it.

use std::io::Read;
use std::net::{Shutdown, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::process::{Directory, Router, SERIALIZERS, fanwire};
use crate::scripted::Peer;

/// A certificate for `localhost`, its key, and the file in which clients find it.
struct Identity {
    config: Arc<ServerConfig>,
    file: PathBuf,
    _directory: Directory,
}

fn identity() -> Identity {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = Directory::new();
    let file = directory.path.join("ca.pem");
    std::fs::write(&file, issued.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    Identity { config: Arc::new(config), file, _directory: directory }
}

/// A router that takes one publication of one session; its port.
fn router(config: &Arc<ServerConfig>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = config.clone();
    let thread = thread::spawn(move || {
        let session = ServerConnection::new(config).unwrap();
        let mut peer = Peer::new(StreamOwned::new(session, listener.accept().unwrap().0));
        peer.welcome();
        peer.expect("PUBLISH");
        peer.goodbye();
    });
    (port, thread)
}

#[test]
fn websocket_and_rawsocket_run_over_tls() {
    let identity = identity();
    let authority = identity.file.to_str().unwrap();
    for scheme in ["wss", "tcps"] {
        for serializer in SERIALIZERS {
            let (port, router) = router(&identity.config);
            let url = format!("{scheme}://localhost:{port}");
            // More than one TLS record.
            let text = "x".repeat(100_000);
            let publish =
                ["pub", "com.a", &text, "--url", &url, "--ca", authority, "--serializer", serializer];
            assert_eq!(fanwire(&publish), (0, String::new(), String::new()), "{url}");
            router.join().unwrap();
        }
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let identity = identity();
    let (port, router) = router(&identity.config);
    let (code, _, stderr) = fanwire(&["pub", "com.a", "--url", &format!("wss://localhost:{port}/")]);
    assert_eq!(code, 3);
    assert!(stderr.starts_with("error: TLS failed: ") && stderr.contains("UnknownIssuer"), "{stderr}");
    // The handshake failed for it as well.
    assert!(router.join().is_err());
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let identity = identity();
    let (port, router) = router(&identity.config);
    let url = format!("wss://127.0.0.1:{port}/");
    let (code, _, stderr) =
        fanwire(&["pub", "com.a", "--url", &url, "--ca", identity.file.to_str().unwrap()]);
    assert_eq!(code, 3);
    assert!(stderr.starts_with("error: TLS failed: "), "{stderr}");
    assert!(router.join().is_err());
}

#[test]
fn a_file_without_certificates_is_told() {
    let directory = Directory::new();
    let empty = directory.path.join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for (file, told) in [(empty, "holds no certificate"), (directory.path.join("none"), "cannot be read")] {
        let (code, _, stderr) =
            fanwire(&["pub", "com.a", "--url", "wss://localhost/", "--ca", file.to_str().unwrap()]);
        assert_eq!(code, 3);
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn a_router_without_tls_is_told() {
    let router = Router::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closing = listener.local_addr().unwrap();
    let closer = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
        socket.shutdown(Shutdown::Write).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    for (url, told) in [
        (format!("tcps://{closing}"), "closed in the TLS handshake"),
        (format!("wss://{}/", router.address), "TLS"),
    ] {
        let (code, _, stderr) = fanwire(&["pub", "com.a", "--url", &url]);
        assert_eq!(code, 3);
        assert!(stderr.contains(told), "{stderr}");
    }
    closer.join().unwrap();
}
