"""Tests of perf/compare's parts that run nothing: python3 -m unittest discover -s perf/tests"""

import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comparison import peers, plots, report, runs, works
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

    def test_a_round_that_failed_is_not_made_up_for(self):
        for check in (
            Ratio("title", "m", ("w", "a"), ("w", "b"), "b", at_least=0.9),
            Bound("title", "m", ("w", "a"), 2, "ms", 1, ("w", "b"), "b"),
        ):
            found = results(a=[1, 1], b=[1, 1])
            self.assertTrue(check.verdict(found).passed)
            found.fail("w", "b", "lost: 3")
            self.assertEqual((check.verdict(found).found, check.verdict(found).passed), ("not measured", None))
            found.fail("w", "a", "lost: 1")
            self.assertEqual((check.verdict(found).found, check.verdict(found).passed), ("failed: lost: 1", False))

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
    def test_systems_take_turns_there_and_back_and_others_fewer(self):
        a, b, c = (runs.Subject(name) for name in "abc")
        work = runs.Work("w", "fanout", [a, b], [c], None, 3, 1, 1.0, 1.0)
        turns = [(number, subject.peer) for number, _, subject in work.turns()]
        self.assertEqual(turns, [(1, "a"), (1, "b"), (1, "c"), (2, "b"), (2, "a"), (3, "a"), (3, "b")])

    def test_a_run_is_as_long_as_its_system_is_slow(self):
        for per_second, seconds in ((160, [2]), (32, [2, 8]), (16, [2, 15]), (9, None), (3, None), (0, None)):
            runner, work, asked = Slow(per_second), slow_work(), []
            runner.asked = asked
            if seconds is None:
                self.assertRaises(peers.Unavailable, runner.steady, work, work.subjects[0], None)
                continue
            for _ in range(2):
                runner.steady(work, work.subjects[0], None)
            # The second round knows from the first.
            self.assertEqual(asked, [*seconds, seconds[-1]])

    def test_trouble_is_found_in_every_step(self):
        self.assertIsNone(runs.trouble({"lost": 0, "stalled": False, "steps": [{"lost": 0}]}))
        self.assertEqual(runs.trouble({"unexpected": 2}), "unexpected: 2")
        self.assertEqual(runs.trouble({"steps": [{"out_of_order": 1}, {"lost": 0}]}), "out of order: 1")

    def test_what_the_files_do_not_suffice_for_is_left_out_and_said(self):
        self.assertEqual(works.fitting(works.FULL, 20_000), (works.FULL, []))
        mode, left_out = works.fitting(works.FULL, 4096)
        self.assertEqual((mode.sizes, mode.sessions, len(left_out)), ((10, 100, 1000), 3996, 2))
        self.assertIn("9,000 subscribers", left_out[0])

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


def slow_work():
    return runs.Work("w", "fanout", [runs.Subject("a")], [], None, 1, 1, 2, 15, window=32)


class Slow(runs.Runner):
    """Runs nothing: its system always delivers so many publications in a second."""

    def __init__(self, per_second):
        super().__init__({}, {})
        self.per_second, self.asked = per_second, []

    def load(self, work, subject, started, seconds, warm_up):
        self.asked.append(seconds)
        return {"publications_per_s": self.per_second, "measured_s": seconds}


class Reports(unittest.TestCase):
    def report(self, runner=None):
        plan = works.Plan(works.SMOKE, [], works.GROUPS, ["Left out: something."])
        runner = runner or runs.Runner(peers.systems(Path("fanwire"), Path("relay"), [], Path("certificate")), {})
        return plan, report.Report(plan, runner, report.machine(), "perf/compare", "now", 60)

    def test_a_report_without_figures_is_written(self):
        _, nothing = self.report()
        with tempfile.TemporaryDirectory() as folder:
            nothing.write(Path(folder))
            written = sorted(path.name for path in Path(folder).iterdir())
            self.assertEqual(written, ["RESULTS.md", "plots", "results.json"])
            self.assertIn("Left out: something.", (Path(folder) / "RESULTS.md").read_text())

    def test_a_run_without_latencies_is_not_drawn(self):
        runner = runs.Runner(peers.systems(Path("fanwire"), Path("relay"), [], Path("certificate")), {})
        plan, _ = self.report()
        work = next(work for work in plan.works if work.scenario == "latency")
        runner.results.add(work.name, work.subjects[0].key, {"events_per_s": 1.0})
        self.assertIsNone(self.report(runner)[1].latencies())

    def test_no_place_of_the_machine_is_told(self):
        for text, told in (
            (f"{peers.ROOT}/target/perf/nats is missing", "./target/perf/nats is missing"),
            ("perf/compare --output /home/somebody/out --quick", "perf/compare --output …/out --quick"),
            ("--peer a=ws://127.0.0.1:80/ws --output=/srv/out", "--peer a=ws://127.0.0.1:80/ws --output=…/out"),
            ("ERROR: cannot get https://user@registry.example/simple/nats/ at all", "ERROR: cannot get … at all"),
            ("HTTPSConnectionPool(host='registry.example', port=443)", "HTTPSConnectionPool(host=…, port=443)"),
            ("Could not resolve 'deb.example'", "Could not resolve …"),
            ("12 events/s, CPU out of /proc", "12 events/s, CPU out of /proc"),
        ):
            self.assertEqual(peers.without_places(text), told)
            self.assertEqual(str(peers.Unavailable(text)), told)


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
