//! `relay`: the yardstick as a program of its own.

use std::io;
use std::net::SocketAddr;

use clap::Parser;
use fanwire_perf::relay::Relay;

/// A relay with one thread and no protocol: what fan-out and calls cost without a router
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one, which the first line of output tells
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut relay = Relay::bind(arguments.listen)?;
    println!("listening on {}", relay.address()?);
    loop {
        relay.turn()?;
    }
}
