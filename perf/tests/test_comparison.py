"""Tests of perf/compare's parts that run nothing: python3 -m unittest discover -s perf/tests"""

import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comparison import plots, runs, works
from comparison.checks import Bound, Ratio, number


def results(**subjects):
    """Results of one work, "w", with the rounds of a metric "m" by subject."""
    filled = runs.Results()
    for subject, rounds in subjects.items():
        for figure in rounds:
            filled.add("w", subject, {"m": figure})
    return filled


class Checks(unittest.TestCase):
    def test_a_ratio_is_taken_within_each_round(self):
        check = Ratio("title", "m", ("w", "a"), ("w", "b"), "b", at_least=0.9)
        verdict = check.verdict(results(a=[90, 10, 30], b=[100, 10, 20, 7]))
        self.assertEqual((verdict.found, verdict.passed), ("1.00 × (0.90 to 1.50)", True))
        self.assertFalse(check.verdict(results(a=[80], b=[100])).passed)

    def test_of_costs_the_other_way_round(self):
        check = Ratio("title", "m", ("w", "a"), ("w", "b"), "b", at_least=4, inverse=True)
        self.assertTrue(check.verdict(results(a=[100], b=[400])).passed)
        self.assertFalse(check.verdict(results(a=[100], b=[399])).passed)

    def test_what_was_not_measured_neither_passes_nor_fails(self):
        check = Ratio("title", "m", ("w", "a"), ("w", "b"), "b", at_least=0.9)
        self.assertIsNone(check.verdict(results(a=[1])).passed)
        self.assertIsNone(Bound("title", "m", ("w", "a"), 2, "ms", 1e6).verdict(results()).passed)

    def test_a_bound_may_stand_above_another_figure(self):
        alone = Bound("title", "m", ("w", "a"), 200, "B", 1)
        self.assertEqual([alone.verdict(results(a=[figure])).passed for figure in (200, 201)], [True, False])
        above = Bound("title", "m", ("w", "a"), 15, "µs", 1e3, ("w", "b"), "b")
        self.assertEqual(above.target, "≤ b + 15.0 µs")
        self.assertTrue(above.verdict(results(a=[115_000], b=[100_000])).passed)
        self.assertFalse(above.verdict(results(a=[116_000], b=[100_000])).passed)

    def test_figures_have_three_digits(self):
        figures = [number(figure) for figure in (0.123, 12.34, 1234, 12_345, 4_600_000)]
        self.assertEqual(figures, ["0.12", "12.3", "1,234", "12.3 k", "4.60 M"])


class Runs(unittest.TestCase):
    def test_systems_take_turns_and_others_fewer(self):
        a, b, c = (runs.Subject(name) for name in "abc")
        work = runs.Work("w", "fanout", [a, b], [c], None, 2, 1, 1.0)
        turns = [(number, subject.peer) for number, _, subject in work.turns()]
        self.assertEqual(turns, [(1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "b")])

    def test_a_report_is_completed(self):
        report = runs.complete({
            "events_per_s": 10, "router": {"busiest_thread_cores": 0.5}, "latency": {"count": 0}, "steps": [1, {"m": 2}],
        })
        self.assertEqual(report["events_per_busiest_core"], 20)
        self.assertEqual(runs.value(report, "last.m"), 2)
        self.assertIsNone(runs.value(report, "latency.p50_ns"))

    def test_every_check_looks_at_something_that_is_run(self):
        for mode in (works.FULL, works.QUICK):
            plan = works.Plan(mode, [], works.GROUPS)
            places = {(work.name, subject.key) for work in plan.works for subject in work.everybody}
            for check in plan.checks:
                self.assertIn(check.ours, places)
                self.assertTrue(check.theirs is None or check.theirs in places, check.title)


class Plots(unittest.TestCase):
    def test_names_keep_their_distance_and_stay_near(self):
        for wanted in ([50, 51, 52, 150], [0, 1, 2, 150], [50, 198, 199, 200]):
            places = plots.spread(wanted, 17, 0, 200)
            self.assertTrue(all(b - a >= 16.99 for a, b in zip(places, places[1:])), places)
            self.assertTrue(places[0] >= 0 and places[-1] <= 200, places)
        self.assertAlmostEqual(plots.spread([50, 51, 52, 150], 17, 0, 200)[1], 51)

    def test_ticks_enclose_what_is_drawn(self):
        for low, high in ((0.5, 0.6), (30, 4e6), (1, 1), (9.9e5, 1.01e6)):
            ticks = [tick for tick, _ in plots.log_ticks(low, high)]
            self.assertTrue(ticks[0] <= low and high <= ticks[-1] and len(ticks) > 1, (low, high, ticks))

    def test_pictures_are_well_formed_and_say_what_they_show(self):
        x = plots.Axis("subscribers", [(10, "10"), (100, "100")])
        y = plots.Axis("events/s", plots.log_ticks(1, 50))
        series = [plots.Series("this & that", 0, [(10, 1), (100, 50)], True), plots.Series("nothing", 1)]
        picture = plots.lines("A < B", "less is better", x, y, series)
        words = [node.text for node in xml.fromstring(picture).iter() if node.tag.endswith("text")]
        self.assertIn("this & that", words)
        self.assertNotIn("nothing", words)
        xml.fromstring(plots.bars("bars", "", [plots.Bar("a", 1.0, "1 KiB", 0), plots.Bar("b", 0.0, "0", 4)]))


if __name__ == "__main__":
    unittest.main()
