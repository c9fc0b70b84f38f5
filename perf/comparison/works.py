"""What is measured, under which load, and what is to be reached.

Each group can be asked for alone. The bounds are those the project has set itself; they are never moved to a result.
"""

from dataclasses import dataclass

from .checks import Bound, Growth, Ratio
from .runs import Subject, Work

GROUPS = ("fanout", "payload", "mixed", "rpc", "latency", "memory", "joining", "growth", "shards")

SUBSCRIBERS = (10, 100, 1000, 9000)
ROOM = 1000

RELAY = Subject("relay")
NATS = Subject("nats")
UWEBSOCKETS = Subject("uwebsockets", "ws")
RAWSOCKET = Subject("fanwire", "tcp", "msgpack")
WEBSOCKET = Subject("fanwire", "ws", "msgpack")
WEBSOCKET_JSON = Subject("fanwire", "ws", "json")
CROSSBAR = Subject("crossbar", "tcp", "msgpack")
CROSSBAR_JSON = Subject("crossbar", "ws", "json")

TWO_SHARDS = Subject("fanwire-two", "tcp", "msgpack")

ALL_WAYS = "tcp+msgpack,tcp+json,tcp+cbor,ws+msgpack,ws+json,ws+cbor"
MIXED = Subject("fanwire", "tcp", "msgpack", ("--subscribers-as", ALL_WAYS), "mixed")


@dataclass
class Mode:
    """How long it may take. `rounds` and `seconds` are for what a bound hangs on; the rest gets one short round."""

    rounds: int
    seconds: float
    rounds_rest: int
    seconds_rest: float
    sessions: int
    subscriptions: int
    sizes: tuple = SUBSCRIBERS
    room: int = ROOM
    others: bool = True


FULL = Mode(rounds=5, seconds=2, rounds_rest=3, seconds_rest=1.5, sessions=5000, subscriptions=1_000_000)
QUICK = Mode(rounds=2, seconds=0.5, rounds_rest=1, seconds_rest=0.5, sessions=2000, subscriptions=100_000)
SMOKE = Mode(1, 0.1, 1, 0.1, 20, 200, sizes=(5, 10), room=10, others=False)


def fanout_name(subscribers, window=32, payload=128):
    """The name of the work with these measures."""
    size = f"{payload} B" if payload < 1024 else f"{payload >> 10} KiB"
    return f"fan-out to {subscribers:,}, {window} under way, {size}"


class Plan:
    """The works and checks of a mode, with the routers that the reader has named."""

    def __init__(self, mode, named, groups):
        self.mode, self.groups = mode, groups
        self.named = [subject for peer in named for subject in subjects_of(peer)]
        self.works, self.checks = [], []
        for group in GROUPS:
            if group in groups:
                getattr(self, group)()

    def peers(self):
        """The names of all systems that take part."""
        return list(dict.fromkeys(subject.peer for work in self.works for subject in work.subjects))

    def fanout(self):
        mode = self.mode
        everybody = [RAWSOCKET, RELAY, WEBSOCKET, WEBSOCKET_JSON]
        others = [UWEBSOCKETS, NATS, CROSSBAR, CROSSBAR_JSON, *self.named] if mode.others else []
        for size in mode.sizes:
            self.fan_out(everybody + others, size)
        self.fan_out([RAWSOCKET, RELAY, *([UWEBSOCKETS, NATS] if mode.others else [])], mode.room, window=256)

        name, wide = fanout_name(mode.room), fanout_name(mode.room, 256)
        title = "fan-out to 1,000, RawSocket MessagePack, {} under way"
        self.beside_the_relay(title.format(32), name, 0.90)
        self.beside_the_relay(title.format(256), wide, 0.80)
        for subject, said in ((WEBSOCKET, "MessagePack"), (WEBSOCKET_JSON, "JSON")):
            title = f"fan-out to 1,000, WebSocket {said}"
            ours = (name, subject.key)
            self.check(Ratio(
                title, "events_per_s", ours, (name, UWEBSOCKETS.key), "uWebSockets, plain broadcast", at_least=1,
            ))
            self.check(Ratio(
                title + ", events in a second of CPU", "router.cpu_ns_per_event", ours, (name, NATS.key), "NATS",
                at_least=4, inverse=True,
            ))
        for fewer, more in zip(mode.sizes, mode.sizes[1:]):
            self.check(Ratio(
                f"cost of an event, {fewer:,} → {more:,} subscribers", "router.cpu_ns_per_event",
                (fanout_name(more), RAWSOCKET.key), (fanout_name(fewer), RAWSOCKET.key), f"that at {fewer:,}",
                at_most=1.05,
            ))

    def payload(self):
        for payload in (4096, 65536):
            self.fan_out([RAWSOCKET, RELAY], self.mode.room, payload=payload)
            name = fanout_name(self.mode.room, payload=payload)
            self.beside_the_relay(f"fan-out to 1,000, payload {payload >> 10} KiB", name, 0.95)

    def mixed(self):
        name = "mixed serializers and transports"
        self.work(name, "fanout", [RAWSOCKET, MIXED], self.fanout_options(self.mode.room, 32, 128))
        self.check(Ratio(
            "three serializers on two transports mixed", "events_per_s", (name, MIXED.key), (name, RAWSOCKET.key),
            "unmixed", at_least=0.80,
        ))

    def rpc(self):
        others = [NATS, CROSSBAR, *self.named] if self.mode.others else []
        many, single = "calls, 16 callers × 8 open, 4 callees", "one call at a time"
        self.work(many, "rpc", [RAWSOCKET, RELAY, *others], self.rpc_options(16, 4, 8))
        self.work(single, "rpc", [RAWSOCKET, RELAY, *others], self.rpc_options(1, 1, 1))
        for subject, against, bound in ((RELAY, "relay", 0.60), (NATS, "NATS", 2), (CROSSBAR, "Crossbar.io", 20)):
            self.check(Ratio(
                many, "calls_per_s", (many, RAWSOCKET.key), (many, subject.key), against, at_least=bound,
            ))
        self.check(Bound(
            single + ", p50 round trip", "latency.p50_ns", (single, RAWSOCKET.key), 15, "µs", 1e3,
            (single, RELAY.key), "relay",
        ))

    def latency(self):
        mode = self.mode
        room = mode.room
        highest = fanout_name(room)
        if "fanout" not in self.groups:
            self.fan_out([RAWSOCKET, RELAY, WEBSOCKET_JSON], room)
        one = f"fan-out to {room:,}, 1 under way"
        self.work(one, "fanout", [RELAY], self.fanout_options(room, 1, 128))

        def half(results, subject):
            rate = results.median(highest, subject.key, "publications_per_s") or 100
            return ["--rate", f"{rate / 2:.3f}", *self.fanout_options(room, None, 128)(results, subject)]

        name = f"latency, {room:,} subscribers, half the highest rate"
        others = [UWEBSOCKETS, NATS, CROSSBAR, *self.named] if mode.others and "fanout" in self.groups else []
        self.work(name, "latency", [RAWSOCKET, RELAY, WEBSOCKET_JSON, *others], half)
        for subject in (RAWSOCKET, WEBSOCKET_JSON):
            self.check(Bound(
                f"latency at half the highest rate, p99, {way(subject)}", "latency.p99_ns", (name, subject.key),
                2, "ms", 1e6, (one, RELAY.key), "a write to each",
                derive=lambda rate: 1e9 / rate, theirs_metric="publications_per_s",
            ))

    def memory(self):
        mode = self.mode
        name = f"{mode.sessions:,} idle sessions"
        others = [CROSSBAR, CROSSBAR_JSON, *self.named] if mode.others else []
        sessions = self.options("--sessions", mode.sessions)
        self.work(name, "conns", [RAWSOCKET, WEBSOCKET_JSON, *others], sessions, rest=True, each_round=True)
        for subject, kibibytes in ((RAWSOCKET, 1.5), (WEBSOCKET_JSON, 2)):
            self.check(Bound(
                f"resident memory of an idle session, {way(subject).split()[0]}", "resident_bytes_per_session",
                (name, subject.key), kibibytes, "KiB", 1024,
            ))

    def joining(self):
        mode = self.mode
        name = f"{mode.sessions:,} sessions join"
        others = [NATS, CROSSBAR, *self.named] if mode.others else []
        sessions = self.options("--sessions", mode.sessions)
        self.work(name, "conns", [RAWSOCKET, RELAY, *others], sessions, rest=True, each_round=True)
        self.check(Bound(
            "joining, connect to WELCOME", "joined_per_s", (name, RAWSOCKET.key), 5 * 8500, "sessions/s", 1,
            at_least=True,
        ))
        self.check(Ratio(
            "the same beside the kernel's limit: accepting alone", "joined_per_s", (name, RAWSOCKET.key),
            (name, RELAY.key), "relay", at_least=0.5,
        ))

    def growth(self):
        mode = self.mode
        for what, most, options in (
            ("subscriptions on distinct topics", mode.subscriptions, ["--patterns", "exact"]),
            ("patterns", min(mode.subscriptions, 10_000), ["--patterns", "prefix"]),
        ):
            name = f"publishing with 1 → {most:,} {what}"
            steps = ",".join(str(10**power) for power in range(len(str(most))) if power % 2 == 0 or 10**power == most)
            self.work(
                name, "topics", [RAWSOCKET], self.options("--subscriptions", steps, *options), rest=True,
                each_round=True,
            )
            self.check(Growth(name, "steps", "router.cpu_ns_per_publication", (name, RAWSOCKET.key), 2))
            if what != "patterns":
                self.check(Bound(
                    "resident memory of a subscription", "steps.-1.resident_bytes_per_subscription",
                    (name, RAWSOCKET.key), 200, "B", 1,
                ))

    def shards(self):
        name = f"fan-out of 8 publishers to {self.mode.room:,}, 1 and 2 shards"
        options = self.options("--publishers", 8, "--subscribers", self.mode.room, "--window", 64)
        self.work(name, "fanout", [RAWSOCKET, TWO_SHARDS], options)
        self.check(Ratio(
            "2 shards against 1, by the CPU of the busiest shard", "events_per_busiest_core",
            (name, TWO_SHARDS.key), (name, RAWSOCKET.key), "1 shard", at_least=1.7,
        ))

    def fan_out(self, subjects, subscribers, window=32, payload=128):
        name = fanout_name(subscribers, window, payload)
        rest = subscribers != self.mode.room
        self.work(name, "fanout", subjects, self.fanout_options(subscribers, window, payload), rest)

    def fanout_options(self, subscribers, window, payload):
        windows = [] if window is None else ["--window", window]
        return self.options("--subscribers", subscribers, "--payload", payload, *windows)

    def rpc_options(self, callers, callees, calls):
        return self.options("--callers", callers, "--callees", callees, "--open", calls)

    def options(self, *fixed):
        seconds = self.mode.seconds
        times = ["--duration", seconds, "--warm-up", seconds / 4]
        return lambda _results, _subject: [*fixed, *times]

    def work(self, name, scenario, subjects, options, rest=False, **more):
        mode = self.mode
        rounds = mode.rounds_rest if rest else mode.rounds
        self.works.append(Work(name, scenario, subjects, options, rounds, mode.seconds, **more))

    def beside_the_relay(self, title, name, bound):
        self.check(Ratio(
            title, "events_per_s", (name, RAWSOCKET.key), (name, RELAY.key), "relay", at_least=bound,
        ))

    def check(self, check):
        self.checks.append(check)


def way(subject):
    """A subject's transport and serializer in words."""
    transport = {"tcp": "RawSocket", "ws": "WebSocket"}[subject.transport]
    serializer = {"msgpack": "MessagePack", "json": "JSON", "cbor": "CBOR"}[subject.serializer]
    return f"{transport} {serializer}"


def subjects_of(peer):
    """The ways in which a router is spoken to that the reader has named: those it has a URL for."""
    serializers = {"tcp": "msgpack", "ws": "json"}
    return [Subject(peer.name, transport, serializers[transport]) for transport in peer.urls]
