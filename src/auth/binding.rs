//! Channel binding: what ties an authentication to the TLS connection that it runs over, so that nobody in between can
//! pass it on.
//!
//! Spec: RFC 5929 (`tls-unique`, `tls-server-end-point`), RFC 9266 (`tls-exporter`).

/// The types of channel binding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BindingType {
    /// The first Finished message of the TLS handshake; only up to TLS 1.2.
    TlsUnique,
    /// Keying material that both ends export.
    TlsExporter,
    /// The digest of the server's certificate.
    TlsServerEndPoint,
}

impl BindingType {
    /// The label under which keying material is exported for `tls-exporter`, with an empty context.
    pub const EXPORTER_LABEL: &'static [u8] = b"EXPORTER-Channel-Binding";

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<BindingType> {
        let all = [BindingType::TlsUnique, BindingType::TlsExporter, BindingType::TlsServerEndPoint];
        all.into_iter().find(|binding| binding.name() == name)
    }

    /// The name that stands in `channel_binding`.
    pub fn name(self) -> &'static str {
        match self {
            BindingType::TlsUnique => "tls-unique",
            BindingType::TlsExporter => "tls-exporter",
            BindingType::TlsServerEndPoint => "tls-server-end-point",
        }
    }
}

/// A type, and what it is for this connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelBinding {
    /// Its type.
    pub binding: BindingType,
    /// What both ends of the connection know: 32 octets for `tls-exporter`; 12, mostly, for `tls-unique`.
    pub octets: Vec<u8>,
}

impl ChannelBinding {
    /// The 32 octets that cryptosign mixes into a challenge; none if there are not just as many.
    pub fn channel_id(&self) -> Option<[u8; 32]> {
        self.octets.as_slice().try_into().ok()
    }
}
