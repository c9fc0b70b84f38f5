//! Where the router listens: the address an operator writes, and the sockets it becomes.
//!
//! An address means exactly what it says: `[::]:8080` is IPv6 and nothing else, so `0.0.0.0:8080` fits beside it.
//! Only an address without a host, `:8080`, is every address of both families on one socket.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, TcpKeepalive, Type};

use super::socket::Socket;
use crate::origin::PeerAddress;

/// Connections the kernel holds for us until they are accepted; it cuts the value down to its own limit.
const BACKLOG: i32 = 4096;

/// Silence after which the kernel asks whether the machine of a TCP peer still lives. The router's own pings find a
/// peer that hangs; this finds one that is gone where pings are switched off.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// From one unanswered question of the kernel to the next.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is broken.
const KEEPALIVE_RETRIES: u32 = 4;

/// How long octets may stay unacknowledged in the kernel. Above the stall and silence limits of the router, which say
/// more precisely what is wrong with the peer.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(150);

/// An address to listen at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// This port at every address of the machine.
    Everywhere(u16),
    /// `host:port`; every address the name has.
    Name(String),
    /// An address and a port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

impl Address {
    /// A port of this machine that only programs on it can reach.
    pub fn local(port: u16) -> Address {
        Address::Tcp((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Reads `host:port`, where the host is an IPv4 address, an IPv6 address in brackets, a name, or nothing.
    pub fn tcp(text: &str) -> Option<Address> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Address::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse::<u16>().ok()?;
        if host.is_empty() {
            return Some(Address::Everywhere(port));
        }
        let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        // Digits and dots alone are an IPv4 address with a mistake in it.
        let is_number = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        (is_name && !is_number).then(|| Address::Name(text.to_owned()))
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Everywhere(port) => Some(*port),
            Address::Tcp(address) => Some(address.port()),
            Address::Name(name) => name.rsplit_once(':')?.1.parse().ok(),
            Address::Unix(_) => None,
        }
    }

    /// True if the system chooses the port, so that the same address may be listened at again.
    pub fn is_any_port(&self) -> bool {
        self.port() == Some(0)
    }

    /// True if not both can be listened at at the same time. What other names than `localhost` stand for is not asked,
    /// so of them this may be true all the same.
    pub fn overlaps(&self, other: &Address) -> bool {
        if let (Address::Unix(path), Address::Unix(other)) = (self, other) {
            let absolute = |path: &PathBuf| path::absolute(path).unwrap_or_else(|_| path.clone());
            return absolute(path) == absolute(other);
        }
        if self.port() != other.port() || self.is_any_port() {
            return false;
        }
        match (self, other) {
            (Address::Everywhere(_), _) | (_, Address::Everywhere(_)) => true,
            (Address::Name(name), Address::Name(other)) if name.eq_ignore_ascii_case(other) => true,
            _ => {
                let others = other.known_hosts();
                self.known_hosts().iter().any(|host| others.iter().any(|other| share(host, other)))
            }
        }
    }

    /// The addresses that it stands for, as far as they are known.
    fn known_hosts(&self) -> Vec<IpAddr> {
        match self {
            Address::Tcp(address) => vec![address.ip()],
            Address::Name(name) if self.is_localhost() => {
                name.to_socket_addrs().map_or(Vec::new(), |all| all.map(|address| address.ip()).collect())
            }
            Address::Everywhere(_) | Address::Name(_) | Address::Unix(_) => Vec::new(),
        }
    }

    /// True if only programs on this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Everywhere(_) => false,
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Name(_) => self.is_localhost(),
            Address::Unix(_) => true,
        }
    }

    fn is_localhost(&self) -> bool {
        let Address::Name(name) = self else { return false };
        name.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost"))
    }
}

/// True if what comes in at one of these may come in at the other.
fn share(one: &IpAddr, other: &IpAddr) -> bool {
    one == other || one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified())
}

/// True if a socket can be made there, as far as its length goes.
pub fn is_socket_path(path: &Path) -> bool {
    net::SocketAddr::from_pathname(path).is_ok()
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, whose file is removed with it.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket. It is removed on drop, if it is still the one we made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Binds all sockets of an address.
pub fn bind(address: &Address) -> io::Result<Vec<Listener>> {
    match address {
        Address::Everywhere(port) => Ok(vec![bind_everywhere(*port)?]),
        Address::Name(name) => bind_name(name),
        Address::Tcp(address) => Ok(vec![bind_tcp(*address, true)?]),
        Address::Unix(path) => {
            bind_unix(path, false).map(|(listener, file)| vec![Listener::Unix(listener, file)])
        }
    }
}

/// Binds a socket that only this user can connect to.
pub fn bind_private(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    bind_unix(path, true)
}

/// One socket for both families where there is IPv6, else one for IPv4.
fn bind_everywhere(port: u16) -> io::Result<Listener> {
    match bind_tcp((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
            bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), true)
        }
        result => result,
    }
}

/// A name may have addresses the machine has not (`localhost` without IPv6): one that can be bound is enough.
fn bind_name(name: &str) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let mut missing = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for address in name.to_socket_addrs()? {
        match bind_tcp(address, true) {
            Ok(listener) => listeners.push(listener),
            Err(error) if matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported) => {
                missing = error;
            }
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

fn bind_tcp(address: SocketAddr, only_v6: bool) -> io::Result<Listener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A router that is started again must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_connection_options(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

/// Small messages leave at once (Nagle's rule would hold them), and the kernel watches whether the peer lives. Accepted
/// connections have the options of their listener, so that they cost nothing for each. They are improvements: where
/// one is refused, peers are served without.
fn set_connection_options(listener: &socket2::Socket) {
    let _ = listener.set_tcp_nodelay(true);
    let _ = listener.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES),
    );
    #[cfg(target_os = "linux")]
    let _ = listener.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

fn bind_unix(path: &Path, private: bool) -> io::Result<(UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path)?;
    if private {
        // Nobody is let in before `listen`, so nobody has been.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from_std(socket.into()), file))
}

/// Removes the file a dead process has left behind. A file of another kind, or a socket on which somebody answers,
/// is not ours to remove.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Somebody whose backlog is full is somebody, and must not keep us waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

impl Listener {
    /// Accepts one connection.
    pub fn accept(&self) -> io::Result<(Socket, PeerAddress)> {
        match self {
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (stream.into(), PeerAddress::tcp(peer)))
            }
            Listener::Unix(listener, _) => {
                listener.accept().map(|(stream, _)| (stream.into(), PeerAddress::Unix))
            }
        }
    }

    /// The address, with the real port where 0 was asked for.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }

    /// Registers for connections that come in.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // It may vanish in between, and nobody is left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl fmt::Display for Address {
    /// As a URL without a path, which reads back as the same address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Everywhere(port) => write!(f, "tcp://:{port}"),
            Address::Name(name) => write!(f, "tcp://{name}"),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicU32, Ordering};

    use socket2::SockRef;

    use super::*;

    /// A path of this test and process alone, without a file at the end.
    fn free_path() -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fanwire-listener-{}-{number}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn port_zero_becomes_a_real_port() {
        let listeners = bind(&Address::Tcp((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        let Address::Tcp(address) = listeners[0].address().unwrap() else { panic!("TCP") };
        assert_ne!(address.port(), 0);
        std::net::TcpStream::connect(address).unwrap();
        let second = bind(&Address::Tcp(address)).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn addresses_overlap_that_cannot_both_be_bound() {
        let Address::Tcp(free) = bind(&Address::local(0)).unwrap()[0].address().unwrap() else {
            panic!("TCP")
        };
        let port = free.port();
        let read = |host: &str| Address::tcp(&format!("{host}:{port}")).unwrap();
        let hosts = ["", "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "localhost", "LOCALHOST"];
        for (one, other) in hosts.iter().flat_map(|one| hosts.iter().map(move |other| (one, other))) {
            let (one, other) = (read(one), read(other));
            let Ok(_first) = bind(&one) else { panic!("{one} is free") };
            let in_use = bind(&other).is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
            assert_eq!(one.overlaps(&other), in_use, "{one} and {other}");
        }
        assert!(!Address::Everywhere(0).overlaps(&Address::Everywhere(0)));
        assert!(!Address::Everywhere(1).overlaps(&Address::Everywhere(2)));
        let unix = |path: &str| Address::Unix(path.into());
        assert!(unix("a").overlaps(&unix("./a")) && unix("/a/./b").overlaps(&unix("/a/b")));
        assert!(!unix("a").overlaps(&unix("b")) && !unix("a").overlaps(&Address::Everywhere(0)));
    }

    #[test]
    fn a_path_is_as_long_as_can_be_bound() {
        for (octets, fits) in [(107, true), (108, false)] {
            let path = PathBuf::from("/").join("x".repeat(octets - 1));
            assert_eq!(is_socket_path(&path), fits, "{octets}");
            let error = bind(&Address::Unix(path)).err().map(|error| error.kind());
            assert_eq!(error == Some(ErrorKind::InvalidInput), !fits, "{octets}: {error:?}");
        }
    }

    #[test]
    fn connections_have_the_options_of_their_listener() {
        let listeners = bind(&Address::local(0)).unwrap();
        let Address::Tcp(address) = listeners[0].address().unwrap() else { panic!("TCP") };
        let _peer = TcpStream::connect(address).unwrap();
        let Listener::Tcp(listener) = &listeners[0] else { panic!("TCP") };
        let (stream, _) = listener.accept().unwrap();
        let options = SockRef::from(&stream);
        assert!(options.tcp_nodelay().unwrap() && options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(options.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(options.tcp_keepalive_retries().unwrap(), KEEPALIVE_RETRIES);
        #[cfg(target_os = "linux")]
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }

    #[test]
    fn everywhere_takes_ipv4() {
        let listeners = bind(&Address::Everywhere(0)).unwrap();
        let Address::Tcp(address) = listeners[0].address().unwrap() else { panic!("TCP") };
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_removed_at_the_end() {
        let path = free_path();
        drop(net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file behind");
        let listeners = bind(&Address::Unix(path.clone())).unwrap();
        net::UnixStream::connect(&path).unwrap();
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_somebody_answers_on_is_in_use() {
        let path = free_path();
        let _somebody = net::UnixListener::bind(&path).unwrap();
        assert_eq!(bind(&Address::Unix(path.clone())).unwrap_err().kind(), ErrorKind::AddrInUse);
        net::UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn other_files_are_left_alone() {
        let path = free_path();
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&Address::Unix(path.clone())).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_took_the_sockets_place_is_left_alone() {
        let path = free_path();
        let listeners = bind(&Address::Unix(path.clone())).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop(listeners);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }
}
