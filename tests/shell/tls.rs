//! TLS over real sockets: who is let in, with what, and what becomes of those who are not.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanwire::config::Config;
use fanwire::limits::Limits;
use fanwire::server::{ClientCertificates, IdentityFiles, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use serde_json::json;
use socket2::SockRef;

use crate::client::{Client, HANDSHAKE, PATIENCE};
use crate::setup::{Fixture, serve_config};

pub type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// An authority with a folder for what it issues; the folder is removed with it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub folder: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fanwire-shell-tls-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for this host and its key, also as files of that name.
    pub fn issue(&self, name: &str, host: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    pub fn files(&self, name: &str) -> IdentityFiles {
        IdentityFiles::new(self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")))
    }

    /// The TLS of a server for `localhost`, whose files are called `server`.
    pub fn settings(&self) -> TlsSettings {
        self.issue("server", "localhost");
        let files = self.files("server");
        TlsSettings::new(files.certificate, files.key)
    }

    /// A client that believes this authority.
    pub fn trusting(&self) -> ClientConfig {
        self.trusting_with(rustls::ALL_VERSIONS).with_no_client_auth()
    }

    pub fn trusting_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A server that speaks TLS at its first address, and plainly at none.
pub fn serve_tls(tls: TlsSettings, shards: usize, limits: Limits) -> Fixture {
    let listen = if tls.shared { "127.0.0.1:0?tls=shared" } else { "tcps://127.0.0.1:0" };
    let listens = vec![listen.parse().unwrap()];
    serve_config(Config { listens, shards, limits, tls: Some(tls), ..Config::default() })
}

/// A TLS connection whose handshake is done, or why it is not.
pub fn handshake(address: SocketAddr, config: &Arc<ClientConfig>, host: &str) -> io::Result<TlsClient> {
    let mut socket = Client::connect(address).stream;
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), host).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(Client { stream: StreamOwned::new(session, socket) })
}

pub fn join(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let mut client = handshake(address, config, "localhost").unwrap();
    client.open();
    client.hello();
    client
}

/// Whether a client gets as far as RawSocket's handshake: with TLS 1.3 it learns only then what the server thinks of it.
fn is_served(address: SocketAddr, config: ClientConfig) -> bool {
    let Ok(mut client) = handshake(address, &Arc::new(config), "localhost") else { return false };
    let mut answer = [0; 4];
    client.stream.write_all(&HANDSHAKE).is_ok() && client.stream.read_exact(&mut answer).is_ok()
}

fn assert_serving(address: SocketAddr, config: &Arc<ClientConfig>) {
    let mut subscriber = join(address, config);
    subscriber.subscribe(1, "com.example.alive");
    let mut publisher = join(address, config);
    publisher.send(json!([16, 1, {}, "com.example.alive", ["yes"]]));
    assert_eq!(subscriber.event(), "yes");
}

#[test]
fn both_versions_are_spoken() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, Limits::DEFAULT);
    for (version, name) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Arc::new(authority.trusting_with(&[version]).with_no_client_auth());
        assert_serving(fixture.address, &config);
        let client = join(fixture.address, &config);
        assert_eq!(client.stream.conn.protocol_version(), Some(name));
    }
    fixture.end();
}

#[test]
fn a_port_is_shared_by_plain_and_encrypted_rawsocket_and_http() {
    let authority = Authority::new();
    let tls = TlsSettings { shared: true, ..authority.settings() };
    let fixture = serve_tls(tls, 2, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let mut encrypted = join(fixture.address, &config);
    let mut plain = Client::join(fixture.address);
    encrypted.subscribe(1, "com.example.topic");
    plain.send(json!([16, 1, {}, "com.example.topic", ["plain"]]));
    assert_eq!(encrypted.event(), "plain");
    let mut browsers: [Client<Box<dyn Stream>>; 2] = [
        Client { stream: Box::new(Client::connect(fixture.address).stream) },
        Client { stream: Box::new(handshake(fixture.address, &config, "localhost").unwrap().stream) },
    ];
    for browser in &mut browsers {
        browser.stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let page = browser.read_to_end();
        assert!(page.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&page));
    }
    drop((encrypted, plain, browsers));
    fixture.end();
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

#[test]
fn websocket_and_long_poll_are_spoken_over_tls() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let mut browser = handshake(fixture.address, &config, "localhost").unwrap();
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n";
    browser.stream.write_all(upgrade).unwrap();
    assert_eq!(browser.octets(), *b"HTTP/1.1 101");
    let mut poller = handshake(fixture.address, &config, "localhost").unwrap();
    let body = br#"{"protocols":["wamp.2.json"]}"#;
    let open = format!("POST /lp/open HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    // The head alone makes it the bridge's connection; the rest is read there.
    poller.stream.write_all(open.as_bytes()).unwrap();
    poller.stream.write_all(body).unwrap();
    assert_eq!(poller.octets(), *b"HTTP/1.1 200");
    drop((browser, poller));
    fixture.end();
}

#[test]
fn plain_octets_are_not_answered_where_only_tls_is_spoken() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, Limits::DEFAULT);
    for octets in [&HANDSHAKE[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(octets).unwrap();
        assert_eq!(client.read_to_end(), b"");
    }
    fixture.end();
}

#[test]
fn a_host_gets_its_certificate() {
    let authority = Authority::new();
    let mut tls = authority.settings();
    let (other, _) = authority.issue("other", "*.other.example");
    tls.identities.push(authority.files("other"));
    let fixture = serve_tls(tls, 1, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    for host in ["localhost", "a.other.example"] {
        let client = handshake(fixture.address, &config, host).unwrap();
        let is_other = client.stream.conn.peer_certificates().unwrap()[0] == other;
        assert_eq!(is_other, host != "localhost");
    }
    // The client refuses the first certificate, since it is not for this host.
    assert!(handshake(fixture.address, &config, "unknown.example").is_err());
    fixture.end();
}

#[test]
fn protocols_are_agreed_on_by_name() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, Limits::DEFAULT);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Ok(Some(&b"http/1.1"[..]))),
        (&["wamp.2.rawsocket"], Ok(Some(b"wamp.2.rawsocket"))),
        (&[], Ok(None)),
        (&["h2"], Err(())),
    ] {
        let mut config = authority.trusting();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let client = handshake(fixture.address, &Arc::new(config), "localhost");
        let client = client.map_err(drop);
        assert_eq!(client.as_ref().ok().map(|client| client.stream.conn.alpn_protocol()), agreed.ok());
    }
    fixture.end();
}

#[test]
fn clients_may_have_to_have_a_certificate() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let with = |from: &Authority, version| {
        let (certificate, key) = from.issue("client", "client.example");
        let builder = authority.trusting_with(&[version]);
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    };
    use ClientCertificates::{Off, Optional, Required};
    // What is asked for, under an authority or not; who is served: nobody's, a stranger's, ours.
    for (client, authorities, served) in [
        (Off, true, [true, true, true]),
        (Optional, true, [true, false, true]),
        (Required, true, [false, false, true]),
        (Optional, false, [true, true, true]),
        (Required, false, [false, true, true]),
    ] {
        let client_authorities = authorities.then(|| authority.file());
        let tls = TlsSettings { client, client_authorities, ..authority.settings() };
        let fixture = serve_tls(tls, 1, Limits::DEFAULT);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let clients = [
                authority.trusting_with(&[version]).with_no_client_auth(),
                with(&stranger, version),
                with(&authority, version),
            ];
            let result = clients.map(|config| is_served(fixture.address, config));
            assert_eq!(result, served, "{client:?} {authorities} {version:?}");
        }
        fixture.end();
    }
}

#[test]
fn a_session_goes_on_with_its_ticket() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, Limits::DEFAULT);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(authority.trusting_with(&[version]).with_no_client_auth());
        let kinds = [(); 3].map(|()| join(fixture.address, &config).stream.conn.handshake_kind().unwrap());
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
    fixture.end();
}

#[test]
fn what_was_read_too_late_does_not_replace_certificates_that_have_come_since() {
    let authority = Authority::new();
    let tls = TlsSettings { watch_ms: 1, ..authority.settings() };
    let Fixture { mut server, address } = serve_tls(tls, 1, Limits::DEFAULT);
    let key_file = authority.files("server").key;
    let key = fs::read(&key_file).unwrap();
    fs::remove_file(&key_file).unwrap();
    assert!(Command::new("mkfifo").arg(&key_file).status().unwrap().success());
    // Somebody is reading it when this returns.
    let mut writer = fs::OpenOptions::new().write(true).open(&key_file).unwrap();

    let (other, _) = authority.issue("other", "localhost");
    let files = authority.files("other");
    let tls = Some(TlsSettings::new(files.certificate, files.key));
    let listens = vec!["tcps://127.0.0.1:0".parse().unwrap()];
    server.change(Config { listens, shards: 1, tls, ..Config::default() }.server().unwrap()).unwrap();
    writer.write_all(&key).unwrap();
    drop(writer);
    assert_eq!(server.renew_certificates(), Some(Vec::new()));
    // What was found before has come to the acceptor by now.
    server.counters().unwrap();
    let late = handshake(address, &Arc::new(authority.trusting()), "localhost").unwrap();
    assert_eq!(late.stream.conn.peer_certificates().unwrap()[0], other);
    drop(late);
    server.drain();
    server.join();
}

#[test]
fn new_certificates_are_for_new_connections_and_bad_ones_for_nobody() {
    let authority = Authority::new();
    let tls = TlsSettings { watch_ms: 10, ..authority.settings() };
    let fixture = serve_tls(tls, 2, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let mut early = join(fixture.address, &config);
    early.subscribe(1, "com.example.topic");

    fs::write(authority.folder.join("server.key"), "no key").unwrap();
    let renewed = fixture.server.renew_certificates().unwrap();
    assert!(renewed.len() == 1 && renewed[0].error.is_some(), "{renewed:?}");
    assert_serving(fixture.address, &config);

    let (renewed, _) = authority.issue("server", "localhost");
    // Files are looked at in their own time; until then the old one is shown. Whoever has a ticket is shown none.
    let shown = || {
        let late = handshake(fixture.address, &Arc::new(authority.trusting()), "localhost").unwrap();
        late.stream.conn.peer_certificates().unwrap()[0].clone()
    };
    while shown() != renewed {}
    let resumed = join(fixture.address, &config);
    assert_eq!(
        resumed.stream.conn.handshake_kind(),
        Some(HandshakeKind::Resumed),
        "tickets outlive certificates"
    );
    let mut publisher = join(fixture.address, &config);
    publisher.send(json!([16, 1, {}, "com.example.topic", ["still there"]]));
    assert_eq!(early.event(), "still there");
    drop((early, publisher, resumed));
    fixture.end();
}

/// A ClientHello as it is on the wire.
fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut session = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    let mut octets = Vec::new();
    session.write_tls(&mut octets).unwrap();
    octets
}

#[test]
fn garbage_ends_the_connection_wherever_it_comes() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let hello = client_hello(&config);
    let too_long = [0x16, 3, 1, 0xFF, 0xFF];
    let beginnings = [&hello[..], &hello[..5], &hello[..1], &[0x16][..], &too_long];
    for beginning in beginnings {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(beginning).unwrap();
        // As much as a record holds, and more.
        if client.stream.write_all(&[0xA5; 20_000]).is_ok() {
            let _ = client.stream.flush();
        }
        let mut answer = Vec::new();
        let end = client.stream.read_to_end(&mut answer);
        assert!(
            !matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "it is closed: {end:?}"
        );
    }
    // In the middle of a session.
    let mut client = join(fixture.address, &config);
    client.stream.sock.write_all(&[0x17, 3, 3, 0, 4, 1, 2, 3, 4]).unwrap();
    assert!(client.try_receive().is_err());
    assert_serving(fixture.address, &config);
    fixture.end();
}

#[test]
fn a_reset_at_every_octet_of_the_hello_leaves_nothing_behind() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let hello = client_hello(&config);
    for cut in 0..=hello.len() {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(&hello[..cut]).unwrap();
        SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    assert_serving(fixture.address, &config);
    fixture.end();
}

/// A stream that gives every octet a packet of its own.
struct Slow(TcpStream);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Slow {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(&octets[..octets.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_handshake_may_come_octet_by_octet() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let slow = Slow(Client::connect(fixture.address).stream);
    let mut client = Client { stream: StreamOwned::new(session, slow) };
    client.open();
    client.hello();
    drop(client);
    fixture.end();
}

#[test]
fn handshakes_that_are_not_finished_disturb_nobody_and_are_closed() {
    let limits = Limits { handshake_ms_max: 500, ..Limits::DEFAULT };
    let authority = Authority::new();
    let tls = TlsSettings { shared: true, ..authority.settings() };
    let fixture = serve_tls(tls, 2, limits);
    let config = Arc::new(authority.trusting());
    let hello = client_hello(&config);
    let mut half_open: Vec<Client> = Vec::new();
    for count in 0..300 {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(&hello[..[0, 1, 6, hello.len()][count % 4]]).unwrap();
        half_open.push(client);
    }
    assert_serving(fixture.address, &config);
    for (count, client) in half_open.iter_mut().enumerate() {
        let answer = client.read_to_end();
        assert_eq!(answer.is_empty(), count % 4 != 3, "only a whole hello is answered");
    }
    fixture.end();
}

#[test]
fn too_many_connections_are_told_so_when_they_can_be() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, Limits { connections_max: 1, ..Limits::DEFAULT });
    let config = Arc::new(authority.trusting());
    let first = join(fixture.address, &config);
    let mut second = handshake(fixture.address, &config, "localhost").unwrap();
    second.stream.write_all(&HANDSHAKE).unwrap();
    assert_eq!(second.octets(), [0x7f, 0x40, 0, 0], "error 4: maximum connection count reached");
    drop((first, second));
    fixture.end();
}

#[test]
fn the_end_is_said_in_tls_as_well() {
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, Limits::DEFAULT);
    let config = Arc::new(authority.trusting());
    let mut clients: Vec<TlsClient> = (0..4).map(|_| join(fixture.address, &config)).collect();
    // One that has not come far is not waited for.
    let mut half_open = Client::connect(fixture.address);
    half_open.stream.write_all(&client_hello(&config)[..50]).unwrap();
    fixture.server.drain();
    for client in &mut clients {
        assert_eq!(client.receive()[0], 6);
        client.send(json!([6, {}, "wamp.close.goodbye_and_out"]));
        // Without the farewell of TLS this would be an error.
        let mut rest = Vec::new();
        client.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.stream.read_to_end(&mut rest).unwrap(), 0);
    }
    drop(clients);
    fixture.server.join();
}
