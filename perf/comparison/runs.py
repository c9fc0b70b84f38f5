"""Runs of the load generator: one against each system in turn, and again, so that what drifts drifts for all.

A run that fails is kept as its reason; nothing is repeated until it looks better.
"""

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

from . import peers


@dataclass(frozen=True)
class Subject:
    """A system spoken to in one way. `options` are for the load generator, with this subject only."""

    peer: str
    transport: str = "tcp"
    serializer: str = ""
    options: tuple = ()
    suffix: str = ""

    @property
    def key(self):
        return "/".join(filter(None, [self.peer, self.transport, self.serializer, self.suffix]))


@dataclass
class Work:
    """One load that several subjects are put under.

    `options(results, subject)` gives the load generator's options, and may look at what was measured before.
    `others` are subjects that no bound hangs on closely, or that are slow to measure: they get fewer rounds.
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
    anew: bool = False

    @property
    def everybody(self):
        return self.subjects + self.others

    def turns(self):
        """Every run of this work in its order: round, of how many, and subject."""
        for number in range(max(self.rounds, self.rounds_others)):
            for subjects, rounds in ((self.subjects, self.rounds), (self.others, self.rounds_others)):
                if number < rounds:
                    yield from ((number + 1, rounds, subject) for subject in subjects)


class Results:
    """What was measured: reports by work and subject, one for each round, and why some are missing."""

    def __init__(self):
        self.reports = {}
        self.failures = {}

    def add(self, work, subject, report):
        self.reports.setdefault(work, {}).setdefault(subject, []).append(report)

    def fail(self, work, subject, reason):
        self.failures.setdefault(work, {})[subject] = reason

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
    """Runs works. `systems` are the peers by name, `unavailable` the reasons why some cannot be had."""

    systems: dict
    programs: dict
    results: Results = field(default_factory=Results)
    unavailable: dict = field(default_factory=dict)

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
        with ExitStack() as stack:
            running = {}
            for number, rounds, subject in work.turns():
                self.run_one(work, subject, f"{number}/{rounds}", stack, running)

    def run_one(self, work, subject, place, stack, running):
        """One run of one subject, unless its system cannot be had or has failed in this work already."""
        if subject.peer in self.unavailable:
            return self.results.fail(work.name, subject.key, "not available")
        if subject.key in self.results.failures.get(work.name, {}):
            return None
        system = self.systems[subject.peer]
        try:
            if work.anew:
                with system.running() as started:
                    report = self.load(work, subject, started)
            else:
                if subject.peer not in running:
                    running[subject.peer] = stack.enter_context(system.running())
                report = self.load(work, subject, running[subject.peer])
        except peers.Unavailable as reason:
            self.results.fail(work.name, subject.key, str(reason))
            return self.say(f"  {subject.key:28} {reason}")
        self.results.add(work.name, subject.key, report)
        return self.say(f"  {place} {subject.key:24} {summary(report)}")

    def load(self, work, subject, started):
        """Puts the load on and returns the report."""
        system = self.systems[subject.peer]
        if subject.transport not in started.urls:
            raise peers.Unavailable(f"it is not reached over {subject.transport}")
        command = [*self.programs["bench"], work.scenario, "--json"]
        if system.dialect != "wamp":
            command = [*self.programs["load"], work.scenario, "--dialect", system.dialect]
        command += ["--url", started.urls[subject.transport]]
        if subject.serializer:
            command += ["--serializer", subject.serializer]
        if started.pid:
            command += ["--pid", started.pid]
        command += [*work.options(self.results, subject), *subject.options]
        return report_of([str(part) for part in command], work.seconds)

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)


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
    for trouble in ("lost", "out_of_order", "sessions_ended", "stalled", "errors", "missing"):
        if report.get(trouble):
            raise peers.Unavailable(f"{trouble.replace('_', ' ')}: {report[trouble]}")
    return complete(report)


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
