//! A blocking RawSocket client, JSON only, that does what it is told and nothing else.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a client with JSON and messages up to 16 MiB says first.
pub const HANDSHAKE: [u8; 4] = [0x7f, 0xf1, 0, 0];

pub struct Client<S = TcpStream> {
    pub stream: S,
}

impl Client {
    /// A connection on which nothing was said.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// The same connection, for another thread.
    pub fn clone(&self) -> Client {
        Client { stream: self.stream.try_clone().unwrap() }
    }

    /// A connection with a transport and a session.
    pub fn join(address: SocketAddr) -> Client {
        let mut client = Client::connect(address);
        client.open();
        client.hello();
        client
    }
}

impl Client<UnixStream> {
    pub fn join_unix(path: &Path) -> Client<UnixStream> {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream };
        client.open();
        client.hello();
        client
    }
}

impl<S: Read + Write> Client<S> {
    /// The transport's handshake.
    pub fn open(&mut self) {
        self.stream.write_all(&HANDSHAKE).unwrap();
        assert_eq!(self.octets::<4>()[..2], [0x7f, 0xb1], "1 MiB, JSON");
    }

    /// HELLO and WELCOME.
    pub fn hello(&mut self) {
        self.stream.write_all(&frame(&hello_message())).unwrap();
        let welcome = self.receive();
        assert_eq!(welcome[0], 2, "{welcome}");
    }

    pub fn send(&mut self, message: Value) {
        self.stream.write_all(&frame(&message)).unwrap();
    }

    /// The next message.
    pub fn receive(&mut self) -> Value {
        self.try_receive().unwrap()
    }

    pub fn try_receive(&mut self) -> io::Result<Value> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        assert_eq!(header[0], 0, "a regular message");
        let mut message = vec![0; u32::from_be_bytes(header) as usize];
        self.stream.read_exact(&mut message)?;
        Ok(serde_json::from_slice(&message).unwrap())
    }

    pub fn subscribe(&mut self, request: u64, topic: &str) {
        self.send(json!([32, request, {}, topic]));
        let subscribed = self.receive();
        assert_eq!(subscribed[0], 33, "{subscribed}");
    }

    /// The one argument of the next message, which must be an EVENT.
    pub fn event(&mut self) -> Value {
        let mut event = self.receive();
        assert_eq!(event[0], 36, "{event}");
        event[4][0].take()
    }

    pub fn octets<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut octets = [0; COUNT];
        self.stream.read_exact(&mut octets).unwrap();
        octets
    }

    /// Reads to the end of the stream, which may be a reset, and returns what came before.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self.stream.read_to_end(&mut octets) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        octets
    }
}

pub fn hello_message() -> Value {
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    json!([1, "realm1", {"roles": roles}])
}

/// A message as it stands on the wire.
pub fn frame(message: &Value) -> Vec<u8> {
    let message = message.to_string();
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(message.as_bytes());
    frame
}
