"""What chapter 11 quotes from the benchmark is what the benchmark's results say."""

import ast
import json
import statistics

import pytest
from notebooks import BOOK, ROOT, code_cells, read

RESULTS = ROOT / "benchmarks" / "results"
RUNS = [json.loads(line) for line in (RESULTS / "runs.jsonl").read_text().splitlines()]
SETS = {
    "sample: 700 × 765": "sample",
    "3,000 × 2,000": "3000x2000",
    "68,579 × 2,000": "68579x2000",
}


@pytest.fixture(scope="module")
def quoted():
    """The dictionaries of numbers in the chapter, by name."""
    found = {}
    for cell in code_cells(read(BOOK / "11_fast.ipynb")):
        if "benchmarks/results/README.md" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def median_over_nbvae(data, rival):
    """The median of a rival's seconds an epoch over nbvae's of the same round."""
    seconds = {
        (run["rival"], run["seed"]): run["epoch_s"]
        for run in RUNS
        if run["kind"] == "speed" and run["data"] == data
    }
    rounds = [seed for name, seed in seconds if name == rival]
    return statistics.median(seconds[rival, seed] / seconds["nbvae", seed] for seed in rounds)


def test_the_times_of_an_epoch(quoted):
    assert quoted["EPOCH"].keys() == SETS.keys()
    for name, ratios in quoted["EPOCH"].items():
        assert ratios.keys() == {"plain", "textbook", "scvi"}
        for rival, ratio in ratios.items():
            assert ratio == pytest.approx(median_over_nbvae(SETS[name], rival), abs=0.06)


def test_the_cost_of_operators(quoted):
    [measured] = [run["operators"] for run in RUNS if run["kind"] == "operators"]
    for name, cost in quoted["COST"].items():
        assert cost == pytest.approx(measured[name], rel=0.07)


def test_the_shares_of_log_gammas(quoted):
    measured = {
        run["rival"]: run["shares"]["log-gammas and digammas"]
        for run in RUNS
        if run["kind"] == "shares"
    }
    assert quoted["GAMMA_SHARE"].keys() == measured.keys()
    for rival, share in quoted["GAMMA_SHARE"].items():
        assert share == pytest.approx(measured[rival], abs=0.006)


def test_how_much_sooner(quoted):
    report = (RESULTS / "README.md").read_text(encoding="utf-8")
    for name, factor in quoted["SOONER"].items():
        [line] = [
            line
            for line in report.splitlines()
            if line.startswith(f"| {SETS[name]} | its default result |")
        ]
        assert factor == pytest.approx(float(line.split("|")[3].split("×")[0]), abs=0.6)


def test_when_scvi_is_where_its_default_run_ends(quoted):
    runs = {
        run["rival"]: run["points"]
        for run in RUNS
        if run["kind"] == "quality" and run["data"] == "sample" and run["seed"] == 0
    }
    target = runs["scvi"][-1][2]
    for rival, (epoch, seconds) in quoted["REACHED"].items():
        first = next(point for point in runs[rival] if point[2] <= target)
        assert first[:2] == [epoch, pytest.approx(seconds, rel=0.01)]


def rows_of_the_report(section):
    """Yield the cells of each line of a section's tables."""
    report = (RESULTS / "README.md").read_text(encoding="utf-8")
    for line in report.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_range_of_the_rounds(quoted):
    of_sample = {row[2]: row[3] for row in rows_of_the_report("Speed") if row[0] == "sample"}
    for rival, (low, high) in quoted["RANGE"].items():
        assert of_sample[rival].endswith(f"({low} to {high})")


def test_the_floor(quoted):
    times = {row[0]: row[1] for row in rows_of_the_report("Floor")}
    for name, factor in quoted["FLOOR"].items():
        assert factor == pytest.approx(float(times[SETS[name]]), abs=0.05)


def test_where_scvi_ends(quoted):
    ends = {row[0]: row[2:4] for row in rows_of_the_report("Quality") if row[1] == "scvi"}
    for name, (end, lowest) in quoted["ENDS"].items():
        assert [float(number) for number in ends[SETS[name]]] == [end, lowest]
