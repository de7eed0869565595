"""What chapter 11 says of longer runs is what was measured, and so is the report."""

import ast
import re

import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read
from rules import markdown

from benchmarks import length, results

DISPERSION = "PBMC 3k, by dispersion"


@pytest.fixture(scope="module")
def found():
    return pd.DataFrame(results.stored(length.FILE.parent, length.FILE.name))


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
    assert found[found.data == DISPERSION].seed.nunique() == 6


def test_the_numbers_of_the_chapter(quoted, found):
    means = length.means(found)
    ends = means[["neg_elbo", "bound"]].round(1)
    ways = dict(zip(quoted["LENGTH"], (length.OURS, length.WITH_PRIOR), strict=True))
    for name, by_length in quoted["LENGTH"].items():
        for times, pair in by_length.items():
            assert pair == pytest.approx(tuple(ends.loc[DISPERSION, ways[name], times]))
        assert quoted["ON_SAMPLE"][name] == pytest.approx(tuple(ends.loc["sample", ways[name], 1]))
    rival = means.loc[DISPERSION, length.RIVAL, 1]
    assert quoted["SCVI_BEST"] == pytest.approx((rival.neg_elbo, rival.bound), abs=0.051)
    seconds = rival.cpu_s, means.loc[DISPERSION, length.WITH_PRIOR, 2].cpu_s
    assert sorted(quoted["SECONDS"].values()) == sorted(map(round, seconds))


def test_the_gains_in_the_text(quoted):
    text = markdown(read(BOOK / "11_fast.ipynb"))
    plain, prior = quoted["LENGTH"].values()
    gains = [f"{a - b:.1f}" for n in (1, 2) for a, b in zip(plain[n], prior[n], strict=True)]
    told = re.search(r"takes ≈ ([\d.]+) .* ≈ ([\d.]+) .* steps ≈ ([\d.]+) and ≈ ([\d.]+),", text)
    assert told and list(told.groups()) == gains
    (before, _), (after, _) = quoted["ON_SAMPLE"].values()
    assert f"it costs ≈ {after - before:.1f} nats" in text


def test_at_the_default_length_the_prior_pays_with_every_seed(found):
    """The chapter and the documentation of the setting say so."""
    by_seed = found[(found.data == DISPERSION) & (found.times == 1)].set_index(["way", "seed"])
    for score in ("neg_elbo", "bound"):
        assert (by_seed.loc[length.WITH_PRIOR, score] < by_seed.loc[length.OURS, score] - 1).all()
