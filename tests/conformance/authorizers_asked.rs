//! What authorizers are asked and when: about questions that follow from a message, and when settings have changed.

use fanwire::router::{HistoryRule, VerdictCache};
use fanwire::wamp::MatchPolicy;
use serde_json::json;

use crate::authorizers::{asked, denied, error, everywhere, join_authorizer, say};
use crate::wire::everywhere_with;

#[test]
fn the_history_of_a_pattern_is_asked_about_as_the_pattern() {
    let history = |settings: &mut fanwire::router::Settings| {
        asked(VerdictCache::Session)(settings);
        settings.realms[0].event_history = vec![HistoryRule::new("com.user", MatchPolicy::Prefix)];
    };
    everywhere_with(history, |mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (owner, _) = wire.join();
        let (client, _) = wire.join();
        wire.send(owner, r#"[32,1,{"match":"prefix"},"com.user"]"#);
        say(&mut wire, authorizer, "true");
        let subscription = wire.receive_one(owner)[2].clone();
        wire.send(client, r#"[32,1,{"match":"prefix"},"com.user"]"#);
        say(&mut wire, authorizer, "false");
        assert_eq!(error(&mut wire, client), denied(32, 1));
        // What the caller writes into its CALL is about the CALL.
        let call = r#"[48,2,{"match":"exact"},"wamp.subscription.get_events""#;
        wire.send(client, &format!("{call},[{subscription}]]"));
        let about_call = say(&mut wire, authorizer, "true");
        assert_eq!(about_call, json!(["wamp.subscription.get_events", "call", {"match": "exact"}]));
        let about_pattern = say(&mut wire, authorizer, "false");
        assert_eq!(about_pattern, json!(["com.user", "subscribe", {"match": "prefix"}]));
        assert_eq!(error(&mut wire, client), denied(48, 2));
        wire.finish();
    });
}

#[test]
fn a_testament_is_asked_about_with_the_options_it_is_published_with() {
    everywhere(|mut wire| {
        let authorizer = join_authorizer(&mut wire);
        let (client, _) = wire.join();
        let keywords = r#"{"publish_options":{"retain":true},"scope":"detached"}"#;
        wire.send(client, &format!(r#"[48,1,{{}},"wamp.session.add_testament",["a",[],{{}}],{keywords}]"#));
        assert_eq!(say(&mut wire, authorizer, "true")[1], "call");
        assert_eq!(say(&mut wire, authorizer, "true"), json!(["a", "publish", {"retain": true}]));
        assert_eq!(wire.receive_one(client)[0], 50);
        wire.finish();
    });
}
