"""Drives a WAMP router with autobahn-python, for the Rust test beside it (`python.rs`).

    scenario.py check URL SERIALIZER PREFIX        every check with two sessions of one kind
    scenario.py cross URL NAME=KIND.SERIALIZER..   sessions of many kinds, told what to do on standard input

URL is `ws://host:port/path`; RawSocket goes to its host and port when URL starts with `rs://`, and in `cross` for the
kind `rawsocket`. Standard output carries one JSON object a line: `check` prints `{"check", "ok", "detail"}` and ends
with `{"done": true}`; what `cross` reads and prints is told in `cross.rs`.
"""

import asyncio
import json
import pathlib
import sys
import traceback
from decimal import Decimal
from urllib.parse import urlsplit

import txaio

txaio.use_asyncio()

from autobahn.asyncio.rawsocket import WampRawSocketClientFactory
from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp import serializer as serializers
from autobahn.wamp.types import CallResult, ComponentConfig, PublishOptions
from cbor2 import CBORTag

REALM = "realm1"
# A single answer of the router may take this long, a whole run SCENARIO_SECONDS_MAX.
ANSWER_SECONDS_MAX = 10
SCENARIO_SECONDS_MAX = 100
# After so many failures the session is most likely gone, and the rest would only wait in vain.
FAILURES_MAX = 3
CALLS_IN_FLIGHT = 40
REQUEST_ROUNDS = 40
EVENTS_IN_ORDER = 200
LARGE_CHARACTERS = 300_000

SERIALIZERS = {
    "json": serializers.JsonSerializer,
    "msgpack": serializers.MsgPackSerializer,
    "cbor": serializers.CBORSerializer,
    # There only if py-ubjson or bjdata is installed.
    "ubjson": getattr(serializers, "UBJSONSerializer", None),
}


def revive(value):
    """The fixture's form of a value as Python's: `{"$bytes": hex}` becomes bytes."""
    if isinstance(value, dict):
        if "$bytes" in value:
            return bytes.fromhex(value["$bytes"])
        return {key: revive(each) for key, each in value.items()}
    if isinstance(value, list):
        return [revive(each) for each in value]
    return value


def plain(value):
    """The opposite of `revive`: what JSON can print. JavaScript does not tell 1.0 from 1, so neither does this."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    # The tag of an array of octets (RFC 8746), under which wampy.js returns those that it was given.
    if isinstance(value, CBORTag) and value.tag == 64:
        return plain(value.value)
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


FIXTURE = json.loads(pathlib.Path(__file__).with_name("payload.json").read_text(encoding="utf-8"))
PAYLOAD = revive(FIXTURE)


def exact(value):
    """A value as it was sent: py-ubjson reads integers of more than 63 bits, and floats that are subnormal, as Decimal."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and "E" not in str(value) else float(value)
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(exact(each) for each in value)
    return value


def report(line):
    print(json.dumps(line), flush=True)


def expect(actual, expected):
    """Equal in value and in type: 1 is neither True nor 1.0."""
    actual = exact(actual)
    if repr(actual) != repr(expected):
        raise AssertionError(f"got {actual!r:.500}, expected {expected!r:.500}")


def soon(awaitable):
    return asyncio.wait_for(awaitable, ANSWER_SECONDS_MAX)


class Peer(ApplicationSession):
    """A session whose joining, leaving and end of transport can be awaited."""

    def __init__(self):
        super().__init__(ComponentConfig(REALM))
        loop = asyncio.get_running_loop()
        self.joined = loop.create_future()
        self.left = loop.create_future()
        self.disconnected = loop.create_future()

    def onJoin(self, details):
        self.joined.set_result(details)

    def onLeave(self, details):
        if not self.joined.done():
            self.joined.set_exception(RuntimeError(f"not joined: {details.reason} {details.message}"))
        self.left.set_result(details)
        self.disconnect()

    def onDisconnect(self):
        if not self.joined.done():
            self.joined.set_exception(RuntimeError("the transport was closed before the session was joined"))
        if not self.disconnected.done():
            self.disconnected.set_result(None)

    def onUserError(self, failure, message):
        """Errors that a callee raises on purpose are no news."""

    async def answer(self, procedure, *args, **kwargs):
        """Calls; the result always as (args, kwargs)."""
        result = await soon(self.call(procedure, *args, **kwargs))
        if isinstance(result, CallResult):
            return list(result.results or []), dict(result.kwresults or {})
        return [result], {}

    async def refusal(self, procedure, *args, **kwargs):
        """Calls what must fail; the error."""
        try:
            result = await soon(self.call(procedure, *args, **kwargs))
        except ApplicationError as error:
            return error
        raise AssertionError(f"{procedure} answered {result!r}")

    async def goodbye(self):
        self.leave()
        details = await soon(self.left)
        await soon(self.disconnected)
        return details


async def connect(url, kind, serializer):
    address = urlsplit(url)
    peer = Peer()
    if kind == "rawsocket":
        factory = WampRawSocketClientFactory(lambda: peer, serializer=SERIALIZERS[serializer]())
    else:
        factory = WampWebSocketClientFactory(lambda: peer, url=url, serializers=[SERIALIZERS[serializer]()])
    await soon(asyncio.get_running_loop().create_connection(factory, address.hostname, address.port))
    await soon(peer.joined)
    return peer


class Inbox:
    """An event handler that keeps what it was given, in order."""

    def __init__(self):
        self.events = asyncio.Queue()

    def __call__(self, *args, **kwargs):
        self.events.put_nowait((list(args), kwargs))

    async def next(self):
        return await soon(self.events.get())


ACKNOWLEDGE = PublishOptions(acknowledge=True)


class Scenario:
    """Two sessions, `one` and `two`, and a method for every check. Methods run in the order they are written in."""

    def __init__(self, one, two, prefix):
        self.one = one
        self.two = two
        self.prefix = prefix

    def uri(self, name):
        return f"{self.prefix}.{name}"

    async def event_reaches_subscriber(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("reaches")))
        await soon(self.one.publish(self.uri("reaches"), 1, "two", three=3, options=ACKNOWLEDGE))
        expect(await inbox.next(), ([1, "two"], {"three": 3}))

    async def event_without_arguments(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("bare")))
        await soon(self.one.publish(self.uri("bare"), options=ACKNOWLEDGE))
        expect(await inbox.next(), ([], {}))

    async def publication_acknowledged(self):
        first = await soon(self.one.publish(self.uri("nobody"), options=ACKNOWLEDGE))
        second = await soon(self.one.publish(self.uri("nobody"), options=ACKNOWLEDGE))
        if first.id == second.id or first.id < 1 or second.id < 1:
            raise AssertionError(f"publication ids {first.id} and {second.id}")

    async def publication_unacknowledged(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("quiet")))
        if self.one.publish(self.uri("quiet"), "unasked") is not None:
            raise AssertionError("an acknowledgement is awaited")
        expect(await inbox.next(), (["unasked"], {}))

    async def publisher_excluded(self):
        own, other = Inbox(), Inbox()
        await soon(self.one.subscribe(own, self.uri("excluded")))
        await soon(self.two.subscribe(other, self.uri("excluded")))
        await soon(self.one.publish(self.uri("excluded"), "from one", options=ACKNOWLEDGE))
        expect(await other.next(), (["from one"], {}))
        # Sent after the first event, so its arrival shows that the first one did not come.
        await soon(self.two.publish(self.uri("excluded"), "from two", options=ACKNOWLEDGE))
        expect(await own.next(), (["from two"], {}))

    async def publisher_included_on_request(self):
        inbox = Inbox()
        await soon(self.one.subscribe(inbox, self.uri("included")))
        options = PublishOptions(acknowledge=True, exclude_me=False)
        await soon(self.one.publish(self.uri("included"), "to myself", options=options))
        expect(await inbox.next(), (["to myself"], {}))

    async def events_in_order(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("order")))
        for number in range(EVENTS_IN_ORDER):
            self.one.publish(self.uri("order"), number)
        expect([(await inbox.next())[0][0] for _ in range(EVENTS_IN_ORDER)], list(range(EVENTS_IN_ORDER)))

    async def event_payload(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("payload")))
        for name, value in PAYLOAD.items():
            self.one.publish(self.uri("payload"), name, value, value=value)
            expect(await inbox.next(), ([name, value], {"value": value}))

    async def call_payload(self):
        await soon(self.two.register(lambda *args, **kwargs: CallResult(*args, **kwargs), self.uri("echo")))
        for name, value in PAYLOAD.items():
            answer = await self.one.answer(self.uri("echo"), name, value, value=value)
            expect(answer, ([name, value], {"value": value}))

    async def large_payload(self):
        large = "x" * LARGE_CHARACTERS
        expect(await self.one.answer(self.uri("echo"), large, size=len(large)), ([large], {"size": len(large)}))

    async def call_without_arguments(self):
        await soon(self.two.register(lambda: "bare", self.uri("without")))
        expect(await self.one.answer(self.uri("without")), (["bare"], {}))

    async def call_of_own_procedure(self):
        await soon(self.one.register(lambda a, b: a + b, self.uri("add")))
        expect(await self.one.answer(self.uri("add"), 2, 3), ([5], {}))

    async def error_of_callee(self):
        def refuse():
            raise ApplicationError("com.example.error.refused", "no", 7, why="because")

        await soon(self.two.register(refuse, self.uri("refuse")))
        error = await self.one.refusal(self.uri("refuse"))
        refusal = ("com.example.error.refused", ["no", 7], {"why": "because"})
        expect((error.error, list(error.args), error.kwargs), refusal)

    async def unknown_procedure(self):
        expect((await self.one.refusal(self.uri("unknown"))).error, "wamp.error.no_such_procedure")

    async def registered_twice(self):
        await soon(self.two.register(lambda: None, self.uri("taken")))
        for peer in (self.one, self.two):
            try:
                await soon(peer.register(lambda: None, self.uri("taken")))
            except ApplicationError as error:
                expect(error.error, "wamp.error.procedure_already_exists")
            else:
                raise AssertionError("registered twice")

    async def unsubscribed(self):
        dropped, kept = Inbox(), Inbox()
        subscription = await soon(self.two.subscribe(dropped, self.uri("dropped")))
        await soon(self.two.subscribe(kept, self.uri("kept")))
        await soon(subscription.unsubscribe())
        for topic in ("dropped", "kept"):
            await soon(self.one.publish(self.uri(topic), topic, options=ACKNOWLEDGE))
        expect(await kept.next(), (["kept"], {}))
        expect(dropped.events.qsize(), 0)

    async def unregistered(self):
        registration = await soon(self.two.register(lambda: "here", self.uri("gone")))
        expect(await self.one.answer(self.uri("gone")), (["here"], {}))
        await soon(registration.unregister())
        expect((await self.one.refusal(self.uri("gone"))).error, "wamp.error.no_such_procedure")

    async def calls_in_flight(self):
        """The callee answers none until all have come, and the last one first."""
        waiting = []

        def collect(number):
            answer = asyncio.get_running_loop().create_future()
            waiting.append((number, answer))
            if len(waiting) == CALLS_IN_FLIGHT:
                for each, future in reversed(waiting):
                    future.set_result(each)
            return answer

        await soon(self.two.register(collect, self.uri("collect")))
        calls = [self.one.call(self.uri("collect"), number) for number in range(CALLS_IN_FLIGHT)]
        expect(await soon(asyncio.gather(*calls)), list(range(CALLS_IN_FLIGHT)))

    async def requests_in_a_row(self):
        """Every kind of request, granted and refused: the ids must go on counting."""
        for number in range(REQUEST_ROUNDS):
            subscription = await soon(self.one.subscribe(Inbox(), self.uri("row")))
            registration = await soon(self.one.register(lambda each: each, self.uri("row")))
            self.one.publish(self.uri("row"), number)
            await soon(self.one.publish(self.uri("row"), number, options=ACKNOWLEDGE))
            expect(await self.one.answer(self.uri("row"), number), ([number], {}))
            expect((await self.one.refusal(self.uri("unknown"))).error, "wamp.error.no_such_procedure")
            await soon(registration.unregister())
            await soon(subscription.unsubscribe())

    async def goodbye(self):
        for peer in (self.one, self.two):
            expect((await peer.goodbye()).reason, "wamp.close.goodbye_and_out")


async def check(url, serializer, prefix):
    kind = "rawsocket" if url.startswith("rs://") else "websocket"
    one = await connect(url, kind, serializer)
    two = await connect(url, kind, serializer)
    report({"check": "joined", "ok": True})
    scenario = Scenario(one, two, prefix)
    failures = 0
    for name in (name for name in vars(Scenario) if name != "uri" and not name.startswith("_")):
        if failures == FAILURES_MAX:
            break
        try:
            await getattr(scenario, name)()
            report({"check": name, "ok": True})
        except Exception:
            failures += 1
            report({"check": name, "ok": False, "detail": traceback.format_exc(limit=-3)})
    report({"done": True})


class Crossing:
    """The sessions of this process among those of others."""

    def __init__(self):
        self.peers = {}

    async def join(self, url, name, kind, serializer):
        peer = self.peers[name] = await connect(url, kind, serializer)

        def on_event(publisher, **kwargs):
            report({"event": publisher, "at": name, "kwargs": plain(exact(kwargs))})

        def echo(*args, **kwargs):
            return CallResult(*args, **kwargs)

        def refuse(*args, **kwargs):
            raise ApplicationError("com.example.error.refused", *args, **kwargs)

        await soon(peer.subscribe(on_event, "com.example.cross.event"))
        await soon(peer.register(echo, f"com.example.cross.echo.{name}"))
        await soon(peer.register(refuse, f"com.example.cross.refuse.{name}"))

    async def publish(self, name, payload):
        await soon(self.peers[name].publish("com.example.cross.event", name, **payload, options=ACKNOWLEDGE))

    async def call(self, name, callee, payload):
        args, kwargs = await self.peers[name].answer(f"com.example.cross.echo.{callee}", name, **payload)
        report({"result": args, "at": name, "callee": callee, "kwargs": plain(exact(kwargs))})
        error = await self.peers[name].refusal(f"com.example.cross.refuse.{callee}", name, **payload)
        refused = {"args": plain(error.args), "kwargs": plain(exact(error.kwargs))}
        report({"error": error.error, "at": name, "callee": callee, **refused})

    async def obey(self, command):
        if command["do"] == "publish":
            await self.publish(command["at"], revive(command["kwargs"]))
        elif command["do"] == "call":
            await self.call(command["at"], command["callee"], revive(command["kwargs"]))
        elif command["do"] == "leave":
            for name, peer in self.peers.items():
                report({"left": (await peer.goodbye()).reason, "at": name})


async def cross(url, names):
    crossing = Crossing()
    for name, _, form in (each.partition("=") for each in names):
        await crossing.join(url, name, *form.split("."))
    report({"ready": True})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await crossing.obey(json.loads(line))


def main():
    mode, url, *rest = sys.argv[1:]
    work = check(url, *rest) if mode == "check" else cross(url, rest)
    asyncio.run(asyncio.wait_for(work, SCENARIO_SECONDS_MAX))


if __name__ == "__main__":
    main()
