"""What is to be reached, as a figure, a bound, and where both come from.

A ratio is taken in each round between runs that followed each other, and its median counts; the spread is the lowest
and the highest.
"""

import statistics
from dataclasses import dataclass

UNITS = {
    "events_per_s": ("events/s", 1),
    "calls_per_s": ("calls/s", 1),
    "joined_per_s": ("sessions/s", 1),
    "events_per_busiest_core": ("events/s and core", 1),
    "last.router.cpu_ns_per_publication": ("ns CPU/publication", 1),
    "router.cpu_ns_per_event": ("ns CPU/event", 1),
    "latency.p50_ns": ("µs p50", 1e3),
    "latency.p99_ns": ("µs p99", 1e3),
}


@dataclass
class Verdict:
    """What came of a check: texts for the table, and whether it passed; none if it could not be measured."""

    ours: str = "–"
    theirs: str = "–"
    found: str = "not measured"
    passed: bool | None = None

    def failed(self, results, ours, theirs):
        """Whether a round of either has failed, which no figure of another round makes up for."""
        if results.failure(*ours):
            self.found, self.passed = f"failed: {results.failure(*ours)}", False
        return bool(results.failure(*ours) or theirs and results.failure(*theirs))


@dataclass
class Ratio:
    """Ours through theirs: `at_least` or `at_most` that much. `inverse` is for costs: theirs through ours."""

    title: str
    metric: str
    ours: tuple
    theirs: tuple
    against: str
    at_least: float | None = None
    at_most: float | None = None
    inverse: bool = False

    @property
    def target(self):
        bound = f"≥ {self.at_least:g}" if self.at_most is None else f"≤ {self.at_most:g}"
        return f"{bound} × {self.against}"

    def verdict(self, results):
        ours, theirs = results.rounds(*self.ours, self.metric), results.rounds(*self.theirs, self.metric)
        verdict = Verdict(shown(ours, self.metric), shown(theirs, self.metric))
        if verdict.failed(results, self.ours, self.theirs):
            return verdict
        pairs = [(b, a) if self.inverse else (a, b) for a, b in zip(ours, theirs)]
        ratios = [a / b for a, b in pairs if b]
        if ratios:
            middle = statistics.median(ratios)
            verdict.found = f"{number(middle)} ×" + spread(ratios)
            verdict.passed = middle >= self.at_least if self.at_most is None else middle <= self.at_most
        return verdict


@dataclass
class Bound:
    """Ours at most an allowance, or `at_least` that; above theirs if there is a `theirs`. In units of `scale`."""

    title: str
    metric: str
    ours: tuple
    allowance: float
    unit: str
    scale: float
    theirs: tuple | None = None
    against: str = ""
    derive: object = float  # makes what is compared out of a figure of theirs
    theirs_metric: str = ""
    at_least: bool = False

    @property
    def target(self):
        bound = f"{number(self.allowance)} {self.unit}"
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.against} + {bound}" if self.theirs else f"{sign} {bound}"

    def verdict(self, results):
        ours = [figure / self.scale for figure in results.rounds(*self.ours, self.metric)]
        base = [0.0] * len(ours)
        verdict = Verdict()
        if self.theirs:
            figures = results.rounds(*self.theirs, self.theirs_metric or self.metric)
            base = [self.derive(figure) / self.scale for figure in figures]
            if base:
                verdict.theirs = f"{number(statistics.median(base))} {self.unit}"
        if verdict.failed(results, self.ours, self.theirs):
            return verdict
        if ours and base:
            middle = statistics.median(ours)
            verdict.ours = f"{number(middle)} {self.unit}" + spread(ours)
            over = middle - statistics.median(base)
            verdict.found = f"{over:+.3g} {self.unit}" if self.theirs else f"{number(middle)} {self.unit}"
            verdict.passed = over >= self.allowance if self.at_least else over <= self.allowance
        return verdict


def shown(rounds, metric):
    """The median of a metric with its unit."""
    if not rounds:
        return "–"
    unit, scale = UNITS.get(metric, (metric.rsplit(".", maxsplit=1)[-1].replace("_", " "), 1))
    return f"{number(statistics.median(rounds) / scale)} {unit}"


def spread(rounds):
    """The lowest and the highest of several rounds."""
    return f" ({number(min(rounds))} to {number(max(rounds))})" if len(rounds) > 1 else ""


def number(figure):
    """Three digits that count, with k and M."""
    for scale, letter in ((1e6, " M"), (1e4, " k")):
        if abs(figure) >= scale:
            return f"{digits(figure / (1e3 if letter == ' k' else scale))}{letter}"
    return digits(figure)


def digits(figure):
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"
