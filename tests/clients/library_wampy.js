// wampy.js behind the few verbs of `scenario.js`; see `library_autobahn.js` for their contract.

'use strict';

const { Wampy } = require('wampy');
const { JsonSerializer } = require('wampy/JsonSerializer.js');
const { MsgpackSerializer } = require('wampy/MsgpackSerializer.js');
const { CborSerializer } = require('wampy/CborSerializer.js');
const { w3cwebsocket } = require('websocket');

const SERIALIZERS = { json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer };

exports.connect = async (url, serializer, realm) => {
  const wampy = new Wampy(url, {
    ws: w3cwebsocket,
    realm,
    serializer: new SERIALIZERS[serializer](),
    autoReconnect: false,
  });
  await wampy.connect();
  return new Peer(wampy);
};

class Peer {
  constructor(wampy) {
    this.wampy = wampy;
  }

  async publish(topic, payload, options) {
    const { publicationId } = await refusing(this.wampy.publish(topic, sent(payload), options));
    return publicationId;
  }

  async subscribe(topic, onEvent) {
    const { subscriptionKey } = await refusing(this.wampy.subscribe(topic, (event) => onEvent(received(event))));
    return () => refusing(this.wampy.unsubscribe(subscriptionKey));
  }

  async register(procedure, answer) {
    await refusing(this.wampy.register(procedure, async (invocation) => {
      try {
        return sent(await answer(received(invocation)));
      } catch (error) {
        throw { error: error.uri, argsList: error.args, argsDict: error.kwargs };
      }
    }));
    return () => refusing(this.wampy.unregister(procedure));
  }

  async call(procedure, payload) {
    return received(await refusing(this.wampy.call(procedure, sent(payload))));
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
