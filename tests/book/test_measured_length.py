"""What chapter 11 says of longer runs is what was measured, and so is the report."""

import ast
import re

import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read
from rules import markdown

from benchmarks import length, results

DISPERSION = "PBMC 3k, by dispersion"
WAYS = {
    "twice the steps": (length.OURS, 2),
    "a prior of θ": (length.WITH_PRIOR, 1),
    "both": (length.WITH_PRIOR, 2),
    "scvi-tools at its best": (length.RIVAL, 1),
}
SCORES = ["neg_elbo", "bound"]


@pytest.fixture(scope="module")
def found():
    return pd.DataFrame(results.stored(length.FILE.parent, length.FILE.name))


@pytest.fixture(scope="module")
def changes(found):
    return (
        length.against_default(found)
        .set_index(["data", "way", "times", "seed"])
        .sort_index()[SCORES]
    )


@pytest.fixture(scope="module")
def quoted():
    (cell,) = (
        cell
        for cell in code_cells(read(BOOK / "11_fast.ipynb"))
        if "benchmarks/results/length.md" in cell.source
    )
    assigned = (node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign))
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    }


def test_the_report_is_made_of_the_runs(found):
    assert length.FILE.with_suffix(".md").read_text(encoding="utf-8") == length.text(found)


def test_the_numbers_of_the_chapter(quoted, changes, found):
    assert quoted["CHANGE"].keys() == quoted["RUNS"].keys() == WAYS.keys()
    means = found.groupby(["data", "way", "times"])[["cpu_s", "coverage"]].mean()
    for name, way in WAYS.items():
        of_seeds = changes.loc[(DISPERSION, *way)]
        assert quoted["CHANGE"][name] == pytest.approx(tuple(of_seeds.mean()), abs=0.051)
        assert quoted["RUNS"][name] == len(of_seeds) >= 2
    for name, seconds in quoted["SECONDS"].items():
        assert seconds == round(means.cpu_s[DISPERSION, *WAYS[name]])
    for name, share in quoted["INSIDE"].items():
        way = WAYS.get(name, (length.OURS, 1))
        assert share == round(100 * means.coverage[DISPERSION, *way])


def test_the_numbers_in_its_text(quoted):
    text = markdown(read(BOOK / "11_fast.ipynb"))
    told = re.search(
        r"takes ≈ ([\d.]+) nats off the −ELBO, and with twice the steps ≈ ([\d.]+), and ≈ ([\d.]+) "
        r"off the bound. scvi-tools' best setting takes ≈ ([\d.]+) and ≈ ([\d.]+) off \(on (\d) of "
        r"the (\d) splits; by the bound each is ahead on one of them\)",
        text,
    )
    _, prior, both, scvi = quoted["CHANGE"].values()
    expected = [-prior[0], -both[0], -both[1], -scvi[0], -scvi[1]]
    runs = [quoted["RUNS"]["scvi-tools at its best"], quoted["RUNS"]["both"]]
    assert told and [float(n) for n in told.groups()] == [*expected, *runs]


def test_the_prior_pays_with_every_seed(changes):
    """The chapter and the documentation of the setting say so."""
    assert (changes.loc[DISPERSION, length.WITH_PRIOR, 1] < -1).all(axis=None)
    longer = changes.loc[DISPERSION, length.WITH_PRIOR, 2]
    assert (longer < -2).all(axis=None)
    theirs = changes.loc[DISPERSION, length.RIVAL, 1]
    ahead = longer.loc[theirs.index] < theirs  # on the same splits
    assert ahead.iloc[:, 0].all() and ahead.iloc[:, 1].sum() == 1  # by −ELBO; by the bound
