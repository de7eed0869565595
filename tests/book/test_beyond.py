"""What chapter 14 quotes from its benchmark is what the stored runs say."""

import ast
import json

import numpy as np
import pytest
from notebooks import BOOK, ROOT, code_cells, read

RESULT = ROOT / "benchmarks" / "results" / "beyond.json"
SEEDS = 5


@pytest.fixture(scope="module")
def runs():
    """What the chapter found, a dictionary for each seed."""
    return list(json.loads(RESULT.read_text(encoding="utf-8")).values())


@pytest.fixture(scope="module")
def quoted():
    """The function that makes gains of what was found, and the gains that are quoted."""
    [cell] = [c for c in code_cells(read(BOOK / "14_beyond.ipynb")) if "def gains(" in c.source]
    parts = [p for p in ast.parse(cell.source).body if isinstance(p, ast.FunctionDef | ast.Assign)]
    names = {}
    exec(compile(ast.Module(parts, []), "gains", "exec"), names)
    return names["gains"], names["GAINS"]


def test_several_seeds_were_run(runs):
    assert len(runs) >= SEEDS
    assert len({run["standard"] for run in runs}) == len(runs)


def test_the_gains_are_those_of_the_runs(runs, quoted):
    gains, shown = quoted
    table = [gains(run) for run in runs]
    assert shown.keys() == table[0].keys()
    for name, numbers in shown.items():
        found = [gain[name] for gain in table]
        assert numbers == pytest.approx((np.mean(found), min(found), max(found)), abs=0.051)


def test_labels_spoiled_by_lot_are_better_outvoted_by_the_rival(runs):
    """The text says so of each run."""
    assert all(run["rival, some at random"] > run["labels, some at random"] for run in runs)


def test_what_patience_leaves_of_the_prior_with_shape(runs):
    pages = [c.source for c in read(BOOK / "14_beyond.ipynb").cells if "in haste, and" in c.source]
    hasty, patient, patience = np.mean(
        [
            (
                run["standard"] - run["mixture of 50"],
                run["standard, patient"] - run["mixture of 50, patient"],
                run["standard"] - run["standard, patient"],
            )
            for run in runs
        ],
        axis=0,
    )
    assert f"gains {hasty:.1f} nats in haste, and {patient:.1f} with patience" in pages[0]
    assert patience > hasty  # two settings are worth more
