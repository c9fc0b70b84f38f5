//! What a session may do, asked of the router itself (advanced profile, "Authorization").

use std::sync::Arc;

use fanwire::counters::Counters;
use fanwire::router::authentication;
use fanwire::router::rules::{Action, Actions, Rule, Rules, changes_others, is_procedure};
use fanwire::router::{Authorizer, Disclosure, HistoryRule, Permissions, Role, Settings, VerdictCache};
use fanwire::wamp::MatchPolicy::{self, Exact, Prefix, Wildcard};
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere_with, head};

const CALL: &[Action] = &[Action::Call];
const REGISTER: &[Action] = &[Action::Register];
const PUBLISH: &[Action] = &[Action::Publish];
const SUBSCRIBE: &[Action] = &[Action::Subscribe];
const ALL: &[Action] = &Action::ALL;

type Written<'a> = (&'a str, MatchPolicy, &'a [Action]);

fn rule(&(uri, policy, actions): &Written<'_>) -> Rule {
    Rule::new(uri, policy, actions.iter().copied().collect())
}

fn role(rules: Vec<Rule>) -> Arc<Role> {
    let permissions = Permissions::Rules(Arc::new(Rules::new(rules).unwrap()));
    Arc::new(Role { permissions, administers: true, ..Role::open("guest") })
}

/// Everybody in the realm has these rules.
fn with(rules: &[Written<'_>]) -> impl Fn(&mut Settings) {
    let role = role(rules.iter().map(rule).collect());
    move |settings| {
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role.clone()))
    }
}

fn counters(wire: &Wire) -> Counters {
    let mut all = Counters::default();
    wire.shards.iter().for_each(|shard| all.add(&shard.counters()));
    all
}

/// The error of a request.
fn error(wire: &mut Wire, client: Client, request: &str) -> String {
    let answer = wire.ask(client, request);
    assert_eq!(answer[0], 8, "{request}: {answer}");
    answer[4].as_str().unwrap().to_owned()
}

const DENIED: &str = "wamp.error.not_authorized";

#[test]
fn every_action_needs_a_rule_that_allows_it() {
    let rules = [
        ("com.call", Exact, CALL),
        ("com.register", Exact, REGISTER),
        ("com.publish", Exact, PUBLISH),
        ("com.subscribe", Exact, SUBSCRIBE),
    ];
    everywhere_with(with(&rules), |mut wire| {
        let (client, _) = wire.join();
        let mut request = 0;
        for uri in ["com.call", "com.register", "com.publish", "com.subscribe", "com.other"] {
            for (action, code, options) in [
                ("call", 48, "{}"),
                ("register", 64, "{}"),
                ("publish", 16, r#"{"acknowledge":true}"#),
                ("subscribe", 32, "{}"),
            ] {
                request += 1;
                let answer = wire.ask(client, &format!(r#"[{code},{request},{options},"{uri}"]"#));
                let denied = json!([8, code, request, {}, DENIED, ["the session may not do this"]]);
                match (uri.strip_prefix("com.") == Some(action), action) {
                    (false, _) => assert_eq!(answer, denied, "{action} {uri}"),
                    (true, "call") => assert_eq!(answer[4], "wamp.error.no_such_procedure"),
                    (true, _) => assert_eq!(answer[0], code + 1, "{action} {uri}"),
                }
            }
        }
        assert_eq!(counters(&wire).denied, [4, 4, 4, 4]);
        assert_eq!(counters(&wire).publications, 1);
        wire.finish();
    });
}

#[test]
fn nothing_denied_leaves_a_trace() {
    let rules = [("com.", Prefix, SUBSCRIBE), ("wamp.", Prefix, CALL)];
    let history = |settings: &mut Settings| {
        with(&rules)(settings);
        settings.realms[0].event_history = vec![HistoryRule::new("com.", Prefix)];
    };
    everywhere_with(history, |mut wire| {
        let (subscriber, _) = wire.join();
        let (client, _) = wire.join();
        wire.ask(subscriber, r#"[32,1,{"match":"prefix"},"com."]"#);
        assert_eq!(
            error(&mut wire, client, r#"[16,1,{"acknowledge":true,"retain":true},"com.a",[1]]"#),
            DENIED
        );
        wire.send(client, r#"[16,2,{"retain":true},"com.a",[2]]"#);
        assert_eq!(error(&mut wire, client, r#"[64,3,{},"com.a"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[48,4,{},"com.a"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[32,5,{"match":"prefix"},"org."]"#), DENIED);
        assert!(wire.receive(subscriber).is_empty() && wire.receive(client).is_empty());
        // Nothing is retained, registered or subscribed.
        assert_eq!(wire.ask(subscriber, r#"[32,2,{"get_retained":true},"com.a"]"#)[0], 33);
        let lookup = |wire: &mut Wire, request: u64, kind: &str, uri: &str| {
            wire.ask(client, &format!(r#"[48,{request},{{}},"wamp.{kind}.lookup",["{uri}"]]"#))[3][0].clone()
        };
        assert_eq!(lookup(&mut wire, 6, "registration", "com.a"), Value::Null);
        assert_eq!(lookup(&mut wire, 7, "subscription", "org."), Value::Null);
        let told = counters(&wire);
        assert_eq!((told.publications, told.publications_denied_silently, told.denied), (0, 1, [1, 1, 2, 1]));
        assert_eq!(told.publications_refused_silently, 0);
        wire.finish();
    });
}

#[test]
fn an_unacknowledged_publication_is_denied_whether_somebody_listens_or_not() {
    everywhere_with(with(&[("open.", Prefix, ALL), ("shut.", Prefix, SUBSCRIBE)]), |mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        wire.send(publisher, r#"[16,1,{},"shut.a"]"#);
        assert_eq!(counters(&wire).publications_denied_silently, 1);
        for topic in ["shut.a", "open.a"] {
            let request = if topic == "shut.a" { 1 } else { 2 };
            wire.ask(subscriber, &format!(r#"[32,{request},{{}},"{topic}"]"#));
        }
        wire.send(publisher, r#"[16,2,{},"shut.a"]"#);
        wire.send(publisher, r#"[16,3,{},"shut.b"]"#);
        wire.send(publisher, r#"[16,4,{},"open.a"]"#);
        wire.send(publisher, r#"[16,5,{},"open.b"]"#);
        assert_eq!(wire.receive(subscriber).len(), 1);
        let told = counters(&wire);
        assert_eq!((told.publications, told.publications_denied_silently, told.denied[2]), (2, 3, 3));
        assert!(told.to_string().contains("3 publications not allowed and not acknowledged"), "{told}");
        wire.finish();
    });
}

#[test]
fn a_pattern_needs_a_rule_that_contains_it() {
    let rules = [
        ("com.example.", Prefix, &[Action::Subscribe, Action::Register][..]),
        ("com.example.secret", Exact, &[]),
        ("org..public", Wildcard, &[Action::Subscribe, Action::Register]),
    ];
    everywhere_with(with(&rules), |mut wire| {
        let (client, _) = wire.join();
        let mut request = 0;
        for (policy, uri, may) in [
            ("prefix", "com.example.a", true),
            ("prefix", "com.example.s", false),
            ("prefix", "com.example.", false),
            ("prefix", "com.", false),
            ("prefix", "", false),
            ("wildcard", "com.example.a.", true),
            ("wildcard", "com.example.", false),
            ("wildcard", "com..a", false),
            ("wildcard", "org..public", true),
            ("wildcard", "org.x.public", true),
            ("wildcard", "org..", false),
            ("exact", "com.example.secret", false),
            ("exact", "com.example.open", true),
        ] {
            for code in [32, 64] {
                request += 1;
                let text = format!(r#"[{code},{request},{{"match":"{policy}"}},"{uri}"]"#);
                let answer = wire.ask(client, &text);
                match may {
                    true => assert_eq!(answer[0], code + 1, "{text}"),
                    false => assert_eq!(head(&answer, 5), json!([8, code, request, {}, DENIED]), "{text}"),
                }
            }
        }
        wire.finish();
    });
}

#[test]
fn meta_procedures_follow_the_rules_and_the_powerful_need_one_each() {
    let rules = [
        ("wamp.", Prefix, CALL),
        ("wamp.session.kill", Exact, CALL),
        ("wamp.session.list", Exact, &[]),
        ("wamp.session.on_join", Exact, SUBSCRIBE),
    ];
    everywhere_with(with(&rules), |mut wire| {
        let (client, _) = wire.join();
        let (other, session) = wire.join();
        assert_eq!(wire.ask(client, r#"[48,1,{},"wamp.session.count"]"#), json!([50, 1, {}, [2]]));
        assert_eq!(error(&mut wire, client, r#"[48,2,{},"wamp.session.list"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[48,3,{},"wamp.session.kill_all"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[48,4,{},"wamp.no.such"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[48,5,{},"wamp.subscription.get_events",[1]]"#), DENIED);
        assert_eq!(wire.ask(client, r#"[32,6,{},"wamp.session.on_join"]"#)[0], 33);
        assert_eq!(error(&mut wire, client, r#"[32,7,{},"wamp.session.on_leave"]"#), DENIED);
        assert_eq!(error(&mut wire, client, r#"[32,8,{"match":"prefix"},"wamp."]"#), DENIED);
        wire.send(client, &format!(r#"[48,9,{{}},"wamp.session.kill",[{session}]]"#));
        assert!(wire.receive(client).iter().any(|message| message[0] == 50));
        assert_eq!(wire.receive(other)[0][2], "wamp.close.killed");
        wire.finish();
    });
}

#[test]
fn a_rule_makes_nobody_an_administrator() {
    let kill = ("wamp.session.kill_all", Exact, CALL);
    let change = |settings: &mut Settings| {
        with(&[kill])(settings);
        let anonymous = settings.realms[0].anonymous().unwrap();
        let role = Role { administers: false, ..Role::clone(anonymous) };
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role));
    };
    everywhere_with(change, |mut wire| {
        let (client, _) = wire.join();
        assert_eq!(error(&mut wire, client, r#"[48,1,{},"wamp.session.kill_all"]"#), DENIED);
        wire.finish();
    });
}

#[test]
fn a_testament_is_a_publication_when_it_is_added() {
    let rules = [("wamp.", Prefix, CALL), ("open.", Prefix, ALL), ("shut.", Prefix, SUBSCRIBE)];
    everywhere_with(with(&rules), |mut wire| {
        let (client, _) = wire.join();
        let (heir, _) = wire.join();
        wire.ask(heir, r#"[32,1,{"match":"prefix"},"open."]"#);
        wire.ask(heir, r#"[32,2,{"match":"prefix"},"shut."]"#);
        let add = |request: u64, topic: &str| {
            format!(r#"[48,{request},{{}},"wamp.session.add_testament",["{topic}",[1]]]"#)
        };
        assert_eq!(error(&mut wire, client, &add(1, "shut.a")), DENIED);
        assert_eq!(error(&mut wire, client, &add(2, "a..b")), "wamp.error.invalid_uri");
        assert_eq!(wire.ask(client, &add(3, "open.a"))[0], 50);
        wire.reset(client);
        let events = wire.receive(heir);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0][3]["topic"], "open.a");
        assert_eq!(counters(&wire).denied, [0, 0, 1, 0]);
        wire.finish();
    });
}

#[test]
fn the_history_is_shown_to_those_who_may_subscribe() {
    let rules = [
        ("log.", Prefix, &[Action::Publish, Action::Subscribe][..]),
        ("wamp.subscription.get_events", Exact, CALL),
        ("wamp.subscription.lookup", Exact, CALL),
    ];
    let change = |settings: &mut Settings| {
        with(&rules)(settings);
        settings.realms[0].event_history = vec![HistoryRule::new("log.", Prefix)];
    };
    everywhere_with(change, |mut wire| {
        let (client, _) = wire.join();
        let subscription = wire.ask(client, r#"[32,1,{},"log.a"]"#)[2].clone();
        wire.ask(client, r#"[16,2,{"acknowledge":true,"exclude_me":true},"log.a",[1]]"#);
        let (reader, _) = wire.join();
        let events =
            wire.ask(reader, &format!(r#"[48,1,{{}},"wamp.subscription.get_events",[{subscription}]]"#));
        assert_eq!(events[3].as_array().unwrap().len(), 1, "{events}");
        wire.finish();
    });
    // Whose subscription it is does not matter: a topic of one session's own is not shown to another.
    let rules = [
        ("log.{authid}", Exact, &[Action::Publish, Action::Subscribe][..]),
        ("wamp.subscription.get_events", Exact, CALL),
    ];
    let change = |settings: &mut Settings| {
        with(&rules)(settings);
        settings.realms[0].event_history = vec![HistoryRule::new("log.", Prefix)];
    };
    everywhere_with(change, |mut wire| {
        let (client, _, authid) = wire.join_named();
        let subscription = wire.ask(client, &format!(r#"[32,1,{{}},"log.{authid}"]"#))[2].clone();
        let (reader, _) = wire.join();
        let ask = format!(r#"[48,REQUEST,{{}},"wamp.subscription.get_events",[{subscription}]]"#);
        assert_eq!(wire.ask(client, &ask.replace("REQUEST", "2"))[0], 50);
        assert_eq!(error(&mut wire, reader, &ask.replace("REQUEST", "1")), DENIED);
        wire.finish();
    });
}

#[test]
fn values_of_the_session_are_its_own_also_when_verdicts_are_kept() {
    let rules = [
        ("user.{authid}.", Prefix, ALL),
        ("session.{session}", Exact, PUBLISH),
        ("user..", Wildcard, SUBSCRIBE),
    ];
    everywhere_with(with(&rules), |mut wire| {
        let (alice, alice_session, alice_id) = wire.join_named();
        let (bob, bob_session, bob_id) = wire.join_named();
        let mut request = 0;
        for _ in 0..3 {
            for (authid, session) in [(&alice_id, alice_session), (&bob_id, bob_session)] {
                request += 2;
                for (client, own) in [(alice, *authid == alice_id), (bob, *authid == bob_id)] {
                    let topics = [format!("user.{authid}.inbox"), format!("session.{session}")];
                    for (place, topic) in topics.iter().enumerate() {
                        let request = request - 1 + place as u64;
                        let text = format!(r#"[16,{request},{{"acknowledge":true}},"{topic}"]"#);
                        let answer = wire.ask(client, &text);
                        assert_eq!(answer[0], if own { 17 } else { 8 }, "{text} {answer}");
                    }
                }
            }
        }
        wire.finish();
    });
}

#[test]
fn a_rule_discloses_who_publishes_and_calls_unless_the_realm_names_nobody() {
    for disclosure in [Disclosure::AsAsked, Disclosure::Never] {
        let change = |settings: &mut Settings| {
            let mut told = rule(&("told.", Prefix, ALL));
            (told.disclose_caller, told.disclose_publisher) = (true, true);
            let realm = &mut settings.realms[0];
            let role = role(vec![told, rule(&("com.", Prefix, ALL))]);
            (realm.authentication, realm.disclosure) =
                (Arc::new(authentication::Settings::anonymous(role)), disclosure);
        };
        everywhere_with(change, |mut wire| {
            let (sender, session) = wire.join();
            let (receiver, _) = wire.join();
            for (place, area) in ["told", "com"].into_iter().enumerate() {
                let request = place as u64 * 2 + 1;
                wire.ask(receiver, &format!(r#"[32,{request},{{}},"{area}.topic"]"#));
                wire.ask(receiver, &format!(r#"[64,{},{{}},"{area}.procedure"]"#, request + 1));
                let named = area == "told" && disclosure == Disclosure::AsAsked;
                let expected = if named { json!(session) } else { Value::Null };
                wire.send(sender, &format!(r#"[16,{request},{{}},"{area}.topic"]"#));
                assert_eq!(wire.receive_one(receiver)[3]["publisher"], expected);
                wire.send(sender, &format!(r#"[48,{},{{}},"{area}.procedure"]"#, request + 1));
                assert_eq!(wire.receive_one(receiver)[3]["caller"], expected);
            }
            wire.finish();
        });
    }
}

#[test]
fn a_role_whose_authorizer_cannot_be_asked_may_do_nothing() {
    let change = |settings: &mut Settings| {
        let authorizer = Authorizer {
            procedure: "com.authorize".to_owned(),
            realm: None,
            cache: VerdictCache::Session,
            cache_ms: 0,
            timeout_ms: 1,
        };
        let permissions = Permissions::Authorizer(Arc::new(authorizer));
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(Arc::new(Role {
            permissions,
            ..Role::open("guest")
        })));
    };
    everywhere_with(change, |mut wire| {
        let (client, _) = wire.join();
        for (request, code) in [(1, 48), (2, 64), (3, 32)] {
            let error = error(&mut wire, client, &format!(r#"[{code},{request},{{}},"com.a"]"#));
            assert_eq!(error, "wamp.error.authorization_failed");
        }
        wire.send(client, r#"[16,4,{},"com.a"]"#);
        let told = counters(&wire);
        assert_eq!((told.authorizations_failed, told.denied), (4, [1, 1, 1, 1]));
        wire.finish();
    });
}

#[test]
fn further_parts_of_a_call_ask_nothing_and_what_was_denied_has_none() {
    let change = with(&[("com.open", Exact, ALL), ("com.shut", Exact, REGISTER)]);
    everywhere_with(change, |mut wire| {
        let feature = r#"{"features":{"progressive_call_invocations":true,"call_canceling":true}}"#;
        let roles = format!(r#"{{"caller":{feature},"callee":{feature}}}"#);
        let (caller, _) = wire.join_with(KINDS[0], &roles);
        let (callee, _) = wire.join_with(KINDS[1], &roles);
        wire.ask(callee, r#"[64,1,{},"com.open"]"#);
        wire.ask(callee, r#"[64,2,{},"com.shut"]"#);
        wire.send(caller, r#"[48,1,{"progress":true},"com.open",[1]]"#);
        wire.send(caller, r#"[48,1,{"progress":false},"com.open",[2]]"#);
        assert_eq!(wire.receive(callee).len(), 2);
        assert_eq!(error(&mut wire, caller, r#"[48,2,{"progress":true},"com.shut",[1]]"#), DENIED);
        wire.send(caller, r#"[48,2,{"progress":true},"com.shut",[2]]"#);
        assert!(wire.receive(callee).is_empty() && wire.receive(caller).is_empty());
        wire.finish();
    });
}

#[test]
fn what_is_denied_is_told_once_for_each_session_and_uri() {
    let mut wire = Wire::with(1, KINDS[0], with(&[("com.", Prefix, CALL)]));
    let (client, session) = wire.join();
    for request in 1..=5 {
        wire.send(client, &format!(r#"[16,{request},{{}},"com.a"]"#));
    }
    let told = wire.shards[0].denials();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].session.0, &*told[0].uri, told[0].action), (session, "com.a", Action::Publish));
    for request in 6..1_000 {
        wire.send(client, &format!(r#"[16,{request},{{}},"com.{request}"]"#));
    }
    assert!(wire.shards[0].denials().len() <= 16, "a flood is only counted");
    assert_eq!(wire.shards[0].counters().denied[2], 999);
    wire.finish();
}

/// A request of the table's action, and whether its answer says that it was allowed.
fn request(action: Action, policy: MatchPolicy, uri: &str, request: u64) -> String {
    let (code, options) = match action {
        Action::Call => (48, "{}".to_owned()),
        Action::Register => (64, format!(r#"{{"match":"{}"}}"#, policy.name())),
        Action::Publish => (16, r#"{"acknowledge":true}"#.to_owned()),
        Action::Subscribe => (32, format!(r#"{{"match":"{}"}}"#, policy.name())),
    };
    format!(r#"[{code},{request},{options},"{uri}"]"#)
}

const QUESTIONS: &str = include_str!("../permissions.txt");

/// Who asks, as the table says it: authid, role, session, realm.
type Who = [&'static str; 4];

/// A text of the table in which this session stands where the table's does.
fn of_session(text: &str, who: &Who, (session, authid): (u64, &str)) -> String {
    let session = session.to_string();
    let component = |component: &str| match component {
        "<>" => String::new(),
        alice if alice == who[0] => authid.to_owned(),
        number if number == who[2] => session.clone(),
        other => other.to_owned(),
    };
    text.split('.').map(component).collect::<Vec<_>>().join(".")
}

/// Asks a router of its own, with the rules of the list; complains if the answer is another one than the table's.
fn ask(rules: &[Rule], who: &Who, words: &[&str], shards: usize) -> Option<String> {
    let &[answer, action, policy, uri, _] = words else { panic!("five words: {words:?}") };
    let (action, policy) = (Action::from_name(action).unwrap(), MatchPolicy::from_name(policy).unwrap());
    if policy != Exact && matches!(action, Action::Call | Action::Publish) {
        return None;
    }
    let mut wire = Wire::with(shards, KINDS[0], |settings| {
        settings.realms[0].name = who[3].to_owned();
        let role = Role { name: who[1].to_owned(), ..Role::clone(&role(rules.to_vec())) };
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(Arc::new(role)));
    });
    let client = wire.connect();
    let hello = format!(r#"[1,"{}",{{"roles":{{"publisher":{{}},"caller":{{}}}}}}]"#, who[3]);
    let welcome = wire.ask(client, &hello);
    let session = (welcome[1].as_u64().unwrap(), welcome[2]["authid"].as_str().unwrap());
    let request = request(action, policy, &of_session(uri, who, session), 1);
    let said = wire.ask(client, &request);
    let error = if said[0] == 8 { said[4].as_str().unwrap() } else { "" };
    // What nobody may do below `wamp.`, and URIs that are none, are refused as invalid.
    let allowed = ![DENIED, "wamp.error.invalid_uri"].contains(&error);
    wire.finish();
    (allowed != (answer == "yes")).then(|| format!("{}: {said}", words.join(" ")))
}

#[test]
fn the_router_answers_every_permission_question_as_documented() {
    let mut who: Who = ["alice", "frontend", "42", "realm1"];
    let mut list = Vec::new();
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for line in QUESTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match &*words {
            ["rules:", ..] => list.clear(),
            ["as", authid, role, session, realm] => who = [authid, role, session, realm],
            // The names of sessions without authentication are drawn, and are never so odd.
            ["yes" | "no", ..] if !["alice", "al"].contains(&who[0]) => {}
            ["yes" | "no", ..] => {
                asked += 1;
                wrong.extend(ask(&list, &who, &words, [1, 2, 4][asked % 3]));
            }
            [policy, uri, actions @ ..] => {
                let known = |name: &&str| Action::from_name(name);
                let allow: Actions = actions.iter().filter_map(known).collect();
                let uri = if *uri == "<>" { "" } else { uri };
                list.push(Rule::new(uri, MatchPolicy::from_name(policy).unwrap(), allow));
            }
            [_] | [] => panic!("{line}"),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(asked >= 200, "{asked} questions");
}

#[test]
fn what_needs_a_role_that_administers_is_known_to_the_rules_as_that() {
    let source = include_str!("../../src/router/meta/procedures.rs");
    let named = source.lines().filter_map(|line| line.trim().strip_prefix("\"wamp.")?.split_once("\" => "));
    let procedures: Vec<_> = named.map(|(name, _)| format!("wamp.{name}")).collect();
    assert!(procedures.len() > 20, "{procedures:?}");
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        let role = Arc::new(Role::anonymous());
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role));
    });
    let (client, _) = wire.join();
    for (index, procedure) in procedures.iter().enumerate() {
        let answer = wire.ask(client, &format!("[48,{},{{}},\"{procedure}\"]", index + 1));
        let refused = answer[4] == "wamp.error.not_authorized";
        assert_eq!(refused, changes_others(procedure), "{procedure}: {answer}");
        assert!(is_procedure(procedure), "{procedure}");
    }
    wire.finish();
}

#[test]
fn what_is_refused_drives_nothing_out_of_memory() {
    let few = |settings: &mut Settings| {
        settings.limits.match_cache_entries_max = 4;
        let all = rule(&("com.", Prefix, ALL));
        let permissions = Permissions::Rules(Arc::new(Rules::new(vec![all]).unwrap()));
        let role = Arc::new(Role { permissions, ..Role::anonymous() });
        settings.realms[0].authentication = Arc::new(authentication::Settings::anonymous(role));
    };
    let mut wire = Wire::with(1, KINDS[0], few);
    let (client, _) = wire.join();
    let publish = |request: u64, topic: &str| format!(r#"[16,{request},{{"acknowledge":true}},"{topic}"]"#);
    let call = |request: u64, procedure: &str| format!(r#"[48,{request},{{}},"{procedure}"]"#);
    assert_eq!(wire.ask(client, &publish(1, "com.a"))[0], 17);
    assert_eq!(wire.ask(client, &call(2, "com.a"))[4], "wamp.error.no_such_procedure");
    let lookups = wire.shards[0].counters().directory_lookups;
    for request in (3..43).step_by(2) {
        for message in
            [publish(request, &format!("org.{request}")), call(request + 1, &format!("org.{request}"))]
        {
            assert_eq!(wire.ask(client, &message)[4], "wamp.error.not_authorized");
        }
    }
    assert_eq!(wire.ask(client, &publish(43, "com.a"))[0], 17);
    assert_eq!(wire.ask(client, &call(44, "com.a"))[4], "wamp.error.no_such_procedure");
    assert_eq!(wire.shards[0].counters().directory_lookups, lookups);
    wire.finish();
}
