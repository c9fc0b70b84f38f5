//! Certificates, keys and authorities: reading their files, choosing by host, and noticing that they have changed.
//!
//! Files are looked at, not subscribed to: it works on every file system, and a minute's certificate can wait ten
//! seconds. What is of no use is told once for each change, and to who asks, and leaves everything as it was, so a
//! certificate that is replaced before its key does no harm.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::{Base, TlsError, TlsSettings, tickets};

/// Octets of a file beyond which it holds no certificates: there are machines that trust a few thousand authorities.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where a certificate and its key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityFiles {
    /// PEM: the certificate, and those between it and its authority behind it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The hosts it is for, `*.example.com` for all directly below one; none: those the certificate names.
    pub names: Vec<String>,
}

impl IdentityFiles {
    /// A certificate for the hosts it names.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> IdentityFiles {
        IdentityFiles { certificate: certificate.into(), key: key.into(), names: Vec::new() }
    }
}

/// The files of one listener, and what they were when they were read last.
#[derive(Debug)]
pub(in crate::server) struct Certificates {
    settings: TlsSettings,
    base: Base,
    authorities: Option<Vec<CertificateDer<'static>>>,
    stamps: Vec<Stamp>,
    /// What was read last is of no use, so what is used was read before.
    useless: bool,
    ends: Vec<(PathBuf, i64)>,
}

/// What tells a file from the one that was there before: device, inode, size, and when content and attributes changed.
/// A file that cannot be looked at is one more state.
type Stamp = Option<[i64; 7]>;

/// What files hold.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) identities: Identities,
    pub(super) authorities: Option<Vec<CertificateDer<'static>>>,
    /// When each certificate ends.
    pub(super) ends: Vec<(PathBuf, i64)>,
}

/// The certificates of a listener, by host.
#[derive(Debug)]
pub(super) struct Identities {
    first: Arc<CertifiedKey>,
    /// In lower case; a host with `*.` before it is for all directly below.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads all files for the first time.
    pub fn load(settings: TlsSettings) -> Result<(Certificates, Arc<ServerConfig>), TlsError> {
        let base = Base::new()?;
        let mut certificates = Certificates {
            stamps: stamps(&settings),
            settings,
            base,
            authorities: None,
            useless: false,
            ends: Vec::new(),
        };
        let config = certificates.read()?;
        Ok((certificates, config))
    }

    /// The settings they are for.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// When the certificates that were read last end, in seconds since 1970.
    pub fn ends(&self) -> impl Iterator<Item = (&Path, i64)> {
        self.ends.iter().map(|(file, end)| (&**file, *end))
    }

    /// Reads the files again if one has changed since they were read last, or if they were of no use then: it may not
    /// have been their fault. If they are of no use, what was before holds; that is told once for each change, and
    /// whenever it is `asked` for.
    pub fn renew(&mut self, asked: bool) -> Option<Result<Arc<ServerConfig>, TlsError>> {
        // The stamps come first: what changes while it is read is read once more.
        let stamps = stamps(&self.settings);
        let changed = stamps != self.stamps;
        if !changed && !self.useless {
            return None;
        }
        self.stamps = stamps;
        let read = self.read();
        self.useless = read.is_err();
        (changed || asked || read.is_ok()).then_some(read)
    }

    fn read(&mut self) -> Result<Arc<ServerConfig>, TlsError> {
        let loaded = Loaded::read(&self.settings, &self.base.provider)?;
        let (authorities, ends) = (loaded.authorities.clone(), loaded.ends.clone());
        if authorities != self.authorities {
            // A session that goes on with a ticket is not verified again: nobody may whom others vouched for.
            self.base.tickets = tickets()?;
        }
        let config = self.base.config(loaded, &self.settings)?;
        self.authorities = authorities;
        self.ends = ends;
        Ok(Arc::new(config))
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    settings.files().map(|file| stamp(file).ok()).collect()
}

fn stamp(file: &Path) -> io::Result<[i64; 7]> {
    let metadata = fs::metadata(file)?;
    Ok([
        metadata.dev() as i64,
        metadata.ino() as i64,
        metadata.size() as i64,
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ])
}

impl Loaded {
    fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
        let authorities = settings.client_authorities.as_deref().map(certificates).transpose()?;
        let mut by_name = HashMap::new();
        let mut first = None;
        let mut ends = Vec::with_capacity(settings.identities.len());
        for files in &settings.identities {
            let key = Arc::new(certified_key(files, provider)?);
            let names = names(files, &key)?;
            ends.extend(end(&key).map(|end| (files.certificate.clone(), end)));
            if names.is_empty() && first.is_some() {
                return Err(TlsError::NoName(files.certificate.clone()));
            }
            for name in names {
                by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        let first = first.ok_or(TlsError::NoIdentity)?;
        Ok(Loaded { identities: Identities { first, by_name }, authorities, ends })
    }
}

/// What is in a file. A device may have no end, and a key is not to be left behind where it was read to.
fn octets(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let read = || {
        let file = File::open(path)?;
        let room = file.metadata()?.len().min(FILE_BYTES_MAX) as usize + 1;
        let mut octets = Zeroizing::new(Vec::with_capacity(room));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        Ok(octets)
    };
    read().map_err(|error| TlsError::Unreadable(path.to_owned(), error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = octets(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsError::NoCertificate(file.to_owned()))
}

fn certified_key(files: &IdentityFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let IdentityFiles { certificate, key, .. } = files;
    let chain = certificates(certificate)?;
    let pem = octets(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey(key.clone()))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| TlsError::Identity(certificate.clone(), key.clone(), error))
}

/// When a certificate ends, in seconds since 1970.
fn end(key: &CertifiedKey) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(key.cert.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The hosts that a certificate is for. The first of a listener may have none: it is taken for all others.
fn names(files: &IdentityFiles, key: &CertifiedKey) -> Result<Vec<String>, TlsError> {
    if !files.names.is_empty() {
        return Ok(files.names.clone());
    }
    let unreadable = || TlsError::NoName(files.certificate.clone());
    let certificate = key.cert.first().ok_or_else(unreadable)?;
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        _ => None,
    });
    Ok(hosts.collect())
}

impl Identities {
    fn find(&self, host: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(host) = host.map(str::to_ascii_lowercase) else { return &self.first };
        let below = || {
            let (_, parent) = host.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(&host).or_else(below).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of one test, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("fanwire-tls-{}-{number}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        /// Writes a certificate for these hosts and its key.
        fn issue(&self, name: &str, hosts: &[&str]) -> IdentityFiles {
            let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let issued = rcgen::generate_simple_self_signed(hosts).unwrap();
            let files =
                IdentityFiles::new(self.0.join(format!("{name}.pem")), self.0.join(format!("{name}.key")));
            fs::write(&files.certificate, issued.cert.pem()).unwrap();
            fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
            files
        }

        fn settings(&self, hosts: &[&[&str]]) -> TlsSettings {
            let identities: Vec<_> = hosts
                .iter()
                .enumerate()
                .map(|(place, hosts)| self.issue(&place.to_string(), hosts))
                .collect();
            TlsSettings { identities, ..TlsSettings::new("", "") }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn identities(settings: &TlsSettings) -> Identities {
        let base = Base::new().unwrap();
        Loaded::read(settings, &base.provider).unwrap().identities
    }

    #[test]
    fn a_host_finds_its_certificate() {
        let folder = Folder::new();
        let mut settings = folder.settings(&[&["a.example"], &["B.example", "*.b.example"], &["c.example"]]);
        settings.identities[2].names = vec!["other.example".to_owned()];
        let identities = identities(&settings);
        let place = |host: Option<&str>| {
            let found = identities.find(host).cert[0].clone();
            let of = |files: &IdentityFiles| certificates(&files.certificate).unwrap()[0] == found;
            settings.identities.iter().position(of).unwrap()
        };
        for (host, expected) in [
            ("a.example", 0),
            ("b.example", 1),
            ("x.B.EXAMPLE", 1),
            ("y.x.b.example", 0),
            ("c.example", 0),
            ("other.example", 2),
            ("unknown", 0),
        ] {
            assert_eq!(place(Some(host)), expected, "{host}");
        }
        assert_eq!(place(None), 0);
    }

    #[test]
    fn files_are_read_again_when_they_change_and_failures_are_told_once() {
        let folder = Folder::new();
        let settings = folder.settings(&[&["a.example"]]);
        let (mut certificates, _) = Certificates::load(settings.clone()).unwrap();
        assert!(certificates.renew(false).is_none());

        fs::write(&settings.identities[0].key, "no key").unwrap();
        assert!(matches!(certificates.renew(false), Some(Err(TlsError::NoKey(_)))));
        assert!(certificates.renew(false).is_none(), "it is told once");
        assert!(matches!(certificates.renew(true), Some(Err(TlsError::NoKey(_)))), "and to who asks");

        folder.issue("0", &["b.example"]);
        assert!(matches!(certificates.renew(false), Some(Ok(_))));
        assert!(certificates.renew(false).is_none());
        fs::remove_file(&settings.identities[0].certificate).unwrap();
        assert!(matches!(certificates.renew(false), Some(Err(TlsError::Unreadable(..)))));
    }

    #[test]
    fn the_ends_are_those_of_the_certificates_that_are_used() {
        let folder = Folder::new();
        let settings = folder.settings(&[&["a.example"], &["b.example"]]);
        let file = settings.identities[1].certificate.clone();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["b.example".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 31);
        fs::write(&file, parameters.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&settings.identities[1].key, key.serialize_pem()).unwrap();
        let (mut certificates, _) = Certificates::load(settings).unwrap();
        let ends: Vec<_> = certificates.ends().collect();
        assert_eq!((ends.len(), ends[1]), (2, (&*file, 1_896_048_000)));
        fs::write(&file, "no certificate").unwrap();
        assert!(certificates.renew(false).unwrap().is_err());
        assert_eq!(certificates.ends().count(), 2, "those before go on");
    }

    #[test]
    fn a_certificate_with_the_key_of_another_is_told() {
        let folder = Folder::new();
        let mut settings = folder.settings(&[&["a.example"], &["b.example"]]);
        settings.identities[0].key = settings.identities[1].key.clone();
        let error = Certificates::load(settings).unwrap_err();
        assert!(matches!(error, TlsError::Identity(..)), "{error}");
    }

    #[test]
    fn what_is_missing_is_told() {
        let folder = Folder::new();
        let settings = folder.settings(&[&["a.example"]]);
        let none = TlsSettings { identities: Vec::new(), ..settings.clone() };
        assert!(matches!(Certificates::load(none), Err(TlsError::NoIdentity)));
        let key_twice = IdentityFiles {
            certificate: settings.identities[0].key.clone(),
            ..settings.identities[0].clone()
        };
        let none = TlsSettings { identities: vec![key_twice], ..settings };
        assert!(matches!(Certificates::load(none), Err(TlsError::NoCertificate(_))));
        let endless = Certificates::load(TlsSettings::new("/dev/zero", "/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "/dev/zero cannot be read: it is too large");
    }

    #[test]
    fn tickets_end_with_the_authorities_that_stood_behind_them() {
        let folder = Folder::new();
        let authority = folder.issue("ca", &["ca.example"]).certificate;
        let settings = TlsSettings {
            client: super::super::ClientCertificates::Required,
            client_authorities: Some(authority),
            ..folder.settings(&[&["a.example"]])
        };
        let (mut certificates, before) = Certificates::load(settings).unwrap();
        folder.issue("0", &["a.example"]);
        let renewed = certificates.renew(false).unwrap().unwrap();
        assert!(Arc::ptr_eq(&before.ticketer, &renewed.ticketer));
        folder.issue("ca", &["ca.example"]);
        let renewed = certificates.renew(false).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&before.ticketer, &renewed.ticketer));
    }
}
