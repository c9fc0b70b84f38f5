// Drives a WAMP router with a JavaScript library, for the Rust test beside it (`node.rs`).
//
//   node scenario.js check LIBRARY URL SERIALIZER PREFIX SKIPPED..   all other checks with two sessions of one kind
//   node scenario.js cross LIBRARY URL NAME=SERIALIZER..             sessions of many kinds, told what to do on
//                                                                    standard input
//
// LIBRARY is `autobahn` or `wampy`: what is particular to it stands in `library_<name>.js`. Standard output carries one
// JSON object a line: `check` prints `{"check", "ok", "detail"}` and ends with `{"done": true}`; what `cross` reads and
// prints is told in `cross.rs`. The checks are those of `scenario.py`, under the same names.

'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const REALM = 'realm1';
// A single answer of the router may take this long, a whole run SCENARIO_MS_MAX.
const ANSWER_MS_MAX = 10_000;
const SCENARIO_MS_MAX = 100_000;
// After so many failures the session is most likely gone, and the rest would only wait in vain.
const FAILURES_MAX = 3;
const CALLS_IN_FLIGHT = 40;
const REQUEST_ROUNDS = 40;
const EVENTS_IN_ORDER = 200;
const LARGE_CHARACTERS = 300_000;

const FIXTURE = require('./payload.json');
// JavaScript's numbers stop at 2^53.
delete FIXTURE.wide;

// The fixture's form of a value as JavaScript's. In JSON, WAMP writes octets as a string of U+0000 and their base64,
// which neither library does by itself.
function revive(value, serializer) {
  if (Array.isArray(value)) return value.map((each) => revive(each, serializer));
  if (value === null || typeof value !== 'object') return value;
  if ('$bytes' in value) {
    const bytes = Buffer.from(value.$bytes, 'hex');
    return serializer === 'json' ? `\0${bytes.toString('base64')}` : bytes;
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each, serializer)]));
}

// The opposite of `revive`: what JSON can print.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'string' && value.startsWith('\0')) {
    return { $bytes: Buffer.from(value.slice(1), 'base64').toString('hex') };
  }
  // What MessagePack says in 64 bits, wampy.js hands out as these.
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('hex') };
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function expect(actual, expected) {
  assert.deepEqual(plain(actual), plain(expected));
}

// Keeps the events it is given, in order, until they are asked for.
class Inbox {
  constructor() {
    this.events = [];
    this.waiting = [];
    this.receive = (event) => {
      const waiter = this.waiting.shift();
      if (waiter) waiter(event);
      else this.events.push(event);
    };
  }

  next() {
    if (this.events.length > 0) return Promise.resolve(this.events.shift());
    return soon(new Promise((resolve) => this.waiting.push(resolve)), 'an event');
  }
}

const ACKNOWLEDGE = { acknowledge: true };

// Two sessions, `one` and `two`, and a method for every check. Methods run in the order they are written in.
class Scenario {
  constructor(one, two, payload, uri) {
    this.one = one;
    this.two = two;
    this.payload = payload;
    this.uri = uri;
  }

  async event_reaches_subscriber() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('reaches'), inbox.receive);
    await this.one.publish(this.uri('reaches'), { args: [1, 'two'], kwargs: { three: 3 } }, ACKNOWLEDGE);
    expect(await inbox.next(), { args: [1, 'two'], kwargs: { three: 3 } });
  }

  async event_without_arguments() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('bare'), inbox.receive);
    await this.one.publish(this.uri('bare'), {}, ACKNOWLEDGE);
    expect(await inbox.next(), { args: [], kwargs: {} });
  }

  async publication_acknowledged() {
    const first = await this.one.publish(this.uri('nobody'), { args: [1] }, ACKNOWLEDGE);
    const second = await this.one.publish(this.uri('nobody'), { args: [2] }, ACKNOWLEDGE);
    assert.ok(first >= 1 && second >= 1 && first !== second, `publication ids ${first} and ${second}`);
  }

  async publication_unacknowledged() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('quiet'), inbox.receive);
    assert.equal(await this.one.publish(this.uri('quiet'), { args: ['unasked'] }, {}), undefined);
    expect(await inbox.next(), { args: ['unasked'], kwargs: {} });
  }

  async publisher_excluded() {
    const own = new Inbox();
    const other = new Inbox();
    await this.one.subscribe(this.uri('excluded'), own.receive);
    await this.two.subscribe(this.uri('excluded'), other.receive);
    await this.one.publish(this.uri('excluded'), { args: ['from one'] }, ACKNOWLEDGE);
    expect(await other.next(), { args: ['from one'], kwargs: {} });
    // Sent after the first event, so its arrival shows that the first one did not come.
    await this.two.publish(this.uri('excluded'), { args: ['from two'] }, ACKNOWLEDGE);
    expect(await own.next(), { args: ['from two'], kwargs: {} });
  }

  async publisher_included_on_request() {
    const inbox = new Inbox();
    await this.one.subscribe(this.uri('included'), inbox.receive);
    await this.one.publish(this.uri('included'), { args: ['to myself'] }, { acknowledge: true, exclude_me: false });
    expect(await inbox.next(), { args: ['to myself'], kwargs: {} });
  }

  async events_in_order() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('order'), inbox.receive);
    const numbers = Array.from({ length: EVENTS_IN_ORDER }, (_, number) => number);
    const publications = numbers.map((number) => this.one.publish(this.uri('order'), { args: [number] }, {}));
    const arrived = [];
    for (const _ of numbers) arrived.push((await inbox.next()).args[0]);
    expect(arrived, numbers);
    await Promise.all(publications);
  }

  async event_payload() {
    const inbox = new Inbox();
    await this.two.subscribe(this.uri('payload'), inbox.receive);
    for (const [name, value] of Object.entries(this.payload)) {
      const payload = { args: [name, value], kwargs: { value } };
      await this.one.publish(this.uri('payload'), payload, {});
      expect(await inbox.next(), payload);
    }
  }

  async call_payload() {
    await this.two.register(this.uri('echo'), (payload) => payload);
    for (const [name, value] of Object.entries(this.payload)) {
      const payload = { args: [name, value], kwargs: { value } };
      expect(await soon(this.one.call(this.uri('echo'), payload), name), payload);
    }
  }

  async large_payload() {
    const payload = { args: ['x'.repeat(LARGE_CHARACTERS)], kwargs: { size: LARGE_CHARACTERS } };
    expect(await this.one.call(this.uri('echo'), payload), payload);
  }

  async call_without_arguments() {
    await this.two.register(this.uri('without'), () => ({ args: ['bare'], kwargs: {} }));
    expect(await this.one.call(this.uri('without'), {}), { args: ['bare'], kwargs: {} });
  }

  async call_of_own_procedure() {
    await this.one.register(this.uri('add'), ({ args }) => ({ args: [args[0] + args[1]], kwargs: {} }));
    expect(await this.one.call(this.uri('add'), { args: [2, 3] }), { args: [5], kwargs: {} });
  }

  async error_of_callee() {
    const refusal = { uri: 'com.example.error.refused', args: ['no', 7], kwargs: { why: 'because' } };
    await this.two.register(this.uri('refuse'), () => { throw refusal; });
    await assert.rejects(this.one.call(this.uri('refuse'), {}), refusal);
  }

  async unknown_procedure() {
    await assert.rejects(this.one.call(this.uri('unknown'), {}), { uri: 'wamp.error.no_such_procedure' });
  }

  async registered_twice() {
    await this.two.register(this.uri('taken'), () => ({}));
    const refusal = { uri: 'wamp.error.procedure_already_exists' };
    await assert.rejects(this.one.register(this.uri('taken'), () => ({})), refusal);
  }

  async unsubscribed() {
    const dropped = new Inbox();
    const kept = new Inbox();
    const unsubscribe = await this.two.subscribe(this.uri('dropped'), dropped.receive);
    await this.two.subscribe(this.uri('kept'), kept.receive);
    await unsubscribe();
    for (const topic of ['dropped', 'kept']) await this.one.publish(this.uri(topic), { args: [topic] }, ACKNOWLEDGE);
    expect(await kept.next(), { args: ['kept'], kwargs: {} });
    expect(dropped.events, []);
  }

  async unregistered() {
    const unregister = await this.two.register(this.uri('gone'), () => ({ args: ['here'], kwargs: {} }));
    expect(await this.one.call(this.uri('gone'), {}), { args: ['here'], kwargs: {} });
    await unregister();
    await assert.rejects(this.one.call(this.uri('gone'), {}), { uri: 'wamp.error.no_such_procedure' });
  }

  // The callee answers none until all have come, and the last one first.
  async calls_in_flight() {
    const waiting = [];
    await this.two.register(this.uri('collect'), ({ args }) => new Promise((resolve) => {
      waiting.push(() => resolve({ args, kwargs: {} }));
      if (waiting.length === CALLS_IN_FLIGHT) waiting.reverse().forEach((answer) => answer());
    }));
    const numbers = Array.from({ length: CALLS_IN_FLIGHT }, (_, number) => number);
    const results = await Promise.all(numbers.map((number) => this.one.call(this.uri('collect'), { args: [number] })));
    expect(results.map(({ args }) => args[0]), numbers);
  }

  // Every kind of request, granted and refused: the ids must go on counting.
  async requests_in_a_row() {
    for (let number = 0; number < REQUEST_ROUNDS; number += 1) {
      const unsubscribe = await this.one.subscribe(this.uri('row'), () => {});
      const unregister = await this.one.register(this.uri('row'), ({ args }) => ({ args, kwargs: {} }));
      const unacknowledged = this.one.publish(this.uri('row'), { args: [number] }, {});
      await this.one.publish(this.uri('row'), { args: [number] }, ACKNOWLEDGE);
      await unacknowledged;
      expect(await this.one.call(this.uri('row'), { args: [number] }), { args: [number], kwargs: {} });
      await assert.rejects(this.one.call(this.uri('unknown'), {}), { uri: 'wamp.error.no_such_procedure' });
      await unregister();
      await unsubscribe();
    }
  }

  async goodbye() {
    for (const peer of [this.one, this.two]) {
      const reason = await peer.goodbye();
      if (reason !== undefined) assert.equal(reason, 'wamp.close.goodbye_and_out');
    }
  }
}

async function check(library, url, serializer, prefix, ...skipped) {
  const one = await soon(library.connect(url, serializer, REALM), 'joining');
  const two = await soon(library.connect(url, serializer, REALM), 'joining');
  report({ check: 'joined', ok: true });
  const scenario = new Scenario(one, two, revive(FIXTURE, serializer), (name) => `${prefix}.${name}`);
  let failures = 0;
  const checks = Object.getOwnPropertyNames(Scenario.prototype).filter((name) => name !== 'constructor');
  for (const name of checks.filter((each) => !skipped.includes(each))) {
    if (failures === FAILURES_MAX) break;
    try {
      await soon(scenario[name](), name);
      report({ check: name, ok: true });
    } catch (error) {
      failures += 1;
      report({ check: name, ok: false, detail: String(error?.stack ?? JSON.stringify(error)).slice(0, 2000) });
    }
  }
  report({ done: true });
}

// The sessions of this process among those of others.
class Crossing {
  constructor(library) {
    this.library = library;
    this.peers = new Map();
  }

  async join(url, name, serializer) {
    const peer = await soon(this.library.connect(url, serializer, REALM), 'joining');
    this.peers.set(name, { peer, serializer });
    await peer.subscribe('com.example.cross.event', ({ args, kwargs }) => {
      report({ event: args[0], at: name, kwargs: plain(kwargs) });
    });
    await peer.register(`com.example.cross.echo.${name}`, (payload) => payload);
    await peer.register(`com.example.cross.refuse.${name}`, (payload) => {
      throw { uri: 'com.example.error.refused', ...payload };
    });
  }

  async publish(name, kwargs) {
    const { peer, serializer } = this.peers.get(name);
    const payload = { args: [name], kwargs: revive(kwargs, serializer) };
    await soon(peer.publish('com.example.cross.event', payload, ACKNOWLEDGE), 'publishing');
  }

  async call(name, callee, kwargs) {
    const { peer, serializer } = this.peers.get(name);
    const payload = { args: [name], kwargs: revive(kwargs, serializer) };
    const result = await soon(peer.call(`com.example.cross.echo.${callee}`, payload), 'a call');
    report({ result: result.args, at: name, callee, kwargs: plain(result.kwargs) });
    try {
      await soon(peer.call(`com.example.cross.refuse.${callee}`, payload), 'a call');
      assert.fail('the call was not refused');
    } catch (error) {
      if (error.uri === undefined) throw error;
      report({ error: error.uri, at: name, callee, args: plain(error.args), kwargs: plain(error.kwargs) });
    }
  }

  async obey(command) {
    if (command.do === 'publish') await this.publish(command.at, command.kwargs);
    if (command.do === 'call') await this.call(command.at, command.callee, command.kwargs);
    if (command.do === 'leave') {
      for (const [name, { peer }] of this.peers) report({ left: (await peer.goodbye()) ?? null, at: name });
    }
  }
}

async function cross(library, url, ...names) {
  const crossing = new Crossing(library);
  for (const [name, serializer] of names.map((each) => each.split('='))) await crossing.join(url, name, serializer);
  report({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) await crossing.obey(JSON.parse(line));
}

// autobahn-js tells its log of every closed connection on standard output.
console.log = console.warn = console.debug = console.error;

// Runs to the end of the work, or SCENARIO_MS_MAX.
function run(work) {
  setTimeout(() => { throw new Error(`not done after ${SCENARIO_MS_MAX} ms`); }, SCENARIO_MS_MAX).unref();
  work.then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { ACKNOWLEDGE, Inbox, REALM, expect, report, run, soon };

if (require.main === module) {
  const [mode, library, ...rest] = process.argv.slice(2);
  run({ check, cross }[mode](require(`./library_${library}.js`), ...rest));
}
