//! The options with which the client commands prove who they are, and where commands read secrets from.
//!
//! Every secret can be given in a file or in a variable of the environment: what stands on a command line, everybody
//! on the machine can read in the list of processes, and later in the shell's history.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::exit::Failure;
use crate::auth::cryptosign::{PublicKey, SigningKey};
use crate::auth::key;
use crate::auth::{SECRET_FILE_BYTES_MAX, Secret};
use crate::client::{Credentials, TlsFiles};

/// Who joins, and what proves it.
#[derive(clap::Args, Debug)]
pub struct Identity {
    /// Name to join under
    #[arg(long, env = "FANWIRE_AUTHID", help_heading = "Authentication")]
    pub authid: Option<String>,

    /// Ticket for `ticket`; others on this machine see it, so rather --ticket-file or --ticket-env
    #[arg(long, value_name = "TEXT", help_heading = "Authentication", group = "the ticket")]
    ticket: Option<Hidden>,

    /// Read the ticket from a file; a line end behind it does not count
    #[arg(long, value_name = "FILE", help_heading = "Authentication", group = "the ticket")]
    ticket_file: Option<PathBuf>,

    /// Read the ticket from this variable of the environment
    #[arg(long, value_name = "NAME", help_heading = "Authentication", group = "the ticket")]
    ticket_env: Option<String>,

    /// Password for `wamp-scram` and `wampcra`; others on this machine see it, so rather --secret-file or --secret-env
    #[arg(long, value_name = "TEXT", help_heading = "Authentication", group = "the secret")]
    secret: Option<Hidden>,

    /// Read the password from a file; a line end behind it does not count
    #[arg(long, value_name = "FILE", help_heading = "Authentication", group = "the secret")]
    secret_file: Option<PathBuf>,

    /// Read the password from this variable of the environment
    #[arg(long, value_name = "NAME", help_heading = "Authentication", group = "the secret")]
    secret_env: Option<String>,

    /// Private key for `cryptosign`, as `fanwire keygen`, ssh-keygen, openssl, Autobahn or Crossbar.io make it
    #[arg(long, value_name = "FILE", help_heading = "Authentication", group = "the key")]
    key: Option<PathBuf>,

    /// Read the private key from this variable of the environment
    #[arg(long, value_name = "NAME", help_heading = "Authentication", group = "the key")]
    key_env: Option<String>,

    /// Join only a router that has the private half of this key, and proves it in `cryptosign`
    #[arg(long, value_name = "HEX", help_heading = "Authentication")]
    router_key: Option<PublicKey>,

    /// Certificate for `tls`, a PEM file, for routers that ask for one
    #[arg(long, value_name = "FILE", help_heading = "Authentication")]
    certificate: Option<PathBuf>,

    /// Private key of the certificate, if it is not in the same file
    #[arg(long, value_name = "FILE", help_heading = "Authentication", requires = "certificate")]
    certificate_key: Option<PathBuf>,

    /// Bind the proof to the TLS connection (tls-exporter), and join only a router that does
    #[arg(long, help_heading = "Authentication")]
    channel_binding: bool,

    /// Method to announce, again for more, in this order [default: those that something is given for]
    #[arg(long, value_name = "NAME", help_heading = "Authentication")]
    authmethod: Vec<String>,
}

impl Identity {
    /// Reads what there is to be read.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        let ticket = secret(self.ticket.as_ref(), self.ticket_file.as_deref(), self.ticket_env.as_deref())?;
        let secret = secret(self.secret.as_ref(), self.secret_file.as_deref(), self.secret_env.as_deref())?;
        if ticket.as_ref().or(secret.as_ref()).is_some_and(|given| given.text().is_none()) {
            return Err(Failure::Usage("a ticket or password is text in UTF-8".to_owned()));
        }
        let key = match (&self.key, &self.key_env) {
            (Some(path), _) => Some(read_key(path).map_err(Failure::Usage)?),
            (None, Some(name)) => {
                let variable = variable(name).map_err(Failure::Usage)?;
                let key = key::read(variable.expose());
                Some(key.map_err(|error| Failure::Usage(format!("the variable {name}: {error}")))?)
            }
            (None, None) => None,
        };
        Ok(Credentials {
            ticket,
            secret,
            key,
            certificate: self.certificate.is_some(),
            router_key: self.router_key,
            channel_binding: self.channel_binding,
            authmethods: self.authmethod.clone(),
        })
    }
}

impl Identity {
    /// The files of TLS, with those authorities.
    pub fn tls(&self, authorities: Option<PathBuf>) -> TlsFiles {
        TlsFiles { authorities, certificate: self.certificate.clone(), key: self.certificate_key.clone() }
    }
}

/// A secret from the command line.
#[derive(Clone, Debug)]
pub struct Hidden(Secret);

impl From<String> for Hidden {
    fn from(text: String) -> Hidden {
        Hidden(text.into())
    }
}

fn secret(text: Option<&Hidden>, file: Option<&Path>, name: Option<&str>) -> Result<Option<Secret>, Failure> {
    match (text, file, name) {
        (Some(Hidden(secret)), ..) => Ok(Some(secret.clone())),
        (None, Some(path), _) => secret_file(path).map(Some).map_err(Failure::Usage),
        (None, None, Some(name)) => variable(name).map(Some).map_err(Failure::Usage),
        (None, None, None) => Ok(None),
    }
}

/// The secret in a file, without the end of its line.
pub fn secret_file(path: &Path) -> Result<Secret, String> {
    let secret = read(path)?.without_line_end();
    if secret.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(secret) }
}

/// The secret in a variable of the environment.
pub fn variable(name: &str) -> Result<Secret, String> {
    let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set, or not text"))?;
    if value.is_empty() { Err(format!("the variable {name} is empty")) } else { Ok(value.into()) }
}

/// The private key in a file.
pub fn read_key(path: &Path) -> Result<SigningKey, String> {
    key::read(read(path)?.expose()).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Secret, String> {
    let octets =
        std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let secret = Secret::new(octets);
    if secret.expose().len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("{} is too large for a secret", path.display()));
    }
    Ok(secret)
}

/// A line of standard input. At a terminal it is asked for twice, and not shown.
pub fn typed(prompt: &str) -> Result<Secret, String> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let unseen = Unseen::begin().map_err(|error| format!("the terminal cannot be silenced: {error}"))?;
    let (first, second) = (asked(prompt)?, asked("once more")?);
    drop(unseen);
    if first == second { Ok(first) } else { Err("the two are not the same".to_owned()) }
}

fn asked(prompt: &str) -> Result<Secret, String> {
    // Who has closed standard error can still type.
    let _ = write!(io::stderr(), "{prompt}: ");
    let line = line();
    let _ = writeln!(io::stderr());
    line
}

fn line() -> Result<Secret, String> {
    let mut line = Vec::with_capacity(SECRET_FILE_BYTES_MAX.min(4096));
    let read = io::stdin().lock().read_until(b'\n', &mut line);
    let line = Secret::new(line).without_line_end();
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if line.is_empty() { Err("nothing came on standard input".to_owned()) } else { Ok(line) }
}

/// While it is there, the terminal does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Unseen> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Unseen(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // The terminal is gone, or it is as it was.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &self.0);
    }
}
