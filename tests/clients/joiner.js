// Joins with a JavaScript library as it is told on standard input, for the Rust tests beside it.
//
//   node joiner.js LIBRARY
//
// LIBRARY is that of `scenario.js`. What is read and printed is told in `joiner.rs`.

'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const WebSocket = require('ws');
const { report, soon } = require('./scenario.js');

// The last answer that was given to a challenge of a method.
const answers = new Map();

// What a browser does besides: it says where the page is from, and keeps cookies.
const cookies = new Map();

class BrowserSocket extends WebSocket {
  constructor(url, protocols) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    super(url, protocols, { origin: BrowserSocket.origin, headers: cookie ? { Cookie: cookie } : {} });
    this.on('upgrade', ({ headers }) => {
      for (const each of headers['set-cookie'] ?? []) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(each);
        cookies.set(name, value);
        BrowserSocket.attributes = each.split(';').slice(1).map((attribute) => attribute.trim());
      }
    });
    // The close that follows is what counts.
    this.on('error', () => {});
  }
}

// In a browser if the order names an origin.
function surround({ origin }) {
  if (origin === undefined) {
    delete globalThis.WebSocket;
    return;
  }
  BrowserSocket.origin = origin;
  globalThis.WebSocket = BrowserSocket;
}

async function credentials(library, order) {
  const answer = await library.answering(order.method, order.secret);
  return {
    authmethods: [order.method],
    authid: order.authid,
    authextra: await library.authextra(order),
    async onChallenge(method, extra) {
      if (order.answer === 'none') return new Promise(() => {});
      if (order.answer !== 'again') answers.set(method, await answer(method, extra));
      return answers.get(method);
    },
  };
}

async function act(peer, verb, uri, ...args) {
  try {
    if (verb === 'call') return { result: (await peer.call(uri, { args, kwargs: {} })).args[0] ?? null };
    if (verb === 'publish') await peer.publish(uri, { args, kwargs: {} }, { acknowledge: true });
    if (verb === 'subscribe') await peer.subscribe(uri, () => {}, args[0] ? { match: args[0] } : {});
    if (verb === 'register') await peer.register(uri, () => ({ args: [], kwargs: {} }));
    return { result: null };
  } catch (error) {
    if (error.uri === undefined) throw error;
    return { error: error.uri };
  }
}

async function obey(library, order) {
  surround(order);
  const tls = order.certificate && {
    ca: fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS),
    cert: fs.readFileSync(order.certificate),
    key: fs.readFileSync(order.key),
  };
  let peer;
  try {
    const login = await credentials(library, order);
    peer = await soon(library.connect(order.url, 'json', order.realm, login, tls), 'joining');
  } catch (error) {
    if (error.reason === undefined) throw error;
    return { refused: error.reason, message: error.text };
  }
  const did = [];
  for (const action of order.do ?? []) did.push(await soon(act(peer, ...action), action[1]));
  await soon(peer.goodbye(), 'leaving');
  const { realm, authid, authrole, authmethod, authprovider, authextra } = peer.welcome;
  const joined = { realm, authid, authrole, authmethod, authprovider, authextra };
  return { joined, did, cookies: Object.fromEntries(cookies), attributes: BrowserSocket.attributes ?? [] };
}

async function main(library) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      report(await obey(library, JSON.parse(line)));
    } catch (error) {
      report({ failed: String(error?.stack ?? JSON.stringify(error)).slice(0, 2000) });
    }
  }
}

main(require(`./library_${process.argv[2]}.js`)).then(() => process.exit(0));
