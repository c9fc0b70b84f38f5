//! Servers to test against, in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use fanwire::config::Config;
use fanwire::limits::Limits;
use fanwire::server::{Address, Server};

/// A server of its own for one test, on a free port.
pub struct Fixture {
    pub server: Server,
    pub address: SocketAddr,
}

/// Starts a server with these many shards.
pub fn serve(shards: usize, limits: Limits) -> Fixture {
    serve_at("127.0.0.1:0", shards, limits)
}

pub fn serve_at(listen: &str, shards: usize, limits: Limits) -> Fixture {
    let listens = vec!["127.0.0.1:0".parse().unwrap(), listen.parse().unwrap()];
    serve_config(Config { listens, shards, limits, ..Config::default() })
}

pub fn serve_config(config: Config) -> Fixture {
    let server = Server::start(config.server().unwrap()).unwrap();
    let Some((_, Address::Tcp(address))) = server.addresses().next() else { panic!("a port") };
    let address = *address;
    Fixture { server, address }
}

impl Fixture {
    /// Ends the server. It returns only if no connection is left behind.
    pub fn end(self) {
        self.server.drain();
        self.server.join();
    }
}

/// A path for a socket of this test and process alone.
pub fn socket_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("fanwire-shell-{}-{number}.sock", std::process::id()))
}
