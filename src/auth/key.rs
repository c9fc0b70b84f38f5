//! Files with Ed25519 keys, in the forms that people have them.
//!
//! | form | private | public |
//! | --- | --- | --- |
//! | hexadecimal | the seed: 64 digits, or 128 with the public key behind it | 64 digits |
//! | raw | the seed: 32 octets, as Autobahn's `.key` | |
//! | tagged | a line `private-key-ed25519: DIGITS`, as Crossbar.io's `key.priv` | `public-key-ed25519: DIGITS` |
//! | OpenSSH | `BEGIN OPENSSH PRIVATE KEY`, without a password | `ssh-ed25519 BASE64 COMMENT` |
//! | PEM | `BEGIN PRIVATE KEY` (PKCS#8, RFC 8410) | `BEGIN PUBLIC KEY` |
//!
//! Where the public half stands beside the private one, it must be its own.

use std::fmt;

use zeroize::Zeroizing;

use super::cryptosign::{PublicKey, SigningKey};
use super::encoding::{base64, hex, unbase64, unhex};

/// A form in which keys are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Digits.
    Hex,
    /// As `ssh-keygen` has them.
    OpenSsh,
    /// As `openssl` has them.
    Pem,
}

/// Why a file is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// It is in no form that is known.
    Form,
    /// It needs a password.
    Encrypted,
    /// It is a key, and not of Ed25519.
    Algorithm,
    /// It is cut off or damaged.
    Malformed,
    /// The public half in it is not that of the private one.
    Mismatch,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Form => "not a key: hexadecimal, raw, tagged, OpenSSH or PEM",
            KeyError::Encrypted => "the key is protected by a password; take that off (ssh-keygen -p)",
            KeyError::Algorithm => "the key is not an Ed25519 key",
            KeyError::Malformed => "the key is cut off or damaged",
            KeyError::Mismatch => "the public key in the file is not that of the private key",
        })
    }
}

impl std::error::Error for KeyError {}

const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
const SSH_ED25519: &[u8] = b"ssh-ed25519";

/// The identifier of Ed25519 in DER, as PKCS#8 and SubjectPublicKeyInfo have it (RFC 8410, section 3).
const ED25519_DER: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70];

/// Reads a private key, in whatever form it is.
pub fn read(file: &[u8]) -> Result<SigningKey, KeyError> {
    // The beginning of a text is not a key by its length: 32 octets that nobody has chosen are no text.
    let is_text = file.iter().all(|octet| octet.is_ascii_graphic() || octet.is_ascii_whitespace());
    if let Some(seed) = file.first_chunk().filter(|_| file.len() == 32 && !is_text) {
        return Ok(SigningKey::from_seed(seed));
    }
    let text = std::str::from_utf8(file).map_err(|_| KeyError::Form)?.trim();
    if let Some(blob) = armored(text, OPENSSH_LABEL) {
        return read_openssh(&blob?);
    }
    if let Some(der) = armored(text, "PRIVATE KEY") {
        return read_pkcs8(&der?);
    }
    if text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(KeyError::Encrypted);
    }
    if text.starts_with("-----BEGIN ") {
        return Err(KeyError::Algorithm);
    }
    if let Some(digits) = tagged(text, "private-key-ed25519:") {
        let key = read_hex(digits)?;
        let public = tagged(text, "public-key-ed25519:");
        let public = public.map(|digits| digits.parse().map_err(|_| KeyError::Malformed)).transpose()?;
        return paired(key, public);
    }
    read_hex(text)
}

/// Reads a public key, in whatever form it is; what is a private key is none.
pub fn read_public(text: &str) -> Result<PublicKey, KeyError> {
    let text = text.trim();
    if let Some(der) = armored(text, "PUBLIC KEY") {
        let der = der?;
        let key = der.strip_prefix(&[0x30, 0x2A]).and_then(|der| der.strip_prefix(&ED25519_DER));
        let key = key.ok_or(KeyError::Algorithm)?.strip_prefix(&[0x03, 0x21, 0x00]);
        let key: [u8; 32] = key.and_then(|key| key.try_into().ok()).ok_or(KeyError::Malformed)?;
        return Ok(key.into());
    }
    if let Some(line) = text.strip_prefix("ssh-") {
        let fields = line.strip_prefix("ed25519 ").ok_or(KeyError::Algorithm)?;
        let blob = fields.split_whitespace().next().and_then(unbase64).ok_or(KeyError::Malformed)?;
        return read_openssh_public(&blob);
    }
    let digits = tagged(text, "public-key-ed25519:").unwrap_or(text);
    digits.parse().map_err(|_| KeyError::Form)
}

/// Writes a private key.
pub fn write(key: &SigningKey, form: Form, comment: &str) -> Zeroizing<String> {
    Zeroizing::new(match form {
        Form::Hex => format!("{}\n", *Zeroizing::new(hex(key.seed()))),
        Form::OpenSsh => armor(OPENSSH_LABEL, &openssh(key, comment)),
        Form::Pem => {
            let head = [&[0x30, 0x2E, 0x02, 0x01, 0x00][..], &ED25519_DER, &[0x04, 0x22, 0x04, 0x20]];
            armor("PRIVATE KEY", &Zeroizing::new([&head.concat()[..], key.seed()].concat()))
        }
    })
}

/// Writes a public key.
pub fn write_public(key: &PublicKey, form: Form, comment: &str) -> String {
    match form {
        Form::Hex => format!("{key}\n"),
        Form::OpenSsh => {
            let line = format!("ssh-ed25519 {} {comment}", base64(&openssh_public(key)));
            format!("{}\n", line.trim_end())
        }
        Form::Pem => {
            let head = [&[0x30, 0x2A][..], &ED25519_DER, &[0x03, 0x21, 0x00]].concat();
            armor("PUBLIC KEY", &[&head[..], key.octets()].concat())
        }
    }
}

/// The digits of a seed, or of a seed and its public key.
fn read_hex(digits: &str) -> Result<SigningKey, KeyError> {
    if let Some(seed) = unhex(digits) {
        return Ok(SigningKey::from_seed(&Zeroizing::new(seed)));
    }
    let both = Zeroizing::new(unhex::<64>(digits).ok_or(KeyError::Form)?);
    read_pair(both.as_slice())
}

/// A seed with its public key behind it.
fn read_pair(both: &[u8]) -> Result<SigningKey, KeyError> {
    let (seed, public) = both.split_first_chunk().ok_or(KeyError::Malformed)?;
    let public: [u8; 32] = public.try_into().map_err(|_| KeyError::Malformed)?;
    paired(SigningKey::from_seed(seed), Some(public.into()))
}

fn paired(key: SigningKey, public: Option<PublicKey>) -> Result<SigningKey, KeyError> {
    if public.is_some_and(|public| public != key.public()) { Err(KeyError::Mismatch) } else { Ok(key) }
}

/// The value of a line with that tag.
fn tagged<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.trim().strip_prefix(tag)).map(str::trim)
}

/// The octets between the lines that begin and end such a thing; none if it is another thing.
fn armored(text: &str, label: &str) -> Option<Result<Zeroizing<Vec<u8>>, KeyError>> {
    let body = text.strip_prefix("-----BEGIN ")?.strip_prefix(label)?.strip_prefix("-----")?;
    let body = body.split_once("-----END ").filter(|(_, end)| end.strip_prefix(label) == Some("-----"));
    let octets = body.and_then(|(body, _)| {
        let lines: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        unbase64(&lines)
    });
    Some(octets.map(Zeroizing::new).ok_or(KeyError::Malformed))
}

fn armor(label: &str, octets: &[u8]) -> String {
    let body = Zeroizing::new(base64(octets));
    let mut text = String::with_capacity(2 * body.len() + 2 * label.len() + 64);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|octet| char::from(*octet)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// RFC 8410, section 7: version, algorithm, and the seed in two octet strings; what may follow is of no account.
fn read_pkcs8(der: &[u8]) -> Result<SigningKey, KeyError> {
    let [0x30, _, 0x02, 0x01, 0x00 | 0x01, rest @ ..] = der else { return Err(KeyError::Algorithm) };
    let key = rest.strip_prefix(&ED25519_DER).ok_or(KeyError::Algorithm)?;
    let seed = key.strip_prefix(&[0x04, 0x22, 0x04, 0x20]).and_then(<[u8]>::first_chunk);
    seed.map(SigningKey::from_seed).ok_or(KeyError::Malformed)
}

fn read_openssh(blob: &[u8]) -> Result<SigningKey, KeyError> {
    let mut outer = Fields(blob.strip_prefix(OPENSSH_MAGIC).ok_or(KeyError::Malformed)?);
    let (cipher, kdf, _options) = (outer.string()?, outer.string()?, outer.string()?);
    if cipher != b"none" || kdf != b"none" {
        return Err(KeyError::Encrypted);
    }
    if outer.number()? != 1 {
        return Err(KeyError::Malformed);
    }
    let public = read_openssh_public(outer.string()?)?;
    let mut inner = Fields(outer.string()?);
    if inner.number()? != inner.number()? {
        return Err(KeyError::Malformed);
    }
    if inner.string()? != SSH_ED25519 {
        return Err(KeyError::Algorithm);
    }
    let _public = inner.string()?;
    paired(read_pair(inner.string()?)?, Some(public))
}

fn read_openssh_public(blob: &[u8]) -> Result<PublicKey, KeyError> {
    let mut fields = Fields(blob);
    if fields.string()? != SSH_ED25519 {
        return Err(KeyError::Algorithm);
    }
    let key: [u8; 32] = fields.string()?.try_into().map_err(|_| KeyError::Malformed)?;
    if fields.0.is_empty() { Ok(key.into()) } else { Err(KeyError::Malformed) }
}

fn openssh_public(key: &PublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, SSH_ED25519);
    put_string(&mut blob, key.octets());
    blob
}

fn openssh(key: &SigningKey, comment: &str) -> Zeroizing<Vec<u8>> {
    let public = key.public();
    let mut inner = Zeroizing::new(Vec::with_capacity(256 + comment.len()));
    // Two equal numbers: who decrypts a key with the wrong password would see that they are not.
    for _ in 0..2 {
        inner.extend_from_slice(&public.octets()[..4]);
    }
    put_string(&mut inner, SSH_ED25519);
    put_string(&mut inner, public.octets());
    put_string(&mut inner, &Zeroizing::new([&key.seed()[..], public.octets()].concat()));
    put_string(&mut inner, comment.as_bytes());
    let padding = inner.len().next_multiple_of(8) - inner.len();
    inner.extend((1..).take(padding));

    let mut blob = Zeroizing::new(Vec::with_capacity(inner.len() + 256));
    blob.extend_from_slice(OPENSSH_MAGIC);
    for field in [&b"none"[..], b"none", b""] {
        put_string(&mut blob, field);
    }
    blob.extend_from_slice(&1_u32.to_be_bytes());
    put_string(&mut blob, &openssh_public(&public));
    put_string(&mut blob, &inner);
    blob
}

fn put_string(blob: &mut Vec<u8>, octets: &[u8]) {
    let length = u32::try_from(octets.len()).expect("keys and comments are short");
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(octets);
}

/// The fields of SSH's binary format that have not been read (RFC 4251, section 5).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u32, KeyError> {
        let (octets, rest) = self.0.split_first_chunk().ok_or(KeyError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*octets))
    }

    fn string(&mut self) -> Result<&'a [u8], KeyError> {
        let length = usize::try_from(self.number()?).map_err(|_| KeyError::Malformed)?;
        let (octets, rest) = self.0.split_at_checked(length).ok_or(KeyError::Malformed)?;
        self.0 = rest;
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];
    const FORMS: [Form; 3] = [Form::Hex, Form::OpenSsh, Form::Pem];

    fn public_of(file: &str) -> Result<PublicKey, KeyError> {
        read(file.as_bytes()).map(|key| key.public())
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = SigningKey::from_seed(&SEED);
        for form in FORMS {
            let (private, public) = (write(&key, form, "a comment"), write_public(&key.public(), form, ""));
            assert_eq!(read(private.as_bytes()).unwrap().seed(), &SEED, "{form:?}");
            assert_eq!(read_public(&public), Ok(key.public()), "{form:?}");
            assert!(read_public(&private).is_err() || form == Form::Hex);
            for end in 0..private.trim_end().len() {
                assert!(read(&private.as_bytes()[..end]).is_err(), "{form:?} {end}");
            }
        }
        assert_eq!(read(&SEED).unwrap().public(), key.public());
    }

    /// Made by ssh-keygen and openssl.
    #[test]
    fn keys_of_others_are_read() {
        let expected: PublicKey =
            "a346a586c4789c13d611f3bd3598283b0f4225bc91f75e87a7e58ba24abbd7f4".parse().unwrap();
        let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
            b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
            QyNTUxOQAAACCjRqWGxHicE9YR8701mCg7D0IlvJH3Xoen5YuiSrvX9AAAAIjldO9f5XTv\n\
            XwAAAAtzc2gtZWQyNTUxOQAAACCjRqWGxHicE9YR8701mCg7D0IlvJH3Xoen5YuiSrvX9A\n\
            AAAECNNXgC/zupHTmQ8qDTXpNUS6oes6cERI9JouaUNw/gvqNGpYbEeJwT1hHzvTWYKDsP\n\
            QiW8kfdeh6fli6JKu9f0AAAAA2FAYgEC\n\
            -----END OPENSSH PRIVATE KEY-----";
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEII01eAL/O6kdOZDyoNNek1RLqh6zpwREj0mi5pQ3D+C+\n\
            -----END PRIVATE KEY-----";
        assert_eq!(public_of(openssh), Ok(expected));
        assert_eq!(public_of(&openssh.replace('\n', "\r\n")), Ok(expected));
        assert_eq!(
            read_public(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKNGpYbEeJwT1hHzvTWYKDsPQiW8kfdeh6fli6JKu9f0 a@b"
            ),
            Ok(expected)
        );
        assert_eq!(public_of(pem), Ok(expected));
        assert_eq!(
            read_public(
                "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAo0alhsR4nBPWEfO9NZgoOw9CJbyR916Hp+WLokq71/Q=\n\
            -----END PUBLIC KEY-----"
            ),
            Ok(expected)
        );
    }

    #[test]
    fn digits_and_tagged_files_are_read() {
        let key = SigningKey::from_seed(&SEED);
        let (seed, public) = (hex(&SEED), key.public());
        let crossbar = format!(
            "Crossbar.io node private key - KEEP THIS SAFE!\n\ncreator: a@b\npublic-key-ed25519: {public}\n\
             private-key-ed25519: {seed}\n"
        );
        let short = format!("private-key-ed25519: {seed}");
        for file in
            [format!("{seed}\n"), seed.to_uppercase(), format!("{seed}{public}"), crossbar.clone(), short]
        {
            assert_eq!(public_of(&file), Ok(public), "{file}");
        }
        assert_eq!(read_public(&crossbar), Ok(public));
        let other = SigningKey::from_seed(&[8; 32]).public().to_string();
        let mismatch = Err(KeyError::Mismatch);
        assert_eq!(public_of(&crossbar.replace(&public.to_string(), &other)), mismatch);
        assert_eq!(public_of(&format!("{seed}{other}")), mismatch);
    }

    #[test]
    fn what_is_not_such_a_key_is_told() {
        let encrypted = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
            b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAE3hSY2c\n\
            kVm2XIcqXr0DoZAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIAFIHMV1owTL/UnD\n\
            IezmyS24ouwT4OB+CrllRABgXqxfAAAAkM6JKU3ZORMiEbHZXRRhOFM0wjYnfJ2f1NNN/F\n\
            ASO3SQnz0bCaTbpTPiwFWpIzmRIy1CZ49WHQhV0jAkVq8Iu3xzdk1iiVihvyQ4Np42v16o\n\
            M8SiG+Mp4ovL2AUVJBIjazb/sk+bHMiZcYPEEGFp3EgQCa2MOtZIWURTG9cHrC312CoMyp\n\
            tr6HE7lVuq/nQGfw==\n\
            -----END OPENSSH PRIVATE KEY-----";
        let rsa = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----";
        for (file, error) in [
            ("", KeyError::Form),
            ("hello", KeyError::Form),
            (encrypted, KeyError::Encrypted),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA", KeyError::Encrypted),
            (rsa, KeyError::Algorithm),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", KeyError::Algorithm),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PUBLIC KEY-----", KeyError::Malformed),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
                KeyError::Malformed,
            ),
        ] {
            assert_eq!(public_of(file), Err(error), "{file}");
        }
        assert_eq!(read(&[0xFF; 33]).err(), Some(KeyError::Form));
        assert_eq!(read_public("ssh-rsa AAAA"), Err(KeyError::Algorithm));
        assert_eq!(read_public("ssh-ed25519 AAAA"), Err(KeyError::Malformed));
        // Lengths that lead out of the key.
        let key = openssh(&SigningKey::from_seed(&SEED), "");
        for index in OPENSSH_MAGIC.len()..key.len() {
            let mut damaged = key.to_vec();
            damaged[index] ^= 0xFF;
            if let Ok(read) = read_openssh(&damaged) {
                assert_eq!(read.public(), SigningKey::from_seed(&SEED).public(), "{index}");
            }
        }
    }
}
