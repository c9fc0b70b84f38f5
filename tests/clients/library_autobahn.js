// autobahn-js behind the few verbs of `scenario.js`.
//
// A URL of http:// is that of the long-poll transport, which has one serializer.
//
// A peer publishes, calls and answers with `{args, kwargs}`; a failed request rejects with `{uri, args, kwargs}`.

'use strict';

require('./browser.js');
const autobahn = require('autobahn');
const serializers = require('autobahn/lib/serializer.js');
const nacl = require('tweetnacl');

const SERIALIZERS = {
  json: serializers.JSONSerializer,
  msgpack: serializers.MsgpackSerializer,
  cbor: serializers.CBORSerializer,
};

// With `credentials` that `joiner.js` describes, and a TLS identity of its own; without them as nobody in particular.
exports.connect = (url, serializer, realm, credentials = {}, tls = undefined) => new Promise((resolve, reject) => {
  let closed;
  const { onChallenge, ...login } = credentials;
  const connection = new autobahn.Connection({
    transports: [{ ...transport(url, serializer), tlsConfiguration: tls }],
    realm,
    ...login,
    onchallenge: onChallenge && ((session, method, extra) => onChallenge(method, extra)),
    max_retries: 0,
    // Errors that a callee raises on purpose are no news.
    on_user_error: () => {},
  });
  connection.onopen = (session, welcome) => {
    resolve(new Peer(connection, session, new Promise((done) => { closed = done; }), welcome));
  };
  connection.onclose = (reason, details) => {
    const error = new Error(`not joined: ${reason} ${details.reason} ${details.message}`);
    reject(Object.assign(error, { reason: details.reason ?? reason, text: details.message }));
    closed?.({ reason, details });
    return true;
  };
  connection.open();
});

// What answers the challenges of a method.
exports.answering = async (method, secret) => {
  if (method === 'cryptosign') {
    const pair = keyPair(secret);
    return (_, extra) => autobahn.auth_cryptosign.sign_challenge(pair, extra);
  }
  if (method !== 'wampcra') return () => secret;
  const { sign, derive_key } = autobahn.auth_cra;
  return (_, { challenge, salt, iterations, keylen }) => {
    const key = salt === undefined ? secret : derive_key(secret, salt, iterations, keylen);
    return sign(key, challenge);
  };
};

// What HELLO says for a method besides.
exports.authextra = ({ method, secret, authextra }) => {
  if (method !== 'cryptosign') return authextra;
  return { pubkey: autobahn.auth_cryptosign.public_key(keyPair(secret)), channel_binding: null, ...authextra };
};

function keyPair(seed) {
  return nacl.sign.keyPair.fromSeed(Uint8Array.from(Buffer.from(seed, 'hex')));
}

function transport(url, serializer) {
  if (url.startsWith('http:')) return { type: 'longpoll', url };
  return { type: 'websocket', url, serializers: [new SERIALIZERS[serializer]()] };
}

class Peer {
  constructor(connection, session, closed, welcome) {
    this.connection = connection;
    this.session = session;
    this.closed = closed;
    this.welcome = welcome;
  }

  async publish(topic, { args, kwargs }, options) {
    const publication = await refusing(this.session.publish(topic, args, kwargs, options));
    return publication?.id;
  }

  async subscribe(topic, onEvent, options) {
    const received = (args, kwargs, details) => onEvent({ args, kwargs }, details);
    const subscription = await refusing(this.session.subscribe(topic, received, options));
    return () => refusing(this.session.unsubscribe(subscription));
  }

  async register(procedure, answer, options) {
    const registration = await refusing(this.session.register(procedure, async (args, kwargs, details) => {
      try {
        const result = await answer({ args, kwargs }, details);
        return new autobahn.Result(result.args, result.kwargs);
      } catch (error) {
        throw new autobahn.Error(error.uri, error.args, error.kwargs);
      }
    }, options));
    return () => refusing(this.session.unregister(registration));
  }

  // The library hands a single positional result out bare, and none as null.
  async call(procedure, payload, options) {
    return this.begin(procedure, payload, options).result;
  }

  // A call that can be canceled: `{result, cancel}`. With `onPart` its result may come in parts.
  begin(procedure, { args, kwargs }, options, onPart) {
    const asked = onPart ? { ...options, receive_progress: true } : options;
    const call = this.session.call(procedure, args, kwargs, asked);
    if (onPart) call.then(undefined, () => {}, (part) => onPart(payloadOf(part)));
    return { result: refusing(call).then(payloadOf), cancel: (mode) => call.cancel({ mode }) };
  }

  // The connection ends without a GOODBYE.
  lose() {
    this.session._socket.close(1000);
  }

  // Resolves with the reason of the router's GOODBYE once the transport is closed.
  async goodbye() {
    this.connection.close();
    const { reason, details } = await this.closed;
    if (reason !== 'closed') throw new Error(`the transport ended as ${reason}`);
    return details.reason;
  }
}

function payloadOf(result) {
  if (result instanceof autobahn.Result) return { args: result.args, kwargs: result.kwargs };
  return { args: result === null ? [] : [result], kwargs: {} };
}

async function refusing(request) {
  try {
    return await request;
  } catch (error) {
    throw { uri: error.error, args: error.args, kwargs: error.kwargs, cause: error };
  }
}
