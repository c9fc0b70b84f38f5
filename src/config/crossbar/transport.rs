//! Transports: their endpoints, options and paths, as listeners.

use serde_json::{Map, Value, json};

use super::anonymous::Anonymous;
use super::object::Object;
use super::site::{Pages, Site};
use super::write::Section;
use super::{Node, Reach, Report, auth};
use crate::auth::Method;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::wamp::Serializer;

/// A listener of the result.
#[derive(Default)]
pub struct ListenerText {
    pub address: String,
    /// What its worker reaches.
    reach: Reach,
    transports: Vec<&'static str>,
    longpoll: Option<String>,
    pub serializers: Option<Vec<String>>,
    pub message_bytes_max: Option<u64>,
    pub origins: Option<Vec<String>>,
    pub allow_null_origin: Option<bool>,
    pub methods: Vec<&'static str>,
    /// What its transports make of those who say nothing.
    pub anonymous: Vec<Anonymous>,
    /// What the listener says of them.
    pub anonymous_here: Option<Map<String, Value>>,
    pub realms: Option<Vec<String>>,
    tls: Option<Section>,
    pub cookie: Option<Section>,
    /// The paths that it is made of.
    sites: Vec<Site>,
}

impl ListenerText {
    pub fn section(self) -> Section {
        let mut section = Section::new("[[listener]]");
        section.set("address", self.address);
        section.set("transports", self.transports);
        section.optional("longpoll", self.longpoll);
        section.optional("serializers", self.serializers);
        section.optional("message_bytes_max", self.message_bytes_max);
        section.optional("origins", self.origins);
        section.optional("allow_null_origin", self.allow_null_origin);
        section.set("methods", self.methods);
        section.optional("anonymous", self.anonymous_here);
        section.optional("realms", self.realms);
        section.sections.extend(self.tls.into_iter().chain(self.cookie));
        section
    }

    /// True if its worker reaches the realm, so that somebody can join it there.
    pub fn reaches(&self, realm: &str) -> bool {
        self.reach.as_ref().is_none_or(|names| names.iter().any(|name| name == realm))
    }

    /// Opens a method.
    pub fn open(&mut self, method: Method) {
        let name = method.name();
        if !self.methods.contains(&name) {
            self.methods.push(name);
        }
    }

    /// Has nobody come in by a method.
    pub fn close(&mut self, method: Method) {
        self.methods.retain(|name| *name != method.name());
    }

    fn speak(&mut self, transport: &'static str) {
        if !self.transports.contains(&transport) {
            self.transports.push(transport);
        }
    }
}

/// Reads a transport into the node, whose worker reaches so much.
pub fn read(mut object: Object, reach: Reach, node: &mut Node, report: &Report) {
    let mut listener = ListenerText { reach, ..ListenerText::default() };
    let kind = object.text("type").unwrap_or_default();
    if !matches!(&*kind, "websocket" | "rawsocket" | "universal" | "web") {
        object.drop_all(match &*kind {
            "mqtt" => "MQTT is not spoken",
            _ => "it is not spoken",
        });
        return;
    }
    let Some(endpoint) = object.object("endpoint") else {
        object.drop_all("it has no endpoint");
        return;
    };
    if !read_endpoint(endpoint, &mut listener, report) {
        object.drop_all("there is no address to listen at");
        return;
    }
    match &*kind {
        "websocket" => read_websocket(&mut object, &mut listener, node, report),
        "rawsocket" => read_rawsocket(&mut object, &mut listener, node, report),
        "universal" => {
            if let Some(mut rawsocket) = object.object("rawsocket") {
                read_rawsocket(&mut rawsocket, &mut listener, node, report);
            }
            for (_, mut websocket) in object.entries("websocket") {
                read_websocket(&mut websocket, &mut listener, node, report);
            }
            if let Some(mut web) = object.object("web") {
                read_paths(&mut web, "", &mut listener, node, report);
                web.drop(&WEB_KEYS);
            }
        }
        _ => {
            read_paths(&mut object, "", &mut listener, node, report);
            object.drop(&WEB_KEYS);
        }
    }
    object.drop(&[
        ("id", "nothing refers to it"),
        ("debug", "what is logged is said with log"),
        ("mqtt", "MQTT is not spoken"),
    ]);
    if listener.transports.is_empty() {
        report.drop(&object.path, "nothing of it is spoken here");
        return;
    }
    let sites = std::mem::take(&mut listener.sites);
    listener.merge(&sites, report);
    if listener.transports == ["longpoll"] {
        listener.speak("websocket");
        report.warn(&object.path, "where long-poll is spoken, WebSocket is as well");
    }
    if !node.realms.is_empty() && !node.realms.iter().any(|realm| listener.reaches(&realm.name)) {
        report.warn(&object.path, "its worker reaches no realm, so nobody can join there");
        listener.methods.clear();
    }
    node.listeners.push(listener);
}

const WEB_KEYS: [(&str, &str); 1] =
    [("options", "the HTTP server has no options, for it serves only what clients of WAMP need")];

/// False if there is no address in it.
fn read_endpoint(mut object: Object, listener: &mut ListenerText, report: &Report) -> bool {
    let tuning = "the operating system's own value serves as well";
    match object.text("type").as_deref() {
        Some("tcp") => {
            let version = object.number("version").unwrap_or(4);
            let everywhere = if version == 6 { "::" } else { "0.0.0.0" };
            let host = object.text("interface").unwrap_or_else(|| everywhere.to_owned());
            let port = read_port(&mut object, report);
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            listener.address = format!("{host}:{port}");
            if let Some(tls) = object.object("tls") {
                listener.tls = Some(read_tls(tls, report));
            }
            object.drop(&[
                ("shared", "each listener serves every core"),
                ("backlog", tuning),
                ("user_timeout", tuning),
            ]);
            true
        }
        Some("unix") => {
            let path = object.text("path").unwrap_or_default();
            listener.address = format!("unix:{}", report.moved(path));
            object.drop(&[("backlog", tuning)]);
            true
        }
        _ => {
            object.drop_all("write an address: there is TCP and there are Unix sockets");
            false
        }
    }
}

fn read_port(object: &mut Object, report: &Report) -> u64 {
    let path = object.at("port");
    if let Some(first) = object.value("portrange").and_then(|range| range.get(0)).and_then(Value::as_u64) {
        report.warn(&object.at("portrange"), format!("there are no ranges; it is port {first}"));
        return first;
    }
    let port = object.text("port").unwrap_or_default();
    if let Some(name) = variable(&port) {
        report.warn(
            &path,
            format!("an address cannot come from the variable {name}; write its port instead of 8080"),
        );
        return 8080;
    }
    port.parse().unwrap_or_else(|_| {
        report.warn(&path, "it is no port; it is 8080 now");
        8080
    })
}

fn read_tls(mut object: Object, report: &Report) -> Section {
    let mut section = Section::new("[listener.tls]");
    let file = |name: Option<String>| name.map(|name| report.moved(name));
    section.optional("certificate", file(object.text("certificate")));
    section.optional("key_file", file(object.text("key")));
    // One file has all of them here, and this makes no files.
    let chain = object.texts("chain_certificates").unwrap_or_default();
    if !chain.is_empty() {
        let text = format!("write {} behind the certificate, into its file", chain.join(", "));
        report.warn(&object.at("chain_certificates"), text);
    }
    if let Some([first, others @ ..]) = object.texts("ca_certificates").as_deref() {
        section.set("client", "required");
        section.set("client_authorities", report.moved(first.clone()));
        if !others.is_empty() {
            let text =
                format!("write {} into {first}; until then their clients are refused", others.join(", "));
            report.warn(&object.at("ca_certificates"), text);
        }
    }
    object.drop(&[
        ("dhparam", "such key exchanges are not offered"),
        ("ciphers", "only modern ciphers are offered, and all of them"),
    ]);
    section
}

fn read_websocket(object: &mut Object, listener: &mut ListenerText, node: &mut Node, report: &Report) {
    listener.speak("websocket");
    let (mut pages, mut message_bytes_max) = (Pages::default(), None);
    let serializers = read_serializers(object, report);
    if let Some(mut options) = object.object("options") {
        message_bytes_max = read_message_size(&mut options, report);
        read_options(options, &mut pages, node, report);
    }
    if let Some(cookie) = object.object("cookie") {
        pages.cookie = Some(read_cookie(cookie));
    }
    let path = object.path.clone();
    listener.sites.push(Site { path, serializers, message_bytes_max, pages: Some(pages) });
    let auth = object.object("auth");
    auth::read(auth, &object.at("auth"), listener, node, report);
    object.text("type");
    object.drop(&[
        ("id", "nothing refers to it"),
        ("url", "clients know where they have come to"),
        ("debug", "what is logged is said with log"),
    ]);
}

fn read_rawsocket(object: &mut Object, listener: &mut ListenerText, node: &mut Node, report: &Report) {
    listener.speak("rawsocket");
    let serializers = read_serializers(object, report);
    let options = object.object("options");
    let message_bytes_max = options.and_then(|mut options| read_message_size(&mut options, report));
    listener.sites.push(Site { path: object.path.clone(), serializers, message_bytes_max, pages: None });
    let auth = object.object("auth");
    auth::read(auth, &object.at("auth"), listener, node, report);
    object.drop(&[("debug", "what is logged is said with log")]);
}

fn read_serializers(object: &mut Object, report: &Report) -> Option<Vec<String>> {
    let names = object.texts("serializers")?;
    let mut serializers = Vec::new();
    for name in names {
        let plain = name.strip_suffix(".batched").unwrap_or(&name);
        if !Serializer::ALL.iter().any(|serializer| serializer.name() == plain) {
            report.drop(&object.at("serializers"), &format!("{name} is not spoken"));
        } else if !serializers.iter().any(|known| known == plain) {
            serializers.push(plain.to_owned());
        }
    }
    Some(serializers)
}

fn read_message_size(object: &mut Object, report: &Report) -> Option<u64> {
    let octets = object.number("max_message_size").filter(|octets| *octets > 0)?;
    let most = octets.clamp(512, MESSAGE_BYTES_CEILING as u64);
    if most != octets {
        report.warn(&object.at("max_message_size"), format!("it is {most} here, the next there can be"));
    }
    Some(most)
}

fn read_options(mut object: Object, pages: &mut Pages, node: &mut Node, report: &Report) {
    pages.origins = object.texts("allowed_origins").map(|origins| origins.into_iter().map(origin).collect());
    pages.allow_null_origin = object.flag("allow_null_origin");
    let seconds = |ms: u64| ms.div_ceil(1000);
    if let Some(ms) = object.number("auto_ping_interval") {
        node.ping_seconds = node.ping_seconds.max(Some(seconds(ms)));
        report.warn(&object.at("auto_ping_interval"), "ping_seconds holds for all listeners");
    }
    if let Some(ms) = object.number("open_handshake_timeout").filter(|ms| *ms > 0) {
        node.handshake_seconds = node.handshake_seconds.max(Some(seconds(ms)));
        report.warn(&object.at("open_handshake_timeout"), "handshake_seconds holds for all listeners");
    }
    let as_it_says = "it is done as the specification of WebSocket says";
    object.drop(&[
        ("auto_ping_timeout", "it is as long as the interval"),
        ("auto_ping_size", "pings have a length of their own"),
        ("auto_ping_restart_on_any_traffic", "every octet of a peer counts as a sign of life"),
        ("close_handshake_timeout", "it is goodbye_ms_max in [limits], for all transports"),
        ("max_frame_size", "frames may be as long as messages"),
        ("auto_fragment_size", "messages are sent in one frame"),
        ("fail_by_drop", as_it_says),
        ("echo_close_codereason", as_it_says),
        ("enable_hybi10", "only version 13 is spoken"),
        ("enable_rfc6455", "it is always spoken"),
        ("validate_utf8", "texts are always checked"),
        ("mask_server_frames", as_it_says),
        ("require_masked_client_frames", as_it_says),
        ("apply_mask", as_it_says),
        ("enable_webstatus", "a page at / is always shown"),
        ("external_port", "clients know where they have come to"),
        ("tcp_nodelay", "it is always set"),
        ("enable_flash_policy", "there is no Flash"),
        ("flash_policy", "there is no Flash"),
        ("require_websocket_subprotocol", "it is always required"),
        ("show_server_version", "the version is told in WELCOME"),
        ("compression", "messages are not compressed"),
    ]);
}

/// Origins without a scheme match any.
fn origin(origin: String) -> String {
    if origin == "*" || origin.contains("://") { origin } else { format!("*://{origin}") }
}

fn read_cookie(mut object: Object) -> Section {
    let mut section = Section::new("[listener.cookie]");
    section.optional("name", object.text("name"));
    section.optional("max_age_seconds", object.number("max_age"));
    // There it is not secure if it does not say so.
    section.set("secure", object.flag("secure").unwrap_or(false));
    section.optional("http_only", object.flag("http_strict"));
    section.optional("same_site", object.text("same_site").map(|site| site.to_lowercase()));
    object.drop(&[
        ("length", "it is long enough not to be guessed"),
        ("store", "cookies are known while the process runs"),
    ]);
    section
}

/// The paths of a web transport. WebSocket is served at every path here.
fn read_paths(
    object: &mut Object,
    above: &str,
    listener: &mut ListenerText,
    node: &mut Node,
    report: &Report,
) {
    for (name, mut service) in object.entries("paths") {
        let path = format!("{above}/{}", name.trim_matches('/'));
        match service.text("type").unwrap_or_default().as_str() {
            "websocket" => {
                read_websocket(&mut service, listener, node, report);
            }
            "longpoll" => {
                listener.speak("longpoll");
                if let Some(first) = &listener.longpoll {
                    report.warn(&service.path, format!("long-poll has one path here, and it is {first}"));
                } else {
                    listener.longpoll = Some(path);
                }
                service.drop(&[(
                    "options",
                    "the times and queues of long-poll are longpoll_* at the top and in [limits]",
                )]);
            }
            "path" => read_paths(&mut service, &path, listener, node, report),
            "nodeinfo" => service.drop_all("a page at / is always shown"),
            "publisher" | "caller" | "webhook" => service.drop_all("there is no HTTP bridge"),
            _ => service.drop_all("files and programs are for a web server"),
        }
    }
}

/// The name in `$NAME` or `${NAME}`.
pub fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    valid.then_some(name)
}

/// Sets a secret: as it is, or from the variable it names.
pub fn secret(map: &mut Map<String, Value>, key: &str, value: &str) {
    match variable(value) {
        Some(name) => map.insert(format!("{key}_env"), json!(name)),
        None => map.insert(key.to_owned(), json!(value)),
    };
}
