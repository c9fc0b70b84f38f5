"""A back end that decides who may join and what they may do, as Crossbar.io documents such procedures.

    dynamic.py AUTHORITY URL

The authenticator is in a realm of its own; the authorizer and some procedures are in that of the clients. Standard
output carries one JSON object a line: `{"ready": true}`, and then every question as `{"asked", "arguments"}`.
"""

import asyncio
import ssl
import sys
from urllib.parse import urlsplit

from scenario import plain, report, soon

from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, RegisterOptions, SessionDetails, TransportDetails

TICKET = "the back end's ticket"

# Whom the authenticator knows, and what it returns besides the role.
PRINCIPALS = {
    "dora": {"ticket": "dora's ticket"},
    "dolf": {"ticket": "dolf's ticket"},
    "guide": {"ticket": "guide's ticket"},
    "mover": {"ticket": "mover's ticket"},
    "dirk": {"secret": "dirk's secret"},
    # What PBKDF2 derives of "dana's password", as Crossbar.io documents it; and a password of which Crossbar.io derives
    # that itself, as it does since 2025.
    "dana": {
        "secret": "bzfRZ63myklQcQGbMB4ElOsIgSxrOAd70QAz8uJ7Nik=",
        "salt": "salt of dana",
        "iterations": 2000,
        "keylen": 32,
    },
    "diana": {"secret": "diana's password", "salt": "salt of diana", "iterations": 2000, "keylen": 32},
    "dave": {"pubkey": "2bc2800b3316e009209ffd757dab19ccf0ae84bc7ae90654e1e81712d270f653"},
    # What autobahn's derive_scram_credential makes of "kim's password", but with fewer rounds.
    "dean": {
        "kdf": "argon2id-13",
        "memory": 512,
        "iterations": 64,
        "salt": "5d9a0087d4ccdb9bc50e88c471347911",
        "stored-key": "2c2a45613f7e009b77ba913286e2316dd6d6e1b7ba2e7a2f62abfa89fe6fc8ff",
        "server-key": "d6de3decffb5897a8bcc42de098dbf306da8dc7236fb9e8a6cc7d08189b32b17",
    },
}


class Component(ApplicationSession):
    def __init__(self, realm, authid):
        super().__init__(ComponentConfig(realm))
        self.name = authid
        self.ready = asyncio.get_running_loop().create_future()

    def onConnect(self):
        self.join(self.config.realm, authmethods=["ticket"], authid=self.name)

    def onChallenge(self, challenge):
        assert challenge.method == "ticket", challenge.method
        return TICKET

    async def onJoin(self, details):
        try:
            await self.serve()
        except ApplicationError as error:
            self.ready.set_exception(error)
        else:
            self.ready.set_result(None)

    def onLeave(self, details):
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(f"{self.name}: {details.reason} {details.message}"))
        self.disconnect()

    def onUserError(self, failure, message):
        """Errors that are raised on purpose are no news."""


class Authenticator(Component):
    async def serve(self):
        await soon(self.register(self.authenticate, "com.example.authenticate"))

    async def authenticate(self, realm, authid, details):
        report({"asked": "authenticate", "arguments": plain([realm, authid, details])})
        transport = TransportDetails.parse(details["transport"])
        assert transport.is_secure and transport.channel_type == TransportDetails.CHANNEL_TYPE_TLS, transport
        method = details["authmethod"]
        if method == "tls":
            return {"authid": "by certificate", "role": "frontend"}
        if method == "anonymous":
            return "frontend"
        if method == "cryptosign" and authid is None:
            key = details["authextra"]["pubkey"]
            authid = next((name for name, each in PRINCIPALS.items() if each.get("pubkey") == key), None)
        if authid == "crash":
            raise ValueError("the authenticator has a bug")
        if authid == "slow":
            await asyncio.Event().wait()
        if authid not in PRINCIPALS:
            message = f"could not authenticate session - no such principal {authid}"
            raise ApplicationError("com.example.no_such_user", message)
        principal = PRINCIPALS[authid]
        if method != "ticket":
            return {"role": "frontend", "authid": authid, "extra": {"by": "procedure"}, **principal}
        if details["ticket"] != principal["ticket"]:
            message = f"could not authenticate session - invalid ticket '{details['ticket']}' for principal {authid}"
            raise ApplicationError("com.example.invalid_ticket", message)
        if authid == "dolf":
            return "frontend"
        if authid == "mover":
            return {"realm": "com.example.other", "role": "visitor"}
        role = "guided" if authid == "guide" else "frontend"
        return {"realm": realm, "role": role, "extra": {"my-custom-welcome-data": [1, 2, 3]}}


class Authorizer(Component):
    async def serve(self):
        await soon(self.register(self.authorize, "com.example.authorize"))

    async def authorize(self, session, uri, action, options):
        report({"asked": "authorize", "arguments": plain([session, uri, action, options])})
        details = SessionDetails.parse(session)
        assert details.realm == "com.example.main" and details.transport.is_secure, details
        if uri == "com.example.crash":
            raise ValueError("the authorizer has a bug")
        if uri == "com.example.slow":
            await asyncio.Event().wait()
        if uri == "com.example.who":
            return {"allow": True, "disclose": True, "cache": True}
        if uri == "com.example.by_header":
            return details.transport.http_headers_received.get("x-custom") == "something"
        if uri.startswith("com.example.shown."):
            return {"allow": action == "publish", "disclose": True}
        return uri.startswith("com.example.open")


class Backend(Component):
    async def serve(self):
        await soon(self.register(lambda a, b: a + b, "com.example.open.add"))
        await soon(self.register(lambda: "nobody may know", "com.example.closed"))
        options = RegisterOptions(details_arg="details")
        await soon(self.register(self.who, "com.example.who", options=options))

    def who(self, details=None):
        return {"authid": details.caller_authid, "authrole": details.caller_authrole}


async def main(authority, url):
    address = urlsplit(url)
    security = ssl.create_default_context(cafile=authority)
    for component in (
        Authenticator("com.example.auth", "authenticator"),
        Authorizer("com.example.main", "authorizer"),
        Backend("com.example.main", "backend"),
    ):
        factory = WampWebSocketClientFactory(lambda component=component: component, url=url)
        loop = asyncio.get_running_loop()
        await soon(loop.create_connection(factory, address.hostname, address.port, ssl=security))
        await soon(component.ready)
    report({"ready": True})
    # Until its standard input ends.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
