//! From a configuration file that is good in itself to what a server is started with.
//!
//! What this version of the router does not do is refused aloud and never left out: a router that ignores a rule is
//! open where its operator thinks it closed.

mod authentication;
mod pages;
mod places;
pub(super) mod rules;
mod template;

use std::iter;
use std::path::Path;
use std::sync::Arc;

use super::file::{self, Certificate, File, Listener, Realm, Role, Tls};
use super::reader::{Mistake, Surroundings};
use super::{AGENT, check};
use crate::limits::Limits;
use crate::router::{self, ListenerSettings, RealmSettings, Settings};
use crate::server::{self, Entrance, IdentityFiles, TlsSettings};
use crate::transport;
use crate::wamp::Serializer;

/// What is refused: the path of the key, and why.
type Refuse<'a> = dyn Fn(&str, &str) + 'a;

/// What a file stands for.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub file: File,
    /// What of it this version cannot do, if there is something.
    pub refused: Vec<Mistake>,
}

/// Reads and checks a file, and says what of it cannot be served.
pub fn load(text: &str, base: &Path, surroundings: &dyn Surroundings) -> Result<Loaded, Vec<Mistake>> {
    file::with_reader(text, base, surroundings, |file, reader| {
        let refused = std::cell::RefCell::new(Vec::new());
        authentication::check(&file, &|path, text| reader.mistake(path, text));
        places::check(&file, surroundings, &|path, text| reader.mistake(path, text));
        refuse(&file, &|path, text| refused.borrow_mut().push(reader.placed(path, text)));
        let mut refused = refused.into_inner();
        refused.sort();
        Loaded { file, refused }
    })
}

impl File {
    /// What a server is started with; a sentence if the bounds have been changed so that they do not fit together. Of
    /// what [`load`] has refused nothing arrives. Signals are left alone.
    pub fn server(&self) -> Result<server::Config, String> {
        if let Some(text) = check::outbound(&self.limits) {
            return Err(format!("outbound_bytes_max: {text}"));
        }
        let settings = Settings {
            listeners: self.listeners.iter().map(|listener| self.listener(listener)).collect(),
            realms: self.realms.iter().map(realm).collect(),
            agent: AGENT.to_owned(),
            authentication: authentication::everywhere(self),
            limits: self.limits.clone(),
        };
        let addresses = self.listeners.iter().filter_map(|listener| listener.address.clone()).collect();
        let entrances = self.listeners.iter().map(entrance).collect();
        let (shards, control) = (self.shards, self.control.clone());
        Ok(server::Config { addresses, entrances, shards, settings, signals: false, hangup: true, control })
    }

    fn listener(&self, listener: &Listener) -> ListenerSettings {
        let path = listener.longpoll_path.as_deref().unwrap_or(&self.longpoll);
        let mut serializers = [false; Serializer::COUNT];
        for serializer in &listener.serializers {
            serializers[serializer.index()] = true;
        }
        let Limits { message_bytes_max, .. } = self.limits;
        ListenerSettings {
            transport: Arc::new(transport::Settings {
                message_bytes_max: listener.message_bytes_max.unwrap_or(message_bytes_max),
                peer_message_bytes_min: listener
                    .peer_message_bytes_min
                    .unwrap_or(self.peer_message_bytes_min),
                serializers,
                rawsocket: listener.rawsocket,
                websocket: listener.websocket,
                longpoll: listener.longpoll.then(|| Arc::from(path)),
                pages: pages::pages(listener),
            }),
            request_ids: listener.request_ids.unwrap_or(self.request_ids),
            forwarded_from: listener.forwarded_from.clone(),
            access: authentication::access(listener),
        }
    }
}

fn entrance(listener: &Listener) -> Entrance {
    Entrance {
        tls: listener.tls.as_ref().map(tls),
        proxy_protocol_from: listener.proxy_protocol_from.clone(),
    }
}

fn tls(tls: &Tls) -> TlsSettings {
    let files = |certificate: &Certificate, names: &[String]| IdentityFiles {
        certificate: certificate.chain.clone().unwrap_or_default(),
        key: certificate.key_file.clone().unwrap_or_default(),
        names: names.to_vec(),
    };
    let others = tls.sni.iter().map(|(names, certificate)| files(certificate, names));
    TlsSettings {
        identities: iter::once(files(&tls.certificate, &[])).chain(others).collect(),
        shared: tls.shared,
        client: tls.client,
        client_authorities: tls.client_authorities.clone(),
        watch_ms: TlsSettings::WATCH_MS,
    }
}

fn realm(realm: &Realm) -> RealmSettings {
    let roles: Vec<_> = realm.roles.iter().map(|said| Arc::new(role(said))).collect();
    RealmSettings {
        name: realm.name.clone(),
        template: template::template(realm),
        uri_check: realm.uri_check,
        disclosure: realm.disclosure,
        authentication: Arc::new(authentication::settings(realm, &roles, &|_, _| {})),
        roles,
        event_history: realm.event_history.clone(),
        retained_count_max: realm.retained_count_max,
        retained_bytes_max: realm.retained_bytes_max,
        call_timeout_ms: realm.call_timeout_seconds * 1000,
    }
}

fn role(role: &Role) -> router::Role {
    router::Role {
        name: role.name.clone(),
        trust_level: role.trust_level,
        administers: role.administers,
        permissions: rules::permissions(role),
    }
}

/// Says everything that is not served.
fn refuse(file: &File, refuse: &Refuse) {
    for (index, listener) in file.listeners.iter().enumerate() {
        refuse_of_listener(listener, &|key, text| refuse(&format!("listener[{index}].{key}"), text));
    }
}

fn refuse_of_listener(listener: &Listener, refuse: &Refuse) {
    if listener.longpoll && !listener.websocket {
        refuse(
            "transports",
            "this version speaks long-poll only where it speaks WebSocket; write \"websocket\" too",
        );
    }
    if pages::is_anybodys(listener) {
        refuse(
            "cookie.same_site",
            "with \"none\" every page could join as who has the cookie; name the origins too",
        );
    }
}
