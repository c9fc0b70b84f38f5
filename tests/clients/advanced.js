// Drives the features of the Advanced Profile with a JavaScript library, for the Rust test beside it (`advanced.rs`).
//
//   node advanced.js LIBRARY URL SERIALIZER PREFIX FEATURE UNABLE..   the checks of one feature but those
//
// Output and names are those of `advanced.py`. Both libraries announce no call canceling as callees, and a Dealer takes
// such a callee for one without progressive results: those come from the partner that `advanced.py` is for `with_python`,
// as do retained events, since wampy.js does not send the option `retain`.

'use strict';

const assert = require('node:assert/strict');
const { ACKNOWLEDGE, Inbox, REALM, expect, report, run, soon } = require('./scenario.js');

const SHARED_CALLS = 6;
const PARTS = 5;

const of = (...args) => ({ args, kwargs: {} });

class Feature {
  constructor(one, two, another, uri) {
    Object.assign(this, { one, two, another, uri });
  }

  async answer(peer, procedure, ...args) {
    const result = await soon(peer.call(procedure, { args, kwargs: {} }), procedure);
    return result.args[0];
  }
}

class Canceling extends Feature {
  async the_caller_is_told() {
    let started;
    const starting = new Promise((resolve) => { started = resolve; });
    await this.two.register(this.uri('linger'), () => {
      started();
      return new Promise(() => {});
    });
    const { result, cancel } = this.one.begin(this.uri('linger'), of());
    await soon(starting, 'an invocation');
    cancel('kill');
    await assert.rejects(soon(result, 'an error'), { uri: 'wamp.error.canceled' });
  }

  async both_go_on() {
    await this.two.register(this.uri('after'), () => of('here'));
    expect(await this.answer(this.one, this.uri('after')), 'here');
  }
}

class CallTimeouts extends Feature {
  async a_call_of_nobody_times_out() {
    await this.two.register(this.uri('never'), () => new Promise(() => {}));
    const call = soon(this.one.call(this.uri('never'), of(), { timeout: 200 }), 'a timeout');
    await assert.rejects(call, { uri: 'wamp.error.timeout' });
  }
}

class PatternRegistrations extends Feature {
  async the_callee_learns_the_procedure() {
    const named = (payload, details) => of(details.procedure);
    for (const [match, pattern] of [['prefix', 'tree'], ['wildcard', 'field..leaf']]) {
      await this.two.register(this.uri(pattern), named, { match });
    }
    for (const procedure of ['tree.a.b', 'tree.c', 'field.x.leaf']) {
      expect(await this.answer(this.one, this.uri(procedure)), this.uri(procedure));
    }
    const refusal = { uri: 'wamp.error.no_such_procedure' };
    await assert.rejects(this.answer(this.one, this.uri('field.x.twig')), refusal);
  }

  async exact_before_prefix_before_wildcard() {
    const patterns = [['exact', 'rank.b.c'], ['prefix', 'rank.b'], ['wildcard', 'rank..c']];
    for (const [match, pattern] of patterns) await this.two.register(this.uri(pattern), () => of(match), { match });
    for (const [procedure, match] of [['rank.b.c', 'exact'], ['rank.b.d', 'prefix'], ['rank.x.c', 'wildcard']]) {
      expect(await this.answer(this.one, this.uri(procedure)), match);
    }
  }
}

// Who answers one call after another, if both have registered, `one` first.
async function shared(feature, name, invoke) {
  for (const who of ['one', 'two']) await feature[who].register(feature.uri(name), () => of(who), { invoke });
  const answers = [];
  for (let call = 0; call < SHARED_CALLS; call += 1) answers.push(await feature.answer(feature.two, feature.uri(name)));
  return answers;
}

class SharedRegistrations extends Feature {
  async first() {
    expect(await shared(this, 'first', 'first'), Array(SHARED_CALLS).fill('one'));
  }

  async last() {
    expect(await shared(this, 'last', 'last'), Array(SHARED_CALLS).fill('two'));
  }

  async round_robin() {
    const answers = await shared(this, 'roundrobin', 'roundrobin');
    expect(answers.filter((who) => who === 'one').length, SHARED_CALLS / 2);
    assert.notEqual(answers[0], answers[1]);
  }

  async random() {
    const answers = await shared(this, 'random', 'random');
    assert.ok(answers.every((who) => ['one', 'two'].includes(who)), `${answers}`);
  }

  async policies_do_not_mix() {
    await this.one.register(this.uri('mixed'), () => of(1), { invoke: 'first' });
    const second = this.two.register(this.uri('mixed'), () => of(2), { invoke: 'last' });
    await assert.rejects(second, { uri: 'wamp.error.procedure_already_exists' });
  }

  async one_goes_and_the_other_answers() {
    const third = await this.another();
    await third.register(this.uri('left'), () => of('third'), { invoke: 'first' });
    await this.two.register(this.uri('left'), () => of('two'), { invoke: 'first' });
    expect(await this.answer(this.one, this.uri('left')), 'third');
    await third.goodbye();
    expect(await this.answer(this.one, this.uri('left')), 'two');
  }
}

class RetainedEvents extends Feature {
  async the_last_retained_event_comes_first() {
    for (const number of [1, 2]) {
      await this.one.publish(this.uri('kept'), of(number), { ...ACKNOWLEDGE, retain: true });
    }
    await this.one.publish(this.uri('kept'), of(3), ACKNOWLEDGE);
    const inbox = new Inbox();
    const receive = ({ args }, details) => inbox.receive([args[0], Boolean(details.retained)]);
    await this.two.subscribe(this.uri('kept'), receive, { get_retained: true });
    expect(await inbox.next(), [2, true]);
    await this.one.publish(this.uri('kept'), of(4), ACKNOWLEDGE);
    expect(await inbox.next(), [4, false]);
  }

  async only_who_asks_gets_it() {
    await this.one.publish(this.uri('unasked'), of(1), { ...ACKNOWLEDGE, retain: true });
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('unasked'), inbox.receive);
    await this.one.publish(this.uri('unasked'), of(2), ACKNOWLEDGE);
    expect(await inbox.next(), of(2));
  }
}

class Testaments extends Feature {
  async published_when_the_connection_is_lost() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('lost'), inbox.receive);
    const third = await this.another();
    for (const number of [1, 2]) {
      await third.call('wamp.session.add_testament', of(this.uri('lost'), [number], { of: 'third' }));
    }
    third.lose();
    for (const number of [1, 2]) expect(await inbox.next(), { args: [number], kwargs: { of: 'third' } });
  }

  async scopes_are_flushed_apart() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('scopes'), inbox.receive);
    const third = await this.another();
    for (const scope of ['destroyed', 'detached']) {
      const args = [this.uri('scopes'), [scope], {}];
      await third.call('wamp.session.add_testament', { args, kwargs: { scope } });
    }
    await third.call('wamp.session.flush_testaments', { args: [], kwargs: { scope: 'detached' } });
    third.lose();
    expect(await inbox.next(), of('destroyed'));
  }
}

class MetaApi extends Feature {
  async sessions_are_listed_and_described() {
    const ids = await this.answer(this.one, 'wamp.session.list');
    expect(await this.answer(this.one, 'wamp.session.count'), ids.length);
    const described = await this.answer(this.two, 'wamp.session.get', ids[0]);
    expect(described.session, ids[0]);
    await assert.rejects(this.answer(this.one, 'wamp.session.get', 1), { uri: 'wamp.error.no_such_session' });
  }

  async joining_and_leaving_are_events() {
    const [joins, leaves] = [new Inbox(), new Inbox()];
    await this.one.subscribe('wamp.session.on_join', joins.receive);
    await this.one.subscribe('wamp.session.on_leave', leaves.receive);
    const third = await this.another();
    const joined = (await joins.next()).args[0].session;
    await third.goodbye();
    expect((await leaves.next()).args[0], joined);
  }

  async subscriptions_are_found() {
    await this.two.subscribe(this.uri('found'), () => {});
    const found = await this.answer(this.one, 'wamp.subscription.lookup', this.uri('found'));
    expect(await this.answer(this.one, 'wamp.subscription.count_subscribers', found), 1);
    expect((await this.answer(this.one, 'wamp.subscription.list_subscribers', found)).length, 1);
    const { uri, match } = await this.answer(this.one, 'wamp.subscription.get', found);
    expect([uri, match], [this.uri('found'), 'exact']);
  }

  async registrations_are_found() {
    await this.two.register(this.uri('found'), () => of());
    const found = await this.answer(this.one, 'wamp.registration.lookup', this.uri('found'));
    expect(await this.answer(this.one, 'wamp.registration.match', this.uri('found')), found);
    expect((await this.answer(this.one, 'wamp.registration.list_callees', found)).length, 1);
  }
}

class WithPython extends Feature {
  async parts_come_before_the_result() {
    const parts = [];
    const { result } = this.one.begin(this.uri('count'), of(PARTS), {}, (part) => parts.push(part));
    expect(await soon(result, 'a result'), of('all'));
    expect(parts, Array.from({ length: PARTS }, (_, part) => ({ args: [part], kwargs: { last: false } })));
  }

  async parts_only_where_they_are_asked_for() {
    expect(await this.answer(this.one, this.uri('unasked')), true);
  }

  async an_error_ends_the_parts() {
    const parts = [];
    const { result } = this.one.begin(this.uri('fail'), of(), {}, (part) => parts.push(part));
    await assert.rejects(soon(result, 'an error'), { uri: 'com.example.error.refused', args: ['midway'] });
    expect(parts, [of('first')]);
  }

  async the_last_retained_event_comes_first() {
    const topic = this.uri('kept');
    for (const number of [1, 2]) await this.one.call(this.uri('publish'), of(topic, number, true));
    await this.one.call(this.uri('publish'), of(topic, 3, false));
    const inbox = new Inbox();
    const receive = ({ args }, details) => inbox.receive([args[0], Boolean(details.retained)]);
    await this.two.subscribe(topic, receive, { get_retained: true });
    expect(await inbox.next(), [2, true]);
    await this.one.call(this.uri('publish'), of(topic, 4, false));
    expect(await inbox.next(), [4, false]);
  }
}

const FEATURES = {
  with_python: WithPython,
  canceling: Canceling,
  call_timeouts: CallTimeouts,
  pattern_registrations: PatternRegistrations,
  shared_registrations: SharedRegistrations,
  retained_events: RetainedEvents,
  testaments: Testaments,
  meta_api: MetaApi,
};

async function check(name, url, serializer, prefix, feature, ...unable) {
  const library = require(`./library_${name}.js`);
  const another = () => soon(library.connect(url, serializer, REALM), 'joining');
  const [one, two] = [await another(), await another()];
  report({ check: 'joined', ok: true });
  const scenario = new FEATURES[feature](one, two, another, (uri) => `${prefix}.${uri}`);
  const checks = Object.getOwnPropertyNames(FEATURES[feature].prototype).filter((each) => each !== 'constructor');
  for (const each of checks.filter((which) => !unable.includes(which))) {
    try {
      await soon(scenario[each](), each);
      report({ check: each, ok: true });
    } catch (error) {
      report({ check: each, ok: false, detail: String(error?.stack ?? JSON.stringify(error)).slice(0, 2000) });
    }
  }
  report({ done: true });
}

run(check(...process.argv.slice(2)));
