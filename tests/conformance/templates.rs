//! Realms that are made when somebody joins: when they come, how many there may be, and when they go.

use std::time::Duration;

use fanwire::router::{RealmSettings, Settings, Template};
use fanwire::wamp::MatchPolicy;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere_with, head};

/// A template for `com.example.` and what follows, beside the usual realms.
fn template(realms_max: usize, idle_ms: u64) -> impl Fn(&mut Settings) {
    move |settings| {
        let (pattern, policy) = ("com.example.".to_owned(), MatchPolicy::Prefix);
        let template = Some(Template { pattern, policy, realms_max, idle_ms });
        settings.realms.push(RealmSettings { template, ..RealmSettings::open("com.example.") });
    }
}

fn hello(wire: &mut Wire, client: Client, realm: &str) -> Value {
    wire.ask(client, &format!(r#"[1,"{realm}",{{"roles":{{"subscriber":{{}},"publisher":{{}}}}}}]"#))
}

fn refused(wire: &Wire) -> u64 {
    wire.shards.iter().map(|shard| shard.counters().realms_refused).sum()
}

#[test]
fn a_realm_is_made_when_somebody_joins_and_shared_by_who_comes_later() {
    everywhere_with(template(10, 60_000), |mut wire| {
        let clients = [(); 5].map(|()| wire.connect());
        for client in clients {
            let welcome = hello(&mut wire, client, "com.example.one");
            assert_eq!(welcome[2]["realm"], "com.example.one", "{welcome}");
        }
        assert_eq!(wire.router.realm("com.example.one").unwrap().session_count(), 5);
        for client in &clients[1..] {
            assert_eq!(wire.ask(*client, r#"[32,1,{},"com.topic"]"#)[0], 33);
        }
        let other = wire.connect();
        hello(&mut wire, other, "com.example.other");
        wire.send(other, r#"[16,1,{},"com.topic",["none of theirs"]]"#);
        wire.send(clients[0], r#"[16,1,{},"com.topic",["theirs"]]"#);
        for client in &clients[1..] {
            assert_eq!(wire.receive_one(*client)[4], json!(["theirs"]));
        }
        let stray = wire.connect();
        let abort = hello(&mut wire, stray, "org.example");
        assert_eq!(head(&abort, 1), json!([3]));
        assert_eq!(abort[2], "wamp.error.no_such_realm");
        assert_eq!(wire.router.realms().len(), 4, "two were set, two were made");
        wire.sleep(Duration::from_secs(61));
        wire.finish_after(Duration::from_secs(61));
    });
}

#[test]
fn there_are_no_more_than_there_may_be() {
    let mut wire = Wire::with(4, KINDS[0], template(2, 1_000));
    let clients = [(); 4].map(|()| wire.connect());
    hello(&mut wire, clients[0], "com.example.one");
    hello(&mut wire, clients[1], "com.example.two");
    let abort = hello(&mut wire, clients[2], "com.example.three");
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.no_such_realm")));
    assert_eq!(refused(&wire), 1);
    assert_eq!(hello(&mut wire, clients[3], "com.example.two")[0], 2, "one that is there is joined");
    wire.reset(clients[0]);
    let early = wire.connect();
    assert_eq!(hello(&mut wire, early, "com.example.three")[0], 2, "the first is idle, and makes room");
    assert!(wire.router.realm("com.example.one").is_none());
    assert_eq!(refused(&wire), 1);
    wire.finish_after(Duration::from_millis(1_001));
}

#[test]
fn who_joins_and_leaves_under_many_names_shuts_nobody_out() {
    everywhere_with(template(3, 60_000), |mut wire| {
        let stays = wire.connect();
        assert_eq!(hello(&mut wire, stays, "com.example.stays")[0], 2);
        let restless = wire.connect();
        for number in 0..20 {
            assert_eq!(hello(&mut wire, restless, &format!("com.example.{number}"))[0], 2, "{number}");
            assert_eq!(wire.ask(restless, r#"[6,{},"wamp.close.close_realm"]"#)[0], 6);
            wire.sleep(Duration::from_millis(1));
        }
        let late = wire.connect();
        assert_eq!(hello(&mut wire, late, "com.example.late")[0], 2);
        assert!(
            wire.router.realm("com.example.18").is_none() && wire.router.realm("com.example.19").is_some()
        );
        assert_eq!(wire.router.realm("com.example.stays").unwrap().session_count(), 1);
        let last = wire.connect();
        assert_eq!(hello(&mut wire, last, "com.example.last")[0], 2);
        let abort = hello(&mut wire, restless, "com.example.none");
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.no_such_realm")));
        let mut failed = Vec::new();
        wire.shards.iter_mut().for_each(|shard| shard.failed(&mut failed));
        assert_eq!(failed.len(), 1, "it is told");
        wire.finish_after(Duration::from_secs(61));
    });
}

#[test]
fn an_idle_realm_goes_with_all_it_has_kept_and_one_that_is_joined_in_time_stays() {
    everywhere_with(template(10, 1_000), |mut wire| {
        let leave = |wire: &mut Wire, client| {
            assert_eq!(wire.ask(client, r#"[6,{},"wamp.close.close_realm"]"#)[0], 6);
        };
        let retained = |wire: &mut Wire| {
            let client = wire.connect();
            hello(wire, client, "com.example.one");
            wire.send(client, r#"[32,1,{"get_retained":true},"com.topic"]"#);
            let received = wire.receive(client);
            assert_eq!(received[0][0], 33);
            leave(wire, client);
            received.len() - 1
        };
        let client = wire.connect();
        hello(&mut wire, client, "com.example.one");
        wire.send(client, r#"[16,1,{"retain":true},"com.topic",[1]]"#);
        leave(&mut wire, client);
        for _ in 0..4 {
            wire.sleep(Duration::from_millis(900));
            assert_eq!(retained(&mut wire), 1, "it was never idle for a second");
        }
        wire.sleep(Duration::from_millis(1_000));
        assert!(wire.router.realm("com.example.one").is_none());
        assert_eq!(retained(&mut wire), 0, "another realm of the same name");
        wire.finish_after(Duration::from_millis(1_001));
    });
}

#[test]
fn letters_to_a_realm_that_is_no_more_are_dropped_and_counted() {
    let mut wire = Wire::with(2, KINDS[0], template(10, 0));
    let [first, second] = [(); 2].map(|()| wire.connect());
    hello(&mut wire, first, "com.example.one");
    hello(&mut wire, second, "com.example.one");
    assert_eq!(wire.ask(second, r#"[32,1,{},"com.topic"]"#)[0], 33);
    wire.send_without_letters(first, r#"[16,1,{},"com.topic",["late"]]"#);
    let now = wire.now;
    for client in [first, second] {
        let (shard, key) = wire.place(client);
        wire.shards[shard].close(key, fanwire::error::CloseReason::Broken, now);
        wire.shards[shard].expire(now);
    }
    assert!(wire.router.realm("com.example.one").is_none());
    wire.settle();
    let late: u64 = wire.shards.iter().map(|shard| shard.counters().letters_too_late).sum();
    assert_eq!(late, 1);
    let third = wire.connect();
    hello(&mut wire, third, "com.example.one");
    assert_eq!(wire.ask(third, r#"[32,1,{},"com.topic"]"#)[0], 33);
    wire.finish_after(Duration::ZERO);
}

#[test]
fn many_realms_come_and_go_and_leave_nothing() {
    let mut wire = Wire::with(2, KINDS[0], template(3, 0));
    let clients = [(); 2].map(|()| wire.connect());
    for round in 0..1_000 {
        for (place, client) in clients.into_iter().enumerate() {
            let hello = format!(r#"[1,"com.example.r{round}.{place}",{{"roles":{{"caller":{{}}}}}}]"#);
            assert_eq!(wire.ask(client, &hello)[0], 2);
        }
        for client in clients {
            assert_eq!(wire.ask(client, r#"[6,{},"wamp.close.close_realm"]"#)[0], 6);
        }
        wire.sleep(Duration::ZERO);
    }
    assert_eq!(wire.router.realms().len(), 2, "those that were set");
    assert!(wire.router.realm_table().places() <= 5, "places are used again");
    assert!(wire.shards.iter().all(|shard| shard.realm_places() <= 5), "in every shard");
    wire.finish();
}
