//! An authority that signs certificates, and a folder with them and with the configuration of a router.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::install;

/// An authority; its folder goes with it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// One whose own certificate is `authority.pem`, with a certificate `server.pem` for this machine.
    pub fn new() -> Authority {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fanwire-clients-{}-{count}", std::process::id()));
        fs::create_dir(&folder).expect("nobody else takes this name");
        // As strictly as newer versions of Python want it.
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(DnType::CommonName, "The authority of the tests");
        let key = KeyPair::generate().expect("there is randomness");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("the parameters are sound");
        fs::write(folder.join("authority.pem"), issuer.pem()).expect("the folder is ours");
        let authority = Authority { issuer, folder };
        let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        authority.issue("server", "server", hosts, ExtendedKeyUsagePurpose::ServerAuth);
        authority
    }

    /// A client's certificate with that name, and its key, in files of that name; its SHA-1 digest as Crossbar.io
    /// writes it.
    pub fn issue_client(&self, name: &str) -> String {
        use sha1::Digest;
        let certificate = self.issue(name, name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth);
        let digest = sha1::Sha1::digest(&certificate);
        digest.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
    }

    /// Where a file of that name is, or would be.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The same, as text.
    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().expect("names of temporary folders are text").to_owned()
    }

    /// Puts a configuration of the repository into the folder, with these words replaced; where it is.
    pub fn configuration(&self, name: &str, replaced: &[(&str, &str)]) -> PathBuf {
        let source = install::scripts().join("configurations").join(name);
        let mut text = fs::read_to_string(source).expect("it is part of the repository");
        for (word, by) in replaced {
            text = text.replace(word, by);
        }
        let path = self.file(name);
        fs::write(&path, text).expect("the folder is ours");
        path
    }

    fn issue(&self, file: &str, name: &str, hosts: Vec<String>, usage: ExtendedKeyUsagePurpose) -> Vec<u8> {
        let key = KeyPair::generate().expect("there is randomness");
        let mut parameters = CertificateParams::new(hosts).expect("hosts are plain names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.use_authority_key_identifier_extension = true;
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &self.issuer).expect("the parameters are sound");
        fs::write(self.file(&format!("{file}.pem")), certificate.pem()).expect("the folder is ours");
        fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).expect("the folder is ours");
        certificate.der().to_vec()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
