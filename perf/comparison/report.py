"""What was measured as tables, as raw figures, and as pictures."""

import json
import math
import os
import platform
import statistics
import subprocess
from pathlib import Path

from . import plots
from .checks import number, spread
from .runs import value
from .works import RAWSOCKET, SUBSCRIBERS, costs_name, fanout_name, of_size

ROOT = Path(__file__).resolve().parent.parent.parent

# Every system has its colour in all pictures: its place in the themes.
HUES = {"fanwire": 0, "fanwire-two": 0, "fanwire-asking": 0, "relay": 1, "uwebsockets": 2, "nats": 3, "crossbar": 4}
HUES_REST = (5, 6, 7)

WAYS = {
    "tcp/msgpack": "RawSocket MessagePack", "ws/msgpack": "WebSocket MessagePack", "ws/json": "WebSocket JSON",
    "tcp": "", "ws": "",
}

# What costs more would press together those who are close.
CPU_NS_DRAWN = 2000

COLUMNS = (
    ("events_per_s", "events/s", 1, True),
    ("calls_per_s", "calls/s", 1, True),
    ("joined_per_s", "sessions/s", 1, True),
    ("join.p50_ns", "join, p50, µs", 1e3, False),
    ("resident_bytes_per_session", "B a session", 1, True),
    ("events_per_busiest_core", "events/s and busiest core", 1, True),
    ("router.cpu_ns_per_event", "CPU per event, ns", 1, False),
    ("last.publications_per_s", "publications/s", 1, True),
    ("last.router.cpu_ns_per_publication", "CPU per publication, ns", 1, False),
    ("last.resident_bytes_per_subscription", "B a subscription", 1, False),
    ("router.cpu_ns_per_call", "CPU per call, µs", 1e3, False),
    ("router.cores", "cores", 1, False),
    ("latency.p50_ns", "p50, µs", 1e3, False),
    ("latency.p99_ns", "p99, µs", 1e3, False),
    ("latency.p99_9_ns", "p99.9, µs", 1e3, False),
    ("lag.p99_ns", "sent late, p99, µs", 1e3, False),
    ("generator_cores", "generator's cores", 1, False),
)


def machine():
    """Where and of what it is measured: to be asked before anything is built."""
    return {
        "cpu": field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "rustc": said(["rustc", "--version"]).removeprefix("rustc "),
        "python": platform.python_version(),
        "commit": said(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]),
        "changed": bool(said(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"])),
    }


def slim(work, report):
    """A report without the course of its latencies, where nothing draws it: that is nine tenths of it."""
    latency = report.get("latency")
    if work.scenario == "latency" or not isinstance(latency, dict):
        return report
    return {**report, "latency": {name: figure for name, figure in latency.items() if name != "points"}}


def field(path, name):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def said(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


class Report:
    """Writes into a folder what a plan's works have brought."""

    def __init__(self, plan, runner, where, command, started, seconds):
        self.plan, self.results, self.seconds_of = plan, runner.results, runner.seconds
        self.systems = {name: runner.systems[name] for name in plan.peers()}
        self.unavailable = runner.unavailable
        self.command, self.started, self.seconds = command, started, seconds
        self.machine = where
        self.verdicts = [(check, check.verdict(self.results)) for check in plan.checks]

    def write_raw(self, folder):
        """The raw figures, from which all else can be told again."""
        folder.mkdir(parents=True, exist_ok=True)
        raw = json.dumps(self.raw(), indent=1, ensure_ascii=False)
        (folder / "results.json").write_text(raw + "\n", encoding="utf-8")

    def write(self, folder):
        self.write_raw(folder)
        pictures = self.pictures()
        (folder / "plots").mkdir(exist_ok=True)
        for name, (_, picture) in pictures.items():
            (folder / "plots" / f"{name}.svg").write_text(picture, encoding="utf-8")
        (folder / "RESULTS.md").write_text(self.text(pictures), encoding="utf-8")

    def raw(self):
        return {
            "started": self.started,
            "command": self.command,
            "machine": self.machine,
            "versions": {name: system.version for name, system in self.systems.items()},
            "unavailable": self.unavailable,
            "left_out": self.plan.left_out,
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds_of.items()},
            "checks": [
                {
                    "title": check.title, "target": check.target, "ours": verdict.ours, "theirs": verdict.theirs,
                    "found": verdict.found, "passed": verdict.passed,
                }
                for check, verdict in self.verdicts
            ],
            "failures": self.results.failures,
            "works": {
                work.name: {key: [slim(work, report) for report in reports]
                            for key, reports in self.results.reports.get(work.name, {}).items()}
                for work in self.plan.works
            },
        }

    def text(self, pictures):
        parts = ["# Fanwire beside other systems", self.circumstances(), self.reached()]
        for name, (title, _) in pictures.items():
            parts.append(f"![{title}](plots/{name}.svg)")
        parts.append("## Every run")
        known = {*self.results.reports, *self.results.failures}
        parts += [self.table(work) for work in self.plan.works if work.name in known]
        if self.unavailable:
            parts.append("## What could not be had")
            parts.append("\n".join(f"- {self.systems[name].title}: {why}" for name, why in self.unavailable.items()))
        return "\n\n".join(parts) + "\n"

    def circumstances(self):
        where = self.machine
        changed = ", with changes that are not committed" if where["changed"] else ""
        versions = [
            f"{system.title} {system.version}" for name, system in self.systems.items()
            if name not in self.unavailable and name != "relay"
        ]
        return (
            f"Written by `{self.command}` on {self.started}, in {self.seconds / 60:.0f} minutes.\n\n"
            "| | |\n| --- | --- |\n"
            f"| machine | {where['cpu']}, {where['cores']} cores, {where['memory_gib']} GiB |\n"
            f"| kernel | {where['kernel']} |\n"
            f"| rustc | {where['rustc']} |\n"
            f"| commit | {where['commit']}{changed} |\n"
            f"| systems | {', '.join(versions)} |\n\n"
            "Everything is on one machine, over loopback, with one load generator of one thread; on few cores it "
            "contends with what it measures. Systems were run in turn in each round; figures are medians of them, "
            "with the lowest and highest in parentheses. CPU is that of the measured process, out of `/proc`. Payload "
            "is 128 B where nothing else is said. What is run is told in [README.md](README.md)."
            + "".join(f"\n\n{what}" for what in self.plan.left_out)
        )

    def reached(self):
        lines = ["## What is to be reached", "| work | Fanwire | beside | to reach | found | |",
                 "| --- | --- | --- | --- | --- | --- |"]
        words = {True: "yes", False: "**no**", None: "–"}
        for check, verdict in self.verdicts:
            lines.append(
                f"| {check.title} | {verdict.ours} | {verdict.theirs} | {check.target} | {verdict.found} "
                f"| {words[verdict.passed]} |"
            )
        return lines[0] + "\n\n" + "\n".join(lines[1:])

    def table(self, work):
        """One work: its subjects, and those of the columns that have figures."""
        reports = self.results.reports.get(work.name, {})
        columns = [
            column for column in COLUMNS
            if any(self.results.rounds(work.name, subject, column[0]) for subject in reports)
        ]
        lines = [
            "| system | " + " | ".join(title for _, title, _, _ in columns) + " |",
            "| --- |" + " --: |" * len(columns),
        ]
        for subject in work.everybody:
            if subject.key in reports:
                cells = [self.cell(work, subject, *column) for column in columns]
                lines.append(f"| {self.title(subject)} | " + " | ".join(cells) + " |")
        failures = self.results.failures.get(work.name, {})
        missing = [
            f"{self.title(subject)}: {failures[subject.key]}." for subject in work.everybody if subject.key in failures
        ]
        tail = "\n\n" + " ".join(missing) if missing else ""
        return f"### {work.name[0].upper()}{work.name[1:]}\n\n" + "\n".join(lines) + tail

    def cell(self, work, subject, metric, _title, scale, spreads):
        rounds = [figure / scale for figure in self.results.rounds(work.name, subject.key, metric)]
        if not rounds:
            return ""
        return number(statistics.median(rounds)) + (spread(rounds) if spreads else "")

    def title(self, subject):
        way = WAYS[f"{subject.transport}/{subject.serializer}".strip("/")]
        return ", ".join(filter(None, [self.systems[subject.peer].title, way, subject.suffix]))

    def hue(self, subject):
        known = [name for name in self.systems if name not in HUES]
        return HUES[subject.peer] if subject.peer in HUES else HUES_REST[known.index(subject.peer) % len(HUES_REST)]

    def pictures(self):
        """The pictures that there are figures for: title and SVG by name."""
        drawn = {
            "events": self.over_subscribers(
                "Events delivered in a second", "more is better", "events_per_s", "events/s", 1),
            "cpu": self.over_subscribers(
                "CPU time for one delivered event", f"less is better; what takes more than {CPU_NS_DRAWN / 1e3:g} µs is "
                "in RESULTS.md", "router.cpu_ns_per_event", "ns", 1, CPU_NS_DRAWN),
            "latency": self.latencies(),
            "memory": self.memory(),
        }
        return {name: picture for name, picture in drawn.items() if picture}

    def over_subscribers(self, title, direction, metric, unit, scale, most=math.inf):
        works = [(size, fanout_name(size)) for size in self.plan.mode.sizes]
        subjects = self.subjects(name for _, name in works)
        series = []
        for subject in subjects:
            rounds = [(size, self.rounds_of(name, size, subject, metric)) for size, name in works]
            points = [(size, statistics.median(figures) / scale) for size, figures in rounds if figures]
            points = [(size, figure) for size, figure in points if figure <= most]
            if points:
                series.append(self.series(subject, points))
        figures = [figure for one in series for _, figure in one.points]
        if not figures:
            return None
        x = plots.Axis("subscribers (one publisher, 32 publications under way, 128 B)", decades(SUBSCRIBERS))
        y = plots.Axis(unit, plots.log_ticks(min(figures), max(figures)))
        return title, plots.lines(title, direction, x, y, series)

    def rounds_of(self, name, size, subject, metric):
        """All rounds of a subject at a size: Fanwire over RawSocket is measured at each in two works."""
        rounds = self.results.rounds(name, subject.key, metric)
        if subject == RAWSOCKET:
            rounds = rounds + self.results.rounds(costs_name(self.plan.mode.sizes), of_size(size).key, metric)
        return rounds

    def latencies(self):
        work = next((work for work in self.plan.works if work.scenario == "latency"), None)
        if not work:
            return None
        series = []
        for subject in work.everybody:
            reports = self.results.reports.get(work.name, {}).get(subject.key, [])
            reports = [report for report in reports if value(report, "latency.points")]
            if subject.scenario or not reports:
                continue
            middle = sorted(reports, key=lambda report: report["latency"]["p99_ns"])[len(reports) // 2]
            points = [
                (1 / (1 - part), nanos / 1e6) for part, nanos in middle["latency"]["points"] if part <= 0.9999 and nanos
            ]
            series.append(self.series(subject, points))
        figures = [figure for one in series for _, figure in one.points]
        if not figures:
            return None
        title = "Latency at half the highest rate of each"
        x = plots.Axis("part of all deliveries that were faster", [
            (1, "0 %"), (10, "90 %"), (100, "99 %"), (1000, "99.9 %"), (10000, "99.99 %")])
        y = plots.Axis("ms", plots.log_ticks(min(figures), max(figures)))
        subtitle = "1,000 subscribers, from when a publication was due to each delivery; less is better"
        return title, plots.lines(title, subtitle, x, y, series)

    def memory(self):
        work = next((work for work in self.plan.works if work.name.startswith("memory of")), None)
        if not work:
            return None
        figures = {
            subject: self.results.median(work.name, subject.key, "resident_bytes_per_session")
            for subject in work.everybody
        }
        items = [
            plots.Bar(self.title(subject), octets / 1024, f"{number(octets / 1024)} KiB", self.hue(subject),
                      subject.peer == "fanwire")
            for subject, octets in figures.items() if octets
        ]
        if not items:
            return None
        title = "Memory of an idle joined session"
        crowd = work.name.removeprefix("memory of ")
        subtitle = f"what {crowd} add to the resident memory, through their number; less is better"
        return title, plots.bars(title, subtitle, items)

    def subjects(self, names):
        """Those of several works, each once."""
        found = {}
        names = set(names)
        for work in self.plan.works:
            if work.name in names:
                found.update((subject.key, subject) for subject in work.everybody)
        return list(found.values())

    def series(self, subject, points):
        strong = subject.peer == "fanwire" and subject.transport == "tcp"
        dashed = subject.serializer == "json" or subject.peer == "relay"
        return plots.Series(self.title(subject), self.hue(subject), points, strong, dashed)


def decades(values):
    """Powers of ten around some values, as ticks."""
    tick, ticks = 10 ** (len(str(min(values))) - 1), []
    while not ticks or ticks[-1][0] < max(values):
        ticks.append((tick, f"{tick:,}"))
        tick *= 10
    return ticks
