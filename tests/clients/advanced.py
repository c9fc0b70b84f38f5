"""Drives the features of the Advanced Profile with autobahn-python, for the Rust test beside it (`advanced.rs`).

    advanced.py URL SERIALIZER PREFIX FEATURE      the checks of one feature
    advanced.py URL SERIALIZER PREFIX partner      is there for the checks of `advanced.js` that need a callee or a
                                                   publisher in Python, until its standard input ends

URL and output are those of `scenario.py check`. A feature is a class below; its methods run in the order they are
written in, each with two sessions that have joined already.
"""

import asyncio
import sys
import traceback

from scenario import (
    ACKNOWLEDGE,
    SCENARIO_SECONDS_MAX,
    Inbox,
    connect,
    expect,
    report,
    soon,
)

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions

PARTS = 5
SHARED_CALLS = 6


class Feature:
    """Two sessions, and whatever more a check needs."""

    def __init__(self, url, kind, serializer, one, two, prefix):
        self.url = url
        self.kind = kind
        self.serializer = serializer
        self.one = one
        self.two = two
        self.prefix = prefix

    def uri(self, name):
        return f"{self.prefix}.{name}"

    async def another(self):
        return await connect(self.url, self.kind, self.serializer)


class ProgressiveResults(Feature):
    async def parts_come_before_the_result(self):
        def count(upto, details=None):
            for part in range(upto):
                details.progress(part, last=False)
            return "all"

        await soon(self.two.register(count, self.uri("count"), options=RegisterOptions(details=True)))
        parts = []
        options = CallOptions(on_progress=lambda *args, **kwargs: parts.append((list(args), kwargs)))
        expect(await soon(self.one.call(self.uri("count"), PARTS, options=options)), "all")
        expect(parts, [([part], {"last": False}) for part in range(PARTS)])

    async def parts_only_where_they_are_asked_for(self):
        await soon(
            self.two.register(
                lambda details=None: details.progress is None,
                self.uri("unasked"),
                options=RegisterOptions(details=True),
            )
        )
        expect(await soon(self.one.call(self.uri("unasked"))), True)

    async def an_error_ends_the_parts(self):
        def fail(details=None):
            details.progress("first")
            raise ApplicationError("com.example.error.refused", "midway")

        await soon(self.two.register(fail, self.uri("fail"), options=RegisterOptions(details=True)))
        parts = []
        error = await self.one.refusal(self.uri("fail"), options=CallOptions(on_progress=parts.append))
        expect((error.error, list(error.args), parts), ("com.example.error.refused", ["midway"], ["first"]))


class Canceling(Feature):
    async def the_callee_is_interrupted(self):
        started, interrupted = asyncio.Event(), asyncio.Event()

        async def linger():
            started.set()
            try:
                await asyncio.sleep(SCENARIO_SECONDS_MAX)
            except asyncio.CancelledError:
                interrupted.set()
                raise

        await soon(self.two.register(linger, self.uri("linger")))
        call = self.one.call(self.uri("linger"))
        await soon(started.wait())
        call.cancel()
        await soon(interrupted.wait())

    async def both_go_on(self):
        await soon(self.two.register(lambda: "here", self.uri("after")))
        expect(await soon(self.one.call(self.uri("after"))), "here")


class CallTimeouts(Feature):
    async def a_call_of_nobody_times_out(self):
        await soon(self.two.register(lambda: asyncio.Event().wait(), self.uri("never")))
        error = await self.one.refusal(self.uri("never"), options=CallOptions(timeout=200))
        expect(error.error, "wamp.error.timeout")


class PatternRegistrations(Feature):
    async def the_callee_learns_the_procedure(self):
        def named(details=None):
            return details.procedure

        for match, pattern in (("prefix", "tree"), ("wildcard", "field..leaf")):
            options = RegisterOptions(match=match, details=True)
            await soon(self.two.register(named, self.uri(pattern), options=options))
        for procedure in ("tree.a.b", "tree.c", "field.x.leaf"):
            expect(await soon(self.one.call(self.uri(procedure))), self.uri(procedure))
        error = await self.one.refusal(self.uri("field.x.twig"))
        expect(error.error, "wamp.error.no_such_procedure")

    async def exact_before_prefix_before_wildcard(self):
        for match, pattern in (("exact", "rank.b.c"), ("prefix", "rank.b"), ("wildcard", "rank..c")):
            options = RegisterOptions(match=match)
            await soon(self.two.register(lambda match=match: match, self.uri(pattern), options=options))
        for procedure, match in (("rank.b.c", "exact"), ("rank.b.d", "prefix"), ("rank.x.c", "wildcard")):
            expect(await soon(self.one.call(self.uri(procedure))), match)


class SharedRegistrations(Feature):
    async def shared(self, name, invoke):
        """Who answers one call after another, if both have registered, `one` first."""
        for who, peer in (("one", self.one), ("two", self.two)):
            options = RegisterOptions(invoke=invoke)
            await soon(peer.register(lambda who=who: who, self.uri(name), options=options))
        return [await soon(self.two.call(self.uri(name))) for _ in range(SHARED_CALLS)]

    async def first(self):
        expect(await self.shared("first", "first"), ["one"] * SHARED_CALLS)

    async def last(self):
        expect(await self.shared("last", "last"), ["two"] * SHARED_CALLS)

    async def round_robin(self):
        answers = await self.shared("roundrobin", "roundrobin")
        expect(sorted(answers), sorted(["one", "two"] * (SHARED_CALLS // 2)))
        if answers[0] == answers[1]:
            raise AssertionError(answers)

    async def random(self):
        answers = await self.shared("random", "random")
        if not set(answers) <= {"one", "two"}:
            raise AssertionError(answers)

    async def policies_do_not_mix(self):
        await soon(self.one.register(lambda: 1, self.uri("mixed"), options=RegisterOptions(invoke="first")))
        try:
            await soon(self.two.register(lambda: 2, self.uri("mixed"), options=RegisterOptions(invoke="last")))
        except ApplicationError as error:
            expect(error.error, "wamp.error.procedure_already_exists")
        else:
            raise AssertionError("registered with another policy")

    async def one_goes_and_the_other_answers(self):
        third = await self.another()
        options = RegisterOptions(invoke="first")
        await soon(third.register(lambda: "third", self.uri("left"), options=options))
        await soon(self.two.register(lambda: "two", self.uri("left"), options=options))
        expect(await soon(self.one.call(self.uri("left"))), "third")
        await third.goodbye()
        expect(await soon(self.one.call(self.uri("left"))), "two")


class RetainedEvents(Feature):
    async def subscribe(self, topic, **options):
        events = asyncio.Queue()

        def on_event(*args, details=None):
            events.put_nowait((list(args), bool(details.retained)))

        await soon(self.two.subscribe(on_event, self.uri(topic), options=SubscribeOptions(details=True, **options)))
        return events

    async def the_last_retained_event_comes_first(self):
        for number in (1, 2):
            options = PublishOptions(acknowledge=True, retain=True)
            await soon(self.one.publish(self.uri("kept"), number, options=options))
        await soon(self.one.publish(self.uri("kept"), 3, options=ACKNOWLEDGE))
        events = await self.subscribe("kept", get_retained=True)
        expect(await soon(events.get()), ([2], True))
        await soon(self.one.publish(self.uri("kept"), 4, options=ACKNOWLEDGE))
        expect(await soon(events.get()), ([4], False))

    async def only_who_asks_gets_it(self):
        options = PublishOptions(acknowledge=True, retain=True)
        await soon(self.one.publish(self.uri("unasked"), 1, options=options))
        events = await self.subscribe("unasked")
        await soon(self.one.publish(self.uri("unasked"), 2, options=ACKNOWLEDGE))
        expect(await soon(events.get()), ([2], False))


class Testaments(Feature):
    async def published_when_the_connection_is_lost(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("lost")))
        third = await self.another()
        for number in (1, 2):
            await soon(third.call("wamp.session.add_testament", self.uri("lost"), [number], {"of": "third"}))
        third._transport.abort()
        for number in (1, 2):
            expect(await inbox.next(), ([number], {"of": "third"}))

    async def scopes_are_flushed_apart(self):
        inbox = Inbox()
        await soon(self.two.subscribe(inbox, self.uri("scopes")))
        third = await self.another()
        for scope in ("destroyed", "detached"):
            await soon(third.call("wamp.session.add_testament", self.uri("scopes"), [scope], {}, scope=scope))
        await soon(third.call("wamp.session.flush_testaments", scope="detached"))
        third._transport.abort()
        expect(await inbox.next(), (["destroyed"], {}))


class MetaApi(Feature):
    async def sessions_are_listed_and_described(self):
        ids = await soon(self.one.call("wamp.session.list"))
        expect(await soon(self.one.call("wamp.session.count")), len(ids))
        mine = (await soon(self.one.joined)).session
        if mine not in ids:
            raise AssertionError(f"{mine} is not one of {ids}")
        expect((await soon(self.two.call("wamp.session.get", mine)))["session"], mine)
        expect((await self.one.refusal("wamp.session.get", 1)).error, "wamp.error.no_such_session")

    async def joining_and_leaving_are_events(self):
        joins, leaves = Inbox(), Inbox()
        await soon(self.one.subscribe(joins, "wamp.session.on_join"))
        await soon(self.one.subscribe(leaves, "wamp.session.on_leave"))
        third = await self.another()
        session = (await soon(third.joined)).session
        # Others come and go meanwhile, if all tests share one router.
        while (await joins.next())[0][0]["session"] != session:
            pass
        await third.goodbye()
        while (await leaves.next())[0][0] != session:
            pass

    async def subscriptions_are_found(self):
        subscription = await soon(self.two.subscribe(Inbox(), self.uri("found")))
        found = await soon(self.one.call("wamp.subscription.lookup", self.uri("found")))
        expect(found, subscription.id)
        expect(await soon(self.one.call("wamp.subscription.count_subscribers", found)), 1)
        theirs = (await soon(self.two.joined)).session
        expect(await soon(self.one.call("wamp.subscription.list_subscribers", found)), [theirs])
        described = await soon(self.one.call("wamp.subscription.get", found))
        expect((described["uri"], described["match"]), (self.uri("found"), "exact"))

    async def registrations_are_found(self):
        registration = await soon(self.two.register(lambda: None, self.uri("found")))
        found = await soon(self.one.call("wamp.registration.lookup", self.uri("found")))
        expect(found, registration.id)
        expect(await soon(self.one.call("wamp.registration.match", self.uri("found"))), found)
        theirs = (await soon(self.two.joined)).session
        expect(await soon(self.one.call("wamp.registration.list_callees", found)), [theirs])

    async def a_session_is_killed(self):
        third = await self.another()
        session = (await soon(third.joined)).session
        await soon(self.one.call("wamp.session.kill", session, reason="com.example.enough"))
        expect((await soon(third.left)).reason, "com.example.enough")


async def partner(url, serializer, prefix):
    """Has procedures for what libraries in JavaScript can only be on the other side of."""
    kind = "rawsocket" if url.startswith("rs://") else "websocket"
    session = await connect(url, kind, serializer)

    def count(upto, details=None):
        for part in range(upto):
            details.progress(part, last=False)
        return "all"

    def unasked(details=None):
        return details.progress is None

    def fail(details=None):
        details.progress("first")
        raise ApplicationError("com.example.error.refused", "midway")

    async def publish(topic, number, retain):
        await session.publish(topic, number, options=PublishOptions(acknowledge=True, retain=retain))

    for procedure in (count, unasked, fail):
        await soon(session.register(procedure, f"{prefix}.{procedure.__name__}", options=RegisterOptions(details=True)))
    await soon(session.register(publish, f"{prefix}.publish"))
    report({"ready": True})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


FEATURES = {
    "progressive_results": ProgressiveResults,
    "canceling": Canceling,
    "call_timeouts": CallTimeouts,
    "pattern_registrations": PatternRegistrations,
    "shared_registrations": SharedRegistrations,
    "retained_events": RetainedEvents,
    "testaments": Testaments,
    "meta_api": MetaApi,
}
# Methods that are no checks.
PARTS_OF_CHECKS = ("shared", "subscribe")


async def check(url, serializer, prefix, name):
    kind = "rawsocket" if url.startswith("rs://") else "websocket"
    one = await connect(url, kind, serializer)
    two = await connect(url, kind, serializer)
    report({"check": "joined", "ok": True})
    feature = FEATURES[name](url, kind, serializer, one, two, prefix)
    for check in (each for each in vars(FEATURES[name]) if not each.startswith("_") and each not in PARTS_OF_CHECKS):
        try:
            await getattr(feature, check)()
            report({"check": check, "ok": True})
        except Exception:
            report({"check": check, "ok": False, "detail": traceback.format_exc(limit=-3)})
    report({"done": True})


if __name__ == "__main__":
    *where, what = sys.argv[1:]
    work = partner(*where) if what == "partner" else check(*where, what)
    asyncio.run(asyncio.wait_for(work, SCENARIO_SECONDS_MAX))
