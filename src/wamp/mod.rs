//! The vocabulary of WAMP as types: identifiers, URIs, values, messages, the options a router reads, predefined URIs.
//!
//! No state and no IO. Everything here is plain data that borrows from the bytes it was read from; the codec reads
//! and writes it, the router acts on it. Names are the specification's.

pub mod id;
pub mod message;
pub mod options;
pub mod reason;
pub mod uri;
pub mod value;

pub use id::{ID_MAX, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};
pub use message::Message;
pub use uri::{MatchPolicy, UriCheck};
pub use value::{Dict, List, Payload, Raw, Serializer, Value};
