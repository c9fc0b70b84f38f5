"""What is measured, under which load, and what is to be reached.

Each group can be asked for alone. The bounds are those the project has set itself; they are never moved to a result.
"""

from dataclasses import dataclass, replace

from .checks import Bound, Ratio
from .peers import Unavailable
from .runs import Subject, Work

GROUPS = ("fanout", "payload", "mixed", "rpc", "latency", "memory", "joining", "growth", "shards", "tls")

SUBSCRIBERS = (10, 100, 1000, 9000)

# Flat or falling from one size to the next: no more than two equal ones may differ by for noise. From the first size to
# the last no such allowance is made.
NEIGHBOURS_AT_MOST = 1.1
ROOM = 1000

RELAY = Subject("relay")
NATS = Subject("nats")
UWEBSOCKETS = Subject("uwebsockets", "ws")
RAWSOCKET = Subject("fanwire", "tcp", "msgpack")
WEBSOCKET = Subject("fanwire", "ws", "msgpack")
WEBSOCKET_JSON = Subject("fanwire", "ws", "json")
# Whom the load generator talks to is not what is measured.
RAWSOCKET_TLS = Subject("fanwire-tls", "tcp", "msgpack", ("--insecure",))
WEBSOCKET_JSON_TLS = Subject("fanwire-tls", "ws", "json", ("--insecure",))
CROSSBAR = Subject("crossbar", "tcp", "msgpack")
CROSSBAR_JSON = Subject("crossbar", "ws", "json")

TWO_SHARDS = Subject("fanwire-two", "tcp", "msgpack")
ASKING = Subject("fanwire-asking", "tcp", "msgpack")
RELAY_ONE = Subject("relay", options=("--window", 1), suffix="1 under way", scenario="fanout")

# Files that a system or the load generator opens beside its connections.
FILES_BESIDE = 100

ALL_WAYS = "tcp+msgpack,tcp+json,tcp+cbor,ws+msgpack,ws+json,ws+cbor"
MIXED = Subject("fanwire", "tcp", "msgpack", ("--subscribers-as", ALL_WAYS), "mixed")


@dataclass
class Mode:
    """How long it may take. `others`: do the systems that no bound hangs on take part in no, some or all works?

    `rounds_close` is for works in which more hangs on noise, since what is compared is about as fast.
    """

    rounds: int
    rounds_close: int
    rounds_others: int
    seconds: float
    seconds_max: float
    sessions: int
    subscriptions_each: int
    others: str = "all"
    sizes: tuple = SUBSCRIBERS
    room: int = ROOM
    crowd: int = 250


FULL = Mode(5, 9, 2, seconds=2, seconds_max=15, sessions=5000, subscriptions_each=4000)
QUICK = Mode(2, 2, 1, seconds=0.5, seconds_max=6, sessions=2000, subscriptions_each=400, others="some")
SMOKE = Mode(1, 1, 1, 0.1, 5, 20, 10, others="none", sizes=(5, 10), room=10, crowd=5)


def fitting(mode, files):
    """The mode as far as so many open files allow it, and what is left out, in words."""
    most = files - FILES_BESIDE
    sizes = tuple(size for size in mode.sizes if size <= most)
    left_out = [f"Left out, since a process may open {files:,} files only: {size:,} subscribers."
                for size in mode.sizes if size > most]
    if mode.sessions > most:
        left_out.append(f"Since a process may open {files:,} files only, {most:,} sessions stand for {mode.sessions:,}.")
    return replace(mode, sizes=sizes, sessions=min(mode.sessions, most)), left_out


def fanout_name(subscribers, window=32, payload=128):
    """The name of the work with these measures."""
    size = f"{payload} B" if payload < 1024 else f"{payload >> 10} KiB"
    return f"fan-out to {subscribers:,}, {window} under way, {size}"


def costs_name(sizes):
    """The name of the work in which the sizes take turns."""
    return f"cost of an event, {sizes[0]:,} to {sizes[-1]:,} subscribers"


def of_size(size):
    """Fanwire with so many subscribers, as a subject of its own."""
    return Subject("fanwire", "tcp", "msgpack", ("--subscribers", size), f"{size:,} subscribers")


class Plan:
    """The works and checks of a mode, with the routers that the reader has named, and what is left out, in words."""

    def __init__(self, mode, named, groups, left_out=()):
        self.mode, self.groups, self.left_out = mode, groups, list(left_out)
        self.named = [subject for peer in named for subject in subjects_of(peer)]
        self.works, self.checks = [], []
        for group in GROUPS:
            if group in groups:
                getattr(self, group)()

    def peers(self):
        """The names of all systems that take part."""
        return list(dict.fromkeys(subject.peer for work in self.works for subject in work.everybody))

    def fanout(self):
        mode = self.mode
        ours = [RAWSOCKET, RELAY, WEBSOCKET, WEBSOCKET_JSON, *self.some(UWEBSOCKETS)]
        for size in mode.sizes:
            if size == mode.room:
                close, others = [*ours, *self.some(NATS)], self.some(CROSSBAR, CROSSBAR_JSON, *self.named)
                self.fan_out(close, size, others=others, rounds=mode.rounds_close)
            elif mode.others == "all":
                others = [*ours[2:], NATS, CROSSBAR, CROSSBAR_JSON, *self.named]
                self.fan_out(ours[:2], size, others=others)
            else:
                self.fan_out(ours[:2], size)
        self.fan_out([RAWSOCKET, RELAY], mode.room, window=256, others=self.all(NATS))

        name, wide = fanout_name(mode.room), fanout_name(mode.room, 256)
        title = f"fan-out to {mode.room:,}, RawSocket MessagePack"
        self.beside_the_relay(f"{title}, 32 under way", name, 0.90)
        self.beside_the_relay(f"{title}, 256 under way", wide, 0.80)
        for subject, said in ((WEBSOCKET, "MessagePack"), (WEBSOCKET_JSON, "JSON")):
            title = f"fan-out to {mode.room:,}, WebSocket {said}"
            place = (name, subject.key)
            self.check(Ratio(
                title, "events_per_s", place, (name, UWEBSOCKETS.key), "uWebSockets, plain broadcast", at_least=1,
            ))
            self.check(Ratio(
                title + ", events in a second of CPU", "router.cpu_ns_per_event", place, (name, NATS.key), "NATS",
                at_least=4, inverse=True,
            ))
        self.event_costs()

    def event_costs(self):
        """The cost of an event at each size: flat or falling, as far as noise lets two neighbours be told apart."""
        sizes = self.mode.sizes
        name = costs_name(sizes)
        sized = {size: of_size(size) for size in sizes}
        self.work(name, "fanout", sized.values(), self.options("--window", 32), window=32, rounds=self.mode.rounds_close)
        steps = [*zip(sizes, sizes[1:], [NEIGHBOURS_AT_MOST] * len(sizes)), (sizes[0], sizes[-1], 1.0)]
        for fewer, more, bound in steps:
            self.check(Ratio(
                f"cost of an event, {fewer:,} → {more:,} subscribers", "router.cpu_ns_per_event",
                (name, sized[more].key), (name, sized[fewer].key), f"that at {fewer:,}", at_most=bound,
            ))

    def payload(self):
        for payload in (4096, 65536):
            room = self.mode.room
            self.fan_out([RAWSOCKET, RELAY], room, payload=payload)
            name = fanout_name(room, payload=payload)
            self.beside_the_relay(f"fan-out to {room:,}, payload {payload >> 10} KiB", name, 0.95)

    def mixed(self):
        name = "mixed serializers and transports"
        options = self.fanout_options(self.mode.room, 32, 128)
        self.work(name, "fanout", [RAWSOCKET, MIXED], options, window=32)
        self.check(Ratio(
            "three serializers on two transports mixed", "events_per_s", (name, MIXED.key), (name, RAWSOCKET.key),
            "unmixed", at_least=0.80,
        ))

    def rpc(self):
        many, single = "calls, 16 callers × 8 open, 4 callees", "one call at a time"
        ours = [RAWSOCKET, RELAY, *self.some(NATS)]
        self.work(many, "rpc", ours, self.rpc_options(16, 4, 8), self.some(CROSSBAR, *self.named))
        others = self.all(NATS, CROSSBAR, *self.named)
        self.work(single, "rpc", [RAWSOCKET, RELAY, ASKING], self.rpc_options(1, 1, 1), others)
        for subject, against, bound in ((RELAY, "relay", 0.60), (NATS, "NATS", 2), (CROSSBAR, "Crossbar.io", 20)):
            self.check(Ratio(
                many, "calls_per_s", (many, RAWSOCKET.key), (many, subject.key), against, at_least=bound,
            ))
        self.check(Bound(
            single + ", p50 round trip", "latency.p50_ns", (single, RAWSOCKET.key), 15, "µs", 1e3,
            (single, RELAY.key), "relay",
        ))

    def latency(self):
        room = self.mode.room
        highest = fanout_name(room)
        ours, others = [RAWSOCKET, RELAY, WEBSOCKET_JSON], []
        if "fanout" in self.groups:
            others = self.all(UWEBSOCKETS, NATS, CROSSBAR, *self.named)
        else:
            self.fan_out(ours, room)
        single = "one publication at a time to one subscriber"
        everybody = self.all(NATS, CROSSBAR, *self.named)
        self.work(single, "fanout", [RAWSOCKET, RELAY, WEBSOCKET_JSON], self.fanout_options(1, 1, 128), everybody)

        def half(results, subject):
            load = self.fanout_options(room, None, 128)(results, subject)
            if subject.scenario:
                return load
            rate = results.median(highest, subject.key, "publications_per_s")
            if not rate:
                raise Unavailable("its highest rate is not known")
            return ["--rate", f"{rate / 2:.3f}", *load]

        name = f"latency, {room:,} subscribers, half the highest rate"
        self.work(name, "latency", [*ours, RELAY_ONE], half, others)
        for subject in (RAWSOCKET, WEBSOCKET_JSON):
            self.check(Bound(
                f"latency at half the highest rate, p99, {way(subject)}", "latency.p99_ns", (name, subject.key),
                2, "ms", 1e6, (name, RELAY_ONE.key), "a write to each",
                derive=lambda nanos: nanos * room, theirs_metric="router.cpu_ns_per_event",
            ))

    def memory(self):
        count = self.mode.sessions
        name = f"memory of {count:,} idle sessions"
        others = self.some(CROSSBAR, *self.named) + self.all(CROSSBAR_JSON)
        self.work(name, "conns", [RAWSOCKET, WEBSOCKET_JSON], self.options("--sessions", count), others, anew=True)
        for subject, kibibytes in ((RAWSOCKET, 1.5), (WEBSOCKET_JSON, 2)):
            self.check(Bound(
                f"resident memory of an idle session, {way(subject).split()[0]}", "resident_bytes_per_session",
                (name, subject.key), kibibytes, "KiB", 1024,
            ))

    def joining(self):
        count = self.mode.sessions
        name = f"{count:,} sessions join"
        self.work(
            name, "conns", [RAWSOCKET, RELAY], self.options("--sessions", count), self.all(NATS, CROSSBAR), anew=True,
        )
        place = (name, RAWSOCKET.key)
        self.check(Bound(
            "joining, connect to WELCOME", "joined_per_s", place, 5 * 8500, "sessions/s", 1, at_least=True,
        ))
        self.check(Ratio(
            "joining beside accepting alone", "joined_per_s", place, (name, RELAY.key), "relay", at_least=0.90,
        ))

    def growth(self):
        crowd, each = self.mode.crowd, self.mode.subscriptions_each
        for what, policy, most in (
            ("subscriptions on distinct topics", "exact", each), ("patterns", "prefix", min(each, 40)),
        ):
            # With few subscriptions they are in few sessions, and events share writes: what many cost by themselves is
            # seen in as many sessions, or if all publications go to the same topic.
            one, few = self.subscriptions(1, 1, policy), self.subscriptions(crowd, 1, policy)
            many, busy = self.subscriptions(crowd, most, policy), self.subscriptions(crowd, most, policy, busy=1)
            name = f"publishing to one of many {what}"
            self.work(name, "topics", [one, few, many, busy], self.options(), anew=True)
            count = crowd * most
            for title, before, after, said in (
                (f"1 → {count:,} {what}, always to the same", one, busy, "1"),
                (f"{crowd:,} → {count:,} {what}, at random, in {crowd:,} sessions", few, many, f"{crowd:,}"),
                (f"1 → {count:,} {what}, at random, in 1 → {crowd:,} sessions", one, many, "1"),
            ):
                self.check(Ratio(
                    f"a publication with {title}", "last.router.cpu_ns_per_publication", (name, after.key),
                    (name, before.key), f"that with {said}", at_most=2,
                ))
            if policy == "exact":
                self.check(Bound(
                    "resident memory of a subscription", "last.resident_bytes_per_subscription", (name, many.key),
                    200, "B", 1,
                ))

    def shards(self):
        # Two shards beside the generator on few cores are waited for by fewer publications each, so their writes carry
        # fewer events, unless there are always enough.
        for window in (64, 512):
            name = f"fan-out of 8 publishers to {self.mode.room:,}, {window} under way, 1 and 2 shards"
            options = self.options("--publishers", 8, "--subscribers", self.mode.room, "--window", window)
            self.work(name, "fanout", [RAWSOCKET, TWO_SHARDS], options, window=window)
            self.check(Ratio(
                f"2 shards against 1, {window} under way, by the CPU of the busiest shard", "events_per_busiest_core",
                (name, TWO_SHARDS.key), (name, RAWSOCKET.key), "1 shard", at_least=1.7,
            ))

    def tls(self):
        everybody = [RAWSOCKET, RAWSOCKET_TLS, WEBSOCKET_JSON, WEBSOCKET_JSON_TLS]
        pairs = ((RAWSOCKET_TLS, RAWSOCKET), (WEBSOCKET_JSON_TLS, WEBSOCKET_JSON))
        room, count = self.mode.room, self.mode.sessions
        for window, payload in ((32, 128), (256, 128), (32, 4096)):
            name = fanout_name(room, window, payload) + ", with and without TLS"
            options = self.fanout_options(room, window, payload)
            self.work(name, "fanout", everybody, options, window=window)
            for over_tls, plain in pairs:
                self.check(Ratio(
                    f"TLS: CPU for an event, {name.removesuffix(', with and without TLS')}, {way(plain)}",
                    "router.cpu_ns_per_event", (name, over_tls.key), (name, plain.key), "without", at_most=2.5,
                ))
        name = f"memory of {count:,} idle sessions, with and without TLS"
        self.work(name, "conns", [RAWSOCKET, RAWSOCKET_TLS], self.options("--sessions", count), anew=True)
        self.check(Bound(
            "TLS: resident memory of an idle session", "resident_bytes_per_session", (name, RAWSOCKET_TLS.key), 16,
            "KiB", 1024,
        ))

    @staticmethod
    def subscriptions(sessions, each, policy, busy=None):
        """Fanwire with so many subscriptions in so many sessions, of which all or some are published to."""
        count = sessions * each
        options = ("--subscriptions", count, "--sessions", sessions, "--patterns", policy)
        suffix = f"{count:,} in {sessions:,} sessions"
        if busy:
            options, suffix = (*options, "--busy", busy), f"{suffix}, {busy:,} of them published to"
        return Subject("fanwire", "tcp", "msgpack", options, suffix)

    def fan_out(self, subjects, subscribers, window=32, payload=128, others=(), rounds=None):
        name = fanout_name(subscribers, window, payload)
        options = self.fanout_options(subscribers, window, payload)
        self.work(name, "fanout", subjects, options, others, window=window, rounds=rounds)

    def fanout_options(self, subscribers, window, payload):
        windows = [] if window is None else ["--window", window]
        return self.options("--subscribers", subscribers, "--payload", payload, *windows)

    def rpc_options(self, callers, callees, calls):
        return self.options("--callers", callers, "--callees", callees, "--open", calls)

    @staticmethod
    def options(*fixed):
        return lambda _results, _subject: list(fixed)

    def some(self, *subjects):
        """Those subjects where other systems take part at all."""
        return [] if self.mode.others == "none" else list(subjects)

    def all(self, *subjects):
        """Those subjects where other systems take part in everything."""
        return list(subjects) if self.mode.others == "all" else []

    def work(self, name, scenario, subjects, options, others=(), window=None, rounds=None, anew=False):
        mode = self.mode
        self.works.append(Work(
            name, scenario, list(subjects), list(others), options, rounds or mode.rounds, mode.rounds_others,
            mode.seconds, mode.seconds_max, window, anew,
        ))

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
