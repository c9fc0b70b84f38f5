// What long-poll in autobahn-js needs of a browser: XMLHttpRequest, as much of it as the library uses.
//
// Requests go over several connections, which are kept, as browsers do; in which order they arrive is anybody's guess.

'use strict';

const http = require('node:http');

const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });

globalThis.XMLHttpRequest = class {
  open(method, url) {
    Object.assign(this, { method, url, headers: {} });
  }

  setRequestHeader(name, value) {
    this.headers[name] = value;
  }

  send(body) {
    const text = body || '';
    const headers = { ...this.headers, 'Content-Length': Buffer.byteLength(text) };
    const request = http.request(this.url, { method: this.method, agent, headers }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => this.#done(response.statusCode, Buffer.concat(parts).toString()));
    });
    request.on('error', () => this.#done(0, ''));
    request.end(text);
  }

  #done(status, responseText) {
    if (this.readyState === 4) return;
    Object.assign(this, { status, responseText, readyState: 4 });
    this.onreadystatechange();
  }
};
