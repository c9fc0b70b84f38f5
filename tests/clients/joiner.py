"""Joins with autobahn-python as it is told on standard input, for the Rust tests beside it.

    joiner.py AUTHORITY

AUTHORITY is a PEM file with the certificate that routers' certificates are signed with. What is read and printed is told
in `joiner.rs`.
"""

import asyncio
import json
import ssl
import sys
import traceback
from urllib.parse import urlsplit

from scenario import SERIALIZERS, report, soon

from autobahn.asyncio.rawsocket import WampRawSocketClientFactory
from autobahn.asyncio.wamp import Session
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, PublishOptions, SubscribeOptions

# What the library calls the secret of a method.
SECRETS = {"ticket": "ticket", "wampcra": "secret", "scram": "password", "cryptosign": "privkey"}

# The last answer that was given to a challenge of a method.
answers = {}


class NotJoined(Exception):
    def __init__(self, reason, message):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class Joining(Session):
    """A session that joins as an order says."""

    def __init__(self, order):
        super().__init__(ComponentConfig(order.get("realm")))
        self.order = order
        loop = asyncio.get_running_loop()
        self.joined = loop.create_future()
        self.left = loop.create_future()
        self.welcome = None
        method = order["method"]
        if method in ("tls", "cookie"):
            # The library has no class for those: there is nothing to answer.
            return
        options = {key: order[key] for key in ("authid", "authextra") if key in order}
        if method in SECRETS:
            options[SECRETS[method]] = order["secret"]
        self.add_authenticator(create_authenticator(method, **options))

    def on_connect(self):
        order = self.order
        self.join(
            order.get("realm"),
            authmethods=[order["method"]],
            authid=order.get("authid"),
            authextra=order.get("authextra"),
        )

    async def onChallenge(self, challenge):
        if self.order.get("answer") == "none":
            await asyncio.Event().wait()
        if self.order.get("answer") == "again":
            return answers[challenge.method]
        answer = super().onChallenge(challenge)
        if asyncio.isfuture(answer):
            answer = await answer
        answers[challenge.method] = answer
        return answer

    async def onWelcome(self, msg):
        refusal = super().onWelcome(msg)
        if refusal is None:
            names = ("realm", "authid", "authrole", "authmethod", "authprovider", "authextra")
            self.welcome = {name: getattr(msg, name) for name in names}
        return refusal

    def on_join(self, details):
        self.joined.set_result(self.welcome)

    def on_leave(self, details):
        self.fail(details.reason, details.message)
        if not self.left.done():
            self.left.set_result(details)
        self.disconnect()

    def on_disconnect(self):
        self.fail("closed", None)

    def fail(self, reason, message):
        if not self.joined.done():
            self.joined.set_exception(NotJoined(reason, message))

    def onUserError(self, failure, message):
        print(message, failure, file=sys.stderr)

    async def act(self, verb, uri, *arguments):
        """What the router answers."""
        try:
            if verb == "call":
                return {"result": await soon(self.call(uri, *arguments))}
            if verb == "publish":
                await soon(self.publish(uri, *arguments, options=PublishOptions(acknowledge=True)))
            elif verb == "subscribe":
                await soon(self.subscribe(lambda *_: None, uri, options=SubscribeOptions(*arguments)))
            elif verb == "register":
                await soon(self.register(lambda *_: None, uri))
            return {"result": None}
        except ApplicationError as error:
            return {"error": error.error}


def security(authority, order):
    context = ssl.create_default_context(cafile=authority)
    if "certificate" in order:
        context.load_cert_chain(order["certificate"], order["key"])
    if order.get("tls") == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def transports(session, order):
    """What makes the transport of a session."""
    serializer = SERIALIZERS["cbor"]()
    if order["url"].startswith("rss:"):
        factory = WampRawSocketClientFactory(lambda: session, serializer=serializer)
    else:
        factory = WampWebSocketClientFactory(
            lambda: session, url=order["url"], serializers=[serializer], headers=order.get("headers")
        )

    def transport():
        protocol = factory()
        lost = protocol.connection_lost

        # A session is not told of a connection that ends before HELLO.
        def connection_lost(error):
            lost(error)
            session.fail("connection", str(error))

        protocol.connection_lost = connection_lost
        return protocol

    return transport


async def obey(authority, order):
    address = urlsplit(order["url"])
    session = Joining(order)
    connecting = asyncio.get_running_loop().create_connection(
        transports(session, order), address.hostname, address.port, ssl=security(authority, order)
    )
    try:
        await soon(connecting)
    except (ConnectionError, ssl.SSLError) as error:
        return {"refused": "connection", "message": str(error)}
    try:
        joined = await soon(session.joined)
    except NotJoined as refusal:
        return {"refused": refusal.reason, "message": refusal.message}
    did = [await session.act(*action) for action in order.get("do", [])]
    session.leave()
    await soon(session.left)
    return {"joined": joined, "did": did}


async def main(authority):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            report(await obey(authority, json.loads(line)))
        except Exception:
            report({"failed": traceback.format_exc(limit=-4)})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
