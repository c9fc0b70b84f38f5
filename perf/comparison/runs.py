"""Runs of the load generator: one against each system in turn, and again, so that what drifts drifts for all.

A run that fails is kept as its reason; nothing is repeated until it looks better.
"""

import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from . import peers

# How often what may be under way must have been delivered in a run, for a rate that is steady.
WINDOWS_MIN = 6

# For how many of them a run that was too short is repeated, and what is waited for before.
WINDOWS = 8
WINDOWS_WARM_UP = 1.5

# What makes a run's figures worthless.
TROUBLES = ("lost", "out_of_order", "sessions_ended", "stalled", "errors", "unexpected", "missing", "not_sent")


@dataclass(frozen=True)
class Subject:
    """A system spoken to in one way.

    `options` are for the load generator, with this subject only; `scenario` is another than the work's.
    """

    peer: str
    transport: str = "tcp"
    serializer: str = ""
    options: tuple = ()
    suffix: str = ""
    scenario: str = ""

    @property
    def key(self):
        return "/".join(filter(None, [self.peer, self.transport, self.serializer, self.suffix]))


@dataclass
class Work:
    """One load that several subjects are put under.

    `options(results, subject)` gives the load generator's options, and may look at what was measured before.
    `others` are subjects that no bound hangs on closely, or that are slow to measure: they get fewer rounds.
    `window` is how many publications are under way, if that is what the rate hangs on: with systems for which
    `seconds` are too short it is measured for longer, for at most `seconds_max`.
    `anew` starts the systems for each run, for what a system does not forget: its memory.
    """

    name: str
    scenario: str
    subjects: list
    others: list
    options: object
    rounds: int
    rounds_others: int
    seconds: float
    seconds_max: float
    window: int | None = None
    anew: bool = False

    @property
    def everybody(self):
        return self.subjects + self.others

    def turns(self):
        """Every run of this work in its order, which every other round turns round: round, of how many, and subject."""
        for number in range(max(self.rounds, self.rounds_others)):
            turn = []
            for subjects, rounds in ((self.subjects, self.rounds), (self.others, self.rounds_others)):
                if number < rounds:
                    turn += [(number + 1, rounds, subject) for subject in subjects]
            yield from turn[::-1] if number % 2 else turn


class Results:
    """What was measured: reports by work and subject, one for each round, and why some are missing."""

    def __init__(self):
        self.reports = {}
        self.failures = {}

    def add(self, work, subject, report):
        self.reports.setdefault(work, {}).setdefault(subject, []).append(report)

    def fail(self, work, subject, reason):
        self.failures.setdefault(work, {})[subject] = reason

    def failure(self, work, subject):
        """Why a run of it has failed; none if none has."""
        return self.failures.get(work, {}).get(subject)

    def rounds(self, work, subject, metric):
        """The metric in each round. A metric is a path of names: "latency.p50_ns"."""
        values = (value(report, metric) for report in self.reports.get(work, {}).get(subject, []))
        return [value for value in values if value is not None]

    def median(self, work, subject, metric):
        """The metric's median, or none if it was not measured."""
        rounds = self.rounds(work, subject, metric)
        return statistics.median(rounds) if rounds else None


def value(report, metric):
    """The figure at a path of names; none if there is none."""
    for name in metric.split("."):
        report = report.get(name) if isinstance(report, dict) else None
    return report


def complete(report):
    """Adds what is made out of two figures, names the last step, and takes away what was never measured."""
    for name in ("latency", "join"):
        if value(report, f"{name}.count") == 0:
            del report[name]
    busiest = value(report, "router.busiest_thread_cores")
    if busiest and "events_per_s" in report:
        report["events_per_busiest_core"] = report["events_per_s"] / busiest
    if report.get("steps"):
        report["last"] = report.pop("steps")[-1]
    return report


@dataclass
class Runner:
    """Runs works. `systems` are the peers by name, `unavailable` the reasons why some cannot be had.

    `seconds` is how long each work took, `times` how long a run and its warm-up take where not as long as usual.
    """

    systems: dict
    programs: dict
    results: Results = field(default_factory=Results)
    unavailable: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)
    times: dict = field(default_factory=dict)

    def install(self, names):
        for name in names:
            try:
                self.systems[name].install()
                self.say(f"  {self.systems[name].title} {self.systems[name].version}")
            except peers.Unavailable as reason:
                self.unavailable[name] = str(reason)
                self.say(f"  {self.systems[name].title}: not available: {reason}")

    def run(self, work):
        self.say(f"{work.name}")
        began = time.monotonic()
        with ExitStack() as stack:
            running = {}
            for number, rounds, subject in work.turns():
                self.run_one(work, subject, f"{number}/{rounds}", stack, running)
        self.seconds[work.name] = time.monotonic() - began

    def run_one(self, work, subject, place, stack, running):
        """One run of one subject, unless its system cannot be had or has failed in this work already."""
        if subject.peer in self.unavailable:
            return self.results.fail(work.name, subject.key, "not available")
        if self.results.failure(work.name, subject.key):
            return None
        system = self.systems[subject.peer]
        try:
            if work.anew:
                with system.running() as started:
                    report = self.steady(work, subject, started)
            else:
                if subject.peer not in running:
                    its = stack.enter_context(ExitStack())
                    running[subject.peer] = its, its.enter_context(system.running())
                try:
                    report = self.steady(work, subject, running[subject.peer][1])
                finally:
                    self.rest(subject.peer, running)
        except peers.Unavailable as reason:
            self.results.fail(work.name, subject.key, str(reason))
            return self.say(f"  {subject.key:28} {reason}")
        self.results.add(work.name, subject.key, report)
        return self.say(f"  {place} {subject.key:24} {summary(report)}")

    def rest(self, name, running):
        """Lets a system come to rest before another one has its turn. One that does not is ended, and started again."""
        its, started = running[name]
        if not peers.quiet(started.pid):
            self.say(f"  {self.systems[name].title} is still busy: it is started again")
            its.close()
            del running[name]

    def steady(self, work, subject, started):
        """A run that is long enough. One that is not only tells how long it must be."""
        place = work.name, subject.key
        seconds, warm_up = self.times.get(place, (work.seconds, work.seconds / 4))
        report = self.load(work, subject, started, seconds, warm_up)
        done = windows(work, subject, report)
        if done is None or done >= WINDOWS_MIN:
            return report
        # What is far from enough is not waited for.
        if seconds >= work.seconds_max or done * work.seconds_max / seconds < WINDOWS_MIN / 2:
            raise peers.Unavailable(f"not steady: in {seconds:g} s it delivers {done:.1f} times what is under way")
        one = report["measured_s"] / done
        self.times[place] = min(WINDOWS * one, work.seconds_max), min(WINDOWS_WARM_UP * one, work.seconds_max / 3)
        return self.steady(work, subject, started)

    def load(self, work, subject, started, seconds, warm_up):
        """Puts the load on and returns the report."""
        system = self.systems[subject.peer]
        if subject.transport not in started.urls:
            raise peers.Unavailable(f"it is not reached over {subject.transport}")
        scenario = subject.scenario or work.scenario
        command = [*self.programs["bench"], scenario, "--json"]
        if system.dialect != "wamp":
            command = [*self.programs["load"], scenario, "--dialect", system.dialect]
        command += ["--url", started.urls[subject.transport]]
        if subject.serializer:
            command += ["--serializer", subject.serializer]
        if started.pid:
            command += ["--pid", started.pid]
        command += [*work.options(self.results, subject), *subject.options]
        command += ["--duration", f"{seconds:.3f}", "--warm-up", f"{warm_up:.3f}"]
        return report_of([str(part) for part in command], seconds)

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)


def windows(work, subject, report):
    """How often a run has delivered what may be under way; none where the rate does not hang on that."""
    if work.window is None or subject.scenario:
        return None
    return report["publications_per_s"] * report["measured_s"] / work.window


def report_of(command, seconds):
    """Runs a load generator, which has its measuring time, and as much again and a minute for all else."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 2 * seconds)
    except subprocess.TimeoutExpired as error:
        raise peers.Unavailable("the load generator did not end") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise peers.Unavailable(words[-1] if words else f"the load generator ended with {done.returncode}")
    report = json.loads(lines[-1])
    found = trouble(report)
    if found:
        raise peers.Unavailable(found)
    return complete(report)


def trouble(report):
    """What makes a run's figures worthless, in the whole or in a step of it; none if nothing does."""
    for part in (report, *report.get("steps", ())):
        for name in TROUBLES:
            if part.get(name):
                return f"{name.replace('_', ' ')}: {part[name]}"
    return None


def summary(report):
    """The figures that tell how a run went."""
    parts = []
    for metric, scale, unit in (
        ("events_per_s", 1e6, "M events/s"),
        ("calls_per_s", 1e3, "k calls/s"),
        ("joined_per_s", 1e3, "k sessions/s"),
        ("resident_bytes_per_session", 1, "B/session"),
        ("last.router.cpu_ns_per_publication", 1, "ns CPU/publication"),
        ("last.resident_bytes_per_subscription", 1, "B/subscription"),
        ("router.cpu_ns_per_event", 1, "ns CPU/event"),
        ("latency.p50_ns", 1e3, "µs p50"),
        ("latency.p99_ns", 1e3, "µs p99"),
        ("generator_cores", 1, "cores generator"),
    ):
        found = value(report, metric)
        if found is not None:
            parts.append(f"{found / scale:.3g} {unit}")
    return ", ".join(parts)
