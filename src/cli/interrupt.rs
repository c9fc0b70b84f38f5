//! SIGINT and SIGTERM for commands that run until they are told to stop: the first one wakes the client, so that it
//! can say GOODBYE; a second one ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::client::Client;

/// Whether the command was told to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes the signals over from here on.
    pub fn watch(client: &Client) -> io::Result<Interrupt> {
        let asked = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt { asked: asked.clone() };
        let waker = client.waker();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let again = asked.swap(true, Ordering::Relaxed);
                if again || waker.wake().is_err() {
                    // It can only fail for signals that have no default.
                    let _ = emulate_default_handler(signal);
                }
            }
        })?;
        Ok(interrupt)
    }

    /// True once a signal has come.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
