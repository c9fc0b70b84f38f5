//! `fanwire hash`: what the router keeps of a password or ticket, as it stands in the configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use zeroize::Zeroizing;

use super::credentials::{secret_file, typed, variable};
use super::output;
use super::usage_error;
use crate::auth::scram::{self, Cost, Kdf, ScramError};
use crate::auth::ticket::{self, Hashed, Kind};
use crate::auth::wampcra::{self, Salting};
use crate::auth::{
    ARGON2_MEMORY_KIB_MAX, ARGON2_MEMORY_KIB_MIN, ARGON2_WORK_KIB_MAX, PBKDF2_ITERATIONS_MAX, Secret,
};

/// Print the stored form of a password or ticket
///
/// One line of TOML for the principal in the router's configuration. The password is read from standard input, at a
/// terminal unseen; or from a file or a variable of the environment.
#[derive(clap::Args, Debug)]
pub struct Hash {
    /// What the password is for
    #[arg(value_enum)]
    method: Method,

    /// How it is hashed [default: argon2id for tickets, argon2id13 for scram]
    #[arg(long, value_enum)]
    kdf: Option<KdfName>,

    /// Rounds of the derivation [default: depends on it]
    #[arg(long, value_name = "N")]
    iterations: Option<u32>,

    /// Memory of the derivation in KiB, if it is Argon2 [default: depends on the method]
    #[arg(long, value_name = "KIB")]
    memory: Option<u32>,

    /// Read the password from a file; a line end behind it does not count
    #[arg(long, value_name = "FILE", group = "the secret")]
    secret_file: Option<PathBuf>,

    /// Read the password from this variable of the environment
    #[arg(long, value_name = "NAME", group = "the secret")]
    secret_env: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Method {
    /// A ticket
    Ticket,
    /// The salted secret of WAMP-CRA
    Wampcra,
    /// The keys of WAMP-SCRAM
    Scram,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum KdfName {
    /// For tickets that are passwords
    Argon2id,
    /// For tickets that a machine has drawn: 128 random bits or more
    Sha256,
    /// For scram: Argon2id
    Argon2id13,
    /// For scram: Argon2id as autobahn-python has it
    #[value(name = "argon2id-13")]
    Argon2id13Text,
    /// For scram, and all there is for wampcra
    Pbkdf2,
}

/// Rounds of PBKDF2 if nobody says: what a browser does in some tenths of a second.
const PBKDF2_ITERATIONS: u32 = 10_000;

impl Hash {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.line() {
            Ok(line) => match output::line(&line) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => usage_error(failure),
            },
            Err(what) => usage_error(what),
        }
    }

    fn line(&self) -> Result<Zeroizing<String>, String> {
        let hashing = self.hashing()?;
        let secret = match (&self.secret_file, &self.secret_env) {
            (Some(path), _) => secret_file(path)?,
            (None, Some(name)) => variable(name)?,
            (None, None) => typed("password")?,
        };
        if secret.text().is_none() {
            return Err("the password is no text in UTF-8, and no client can send such a one".to_owned());
        }
        hashing.line(&secret)
    }

    /// What is asked for, if there is such a thing.
    fn hashing(&self) -> Result<Hashing, String> {
        let (iterations, memory) = (self.iterations, self.memory);
        match (self.method, self.kdf) {
            (Method::Ticket, None | Some(KdfName::Argon2id)) => Ok(Hashing::Ticket(Kind::Argon2id {
                iterations: iterations.unwrap_or(Kind::ARGON2ID_ITERATIONS),
                memory_kib: memory.unwrap_or(Kind::ARGON2ID_MEMORY_KIB),
            })),
            (Method::Ticket, Some(KdfName::Sha256)) if iterations.or(memory).is_none() => {
                Ok(Hashing::Ticket(Kind::Sha256))
            }
            (Method::Wampcra, None | Some(KdfName::Pbkdf2)) if memory.is_none() => {
                Ok(Hashing::WampCra(iterations.unwrap_or(PBKDF2_ITERATIONS)))
            }
            (Method::Scram, Some(KdfName::Pbkdf2)) if memory.is_none() => Ok(Hashing::Scram(Cost {
                kdf: Kdf::Pbkdf2,
                iterations: iterations.unwrap_or(PBKDF2_ITERATIONS),
                memory_kib: 0,
            })),
            (Method::Scram, None | Some(KdfName::Argon2id13 | KdfName::Argon2id13Text)) => {
                let text = self.kdf == Some(KdfName::Argon2id13Text);
                Ok(Hashing::Scram(Cost {
                    kdf: if text { Kdf::Argon2id13Text } else { Kdf::Argon2id13 },
                    iterations: iterations.unwrap_or(Cost::DEFAULT.iterations),
                    memory_kib: memory.unwrap_or(Cost::DEFAULT.memory_kib),
                }))
            }
            _ => {
                Err("these options do not go together: see --help for which method has which --kdf"
                    .to_owned())
            }
        }
    }
}

enum Hashing {
    Ticket(Kind),
    /// The rounds.
    WampCra(u32),
    Scram(Cost),
}

impl Hashing {
    fn line(&self, secret: &Secret) -> Result<Zeroizing<String>, String> {
        let line = match self {
            Hashing::Ticket(kind) => {
                let hashed = Hashed::new(secret, *kind, random()?).map_err(|_| self.range())?;
                format!("ticket = \"{hashed}\"")
            }
            Hashing::WampCra(iterations) => {
                let keylen = Salting::KEYLEN_DEFAULT;
                let salting = Salting { salt: wampcra::salt(random()?), iterations: *iterations, keylen };
                let derived = salting.derive(secret).map_err(|_| self.range())?;
                wampcra_line(&derived, &salting)
            }
            Hashing::Scram(cost) => {
                let stored = scram::Stored::new(secret, random()?, *cost).map_err(|error| match error {
                    ScramError::Cost => self.range(),
                    other => other.to_string(),
                })?;
                scram_line(&stored)
            }
        };
        Ok(Zeroizing::new(line))
    }

    /// What the work may be that is out of range.
    fn range(&self) -> String {
        let work_kib_max = match self {
            Hashing::Ticket(_) => ticket::WORK_KIB_MAX,
            Hashing::Scram(Cost { kdf: Kdf::Argon2id13 | Kdf::Argon2id13Text, .. }) => ARGON2_WORK_KIB_MAX,
            Hashing::WampCra(_) | Hashing::Scram(_) => {
                return format!("write --iterations from 1 to {PBKDF2_ITERATIONS_MAX}");
            }
        };
        let memory_kib_max = work_kib_max.min(ARGON2_MEMORY_KIB_MAX.into());
        format!(
            "write --memory from {ARGON2_MEMORY_KIB_MIN} to {memory_kib_max}, and --iterations from 1 so that both \
             multiplied are {work_kib_max} at most"
        )
    }
}

fn wampcra_line(derived: &Secret, Salting { salt, iterations, keylen }: &Salting) -> String {
    let derived = derived.text().expect("a derived secret is base64");
    format!(
        "wampcra = {{ secret = \"{derived}\", salt = \"{salt}\", iterations = {iterations}, keylen = {keylen} }}"
    )
}

fn scram_line(stored: &scram::Stored) -> String {
    let cost = stored.cost();
    let memory = match cost.kdf {
        Kdf::Pbkdf2 => String::new(),
        Kdf::Argon2id13 | Kdf::Argon2id13Text => format!("memory = {}, ", cost.memory_kib),
    };
    format!(
        "scram = {{ kdf = \"{}\", salt = \"{}\", iterations = {}, {memory}stored_key = \"{}\", server_key = \"{}\" }}",
        cost.kdf.name(),
        stored.salt(),
        cost.iterations,
        stored.stored_key(),
        *stored.server_key(),
    )
}

fn random<const COUNT: usize>() -> Result<[u8; COUNT], String> {
    let mut octets = [0; COUNT];
    getrandom::fill(&mut octets).map_err(|error| format!("there is no entropy: {error}"))?;
    Ok(octets)
}
