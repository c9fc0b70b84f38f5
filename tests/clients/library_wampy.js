// wampy.js behind the few verbs of `scenario.js`; see `library_autobahn.js` for their contract.

'use strict';

const { pathToFileURL } = require('node:url');
const nacl = require('tweetnacl');
const { Wampy } = require('wampy');
const cryptosign = require('wampy/cryptosign.js');
const { JsonSerializer } = require('wampy/JsonSerializer.js');
const { MsgpackSerializer } = require('wampy/MsgpackSerializer.js');
const { CborSerializer } = require('wampy/CborSerializer.js');
const { w3cwebsocket } = require('websocket');

const SERIALIZERS = { json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer };

exports.connect = async (url, serializer, realm, credentials = {}) => {
  const wampy = new Wampy(url, {
    ws: w3cwebsocket,
    realm,
    serializer: new SERIALIZERS[serializer](),
    autoReconnect: false,
    ...credentials,
  });
  try {
    return new Peer(wampy, await wampy.connect());
  } catch (error) {
    throw Object.assign(error, { reason: error.errorUri, text: error.details?.message });
  }
};

// What answers the challenges of a method: for wampcra and cryptosign the library's plugins.
exports.answering = async (method, secret) => {
  if (method === 'cryptosign') return cryptosign.sign(secret);
  if (method !== 'wampcra') return () => secret;
  // The package offers CommonJS a module that it cannot load in any other way.
  const plugin = await import(pathToFileURL(require.resolve('wampy/wampcra.js')));
  return plugin.sign(secret);
};

// What HELLO says for a method besides.
exports.authextra = ({ method, secret, authextra }) => {
  if (method !== 'cryptosign') return authextra ?? {};
  const { publicKey } = nacl.sign.keyPair.fromSeed(cryptosign.hex2bytes(secret));
  return { pubkey: cryptosign.bytes2hex(publicKey), ...authextra };
};

class Peer {
  constructor(wampy, welcome) {
    this.wampy = wampy;
    this.welcome = welcome;
  }

  async publish(topic, payload, options) {
    const { publicationId } = await refusing(this.wampy.publish(topic, sent(payload), options));
    return publicationId;
  }

  async subscribe(topic, onEvent, options) {
    const taken = (event) => onEvent(received(event), event.details);
    const { subscriptionKey } = await refusing(this.wampy.subscribe(topic, taken, options));
    return () => refusing(this.wampy.unsubscribe(subscriptionKey));
  }

  async register(procedure, answer, options) {
    await refusing(this.wampy.register(procedure, async (invocation) => {
      try {
        return sent(await answer(received(invocation), invocation.details));
      } catch (error) {
        throw { error: error.uri, argsList: error.args, argsDict: error.kwargs };
      }
    }, options));
    return () => refusing(this.wampy.unregister(procedure));
  }

  async call(procedure, payload, options) {
    return this.begin(procedure, payload, options).result;
  }

  begin(procedure, payload, options, onPart) {
    const asked = onPart ? { ...options, progress_callback: (part) => onPart(received(part)) } : options;
    const call = this.wampy.call(procedure, sent(payload), asked);
    const { reqId } = this.wampy.getOpStatus();
    return { result: refusing(call).then(received), cancel: (mode) => this.wampy.cancel(reqId, { mode }) };
  }

  lose() {
    this.wampy._ws.close();
  }

  // The library keeps the reason of the router's GOODBYE to itself.
  async goodbye() {
    await this.wampy.disconnect();
    return undefined;
  }
}

// An object in which both are undefined would be taken for keyword arguments.
function sent({ args, kwargs }) {
  if (args === undefined && kwargs === undefined) return undefined;
  return { argsList: args, argsDict: kwargs };
}

function received({ argsList, argsDict }) {
  return { args: argsList ?? [], kwargs: argsDict ?? {} };
}

async function refusing(request) {
  try {
    return await request;
  } catch (error) {
    throw { uri: error.errorUri, args: error.argsList, kwargs: error.argsDict, cause: error };
  }
}
