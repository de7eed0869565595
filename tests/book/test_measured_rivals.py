"""What chapters 9 and 10 quote of benchmarks is what was measured, and so are the reports."""

import ast
import re

import numpy as np
import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read
from scipy import stats
from scipy.special import polygamma

from benchmarks import differential, donors, integration, unseen_kinds

COLUMNS = [  # of the table in chapter 10: deal and score
    ("same cells", "own experiment"),
    ("uneven", "transfer"),
    ("one kind missing", "strangers"),
    ("nothing shared", "lineage"),
]


@pytest.mark.parametrize(
    "benchmark", [integration, donors, unseen_kinds], ids=["integration", "donors", "unseen_kinds"]
)
def test_the_report_is_made_of_the_runs(benchmark):
    runs = pd.read_csv(benchmark.STORED)
    assert benchmark.report(runs) == benchmark.STORED.with_suffix(".md").read_text("utf-8")


def test_chapter_10_quotes_the_rivals_scores():
    cells = code_cells(read(BOOK / "10_batches.ipynb"))
    source = next(c.source for c in cells if "results/integration.md" in c.source)
    text = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "RIVALS"
    )
    runs = pd.read_csv(integration.STORED)
    lines = text.strip().splitlines()
    assert len(lines) == 9
    for line in lines:
        rival, *numbers = line.split(" | ")
        for (deal, score), shown in zip(COLUMNS, numbers, strict=True):
            some = runs[(runs.rival == rival.strip()) & (runs.deal == deal)][score]
            assert len(some) >= 5
            expected = [some.min(), some.mean(), some.max()]
            assert list(map(float, shown.split())) == pytest.approx(expected, abs=0.0051)


@pytest.mark.slow
def test_the_glm_of_donors_is_that_of_statsmodels():
    import statsmodels.api as sm  # here only: importing it takes seconds

    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(5, 5 / (5 + rng.gamma(2, 20, (6, 12))))
    counts[:, 0], control = [0, 0, 0, 3, 1, 2], np.arange(6) < 3
    design = sm.add_constant(control.astype(float))
    offset = np.log(counts.sum(axis=1))
    found = donors.glm_t(counts, control)
    assert found[0] == 0  # no counts in a group
    for g in range(1, 12):
        model = sm.GLM(counts[:, g], design, sm.families.Poisson(), offset=offset)
        assert found[g] == pytest.approx(model.fit(scale="X2").tvalues[1], rel=1e-6)


def logs_of_donors(n_genes, prior_freedom, seed):
    """Two groups of three that differ in nothing; variances fall with the mean, and scatter."""
    rng = np.random.default_rng(seed)
    mean = np.sort(rng.uniform(2, 12, n_genes))
    usual = 0.2 * np.exp(-0.2 * mean)
    sd = np.sqrt(usual * prior_freedom / rng.chisquare(prior_freedom, n_genes))
    return (mean + rng.normal(size=(6, n_genes)) * sd).round(3), np.arange(6) < 3


def test_the_moderated_t_of_donors_is_that_of_limma():
    """Oracle: limma as InMoose 0.9.1 has it, lmFit and eBayes(trend=True) on the same table."""
    logs, control = logs_of_donors(40, 8, seed=0)
    t, freedom = donors.moderated_t(logs, control)
    limma = [-0.84964175, -0.08716793, 0.76168831, -0.68919480, -0.05240939, -1.24111034]
    assert t[:6] == pytest.approx(limma, abs=1e-7)
    assert freedom == pytest.approx(4 + 4.634735336, abs=1e-8)


def test_where_its_assumptions_hold_the_moderated_t_is_exact():
    """Oracle: the p-values of 20,000 genes that do not differ are uniform."""
    logs, control = logs_of_donors(20_000, 5, seed=1)
    t, freedom = donors.moderated_t(logs, control)
    assert freedom == pytest.approx(4 + 5, rel=0.15)
    assert stats.kstest(2 * stats.t.sf(abs(t), freedom), "uniform").pvalue > 0.05
    assert donors.prior_freedom(polygamma(1, 3.5)) == pytest.approx(7)
    assert donors.prior_freedom(-0.1) == donors.MOST_FREEDOM


def test_chapter_9_quotes_the_calls_between_donors():
    cells = read(BOOK / "09_using_the_model.ipynb").cells
    [text] = [cell.source for cell in cells if "results/donors.md" in cell.source]
    runs = pd.read_csv(donors.STORED)
    runs = runs[runs.effect].groupby(["s", "rule"]).sum()
    true, share = runs.called - runs.false, (runs.false / runs.called)[0.5]
    found = true[0.5] / donors.SEEDS
    assert f"`replicates` finds {found['by donors']:.0f} of them" in text
    assert f"{share['by donors']:.0%} of its calls".replace("%", " %") in text
    assert f"finds {found['pseudobulk limma']:.0f} on the same sums" in text
    assert f"{share['pseudobulk limma']:.0%} false".replace("%", " %") in text
    others = [(runs.false / runs.called)[s, "pseudobulk limma"] for s in (0.0, 0.2)]
    assert f"({min(others) * 100:.0f} to {max(others):.0%} when".replace("%", " %") in text
    assert all(true[s, "pseudobulk limma"] > true[s, "by donors"] for s in donors.SPREADS)
    assert "with three donors a group, finds none" in text
    assert true[0.5][["pseudobulk t", "pseudobulk GLM"]].max() <= 1
    assert "Over 40 %" in text
    assert share[["by cells", "Wilcoxon"]].min() > 0.4


def test_chapter_9_says_where_the_rank_test_finds_more():
    cells = read(BOOK / "09_using_the_model.ipynb").cells
    [text] = [cell.source for cell in cells if "results/differential.md" in cell.source]
    rows = re.findall(
        r"^\| (.+?) \| (groups|Wilcoxon) \| (\d+), ([\d.]+)% \|",
        differential.RESULT.read_text("utf-8"),
        flags=re.MULTILINE,
    )
    found = {(where, rule): (int(true), float(false)) for where, rule, true, false in rows}
    for where, words in (
        ("thinned, all cells", "({1} against {0} over all cells)"),
        ("thinned, dendritic", "({1} against {0} within dendritic cells)"),
        ("naive / cytotoxic CD8", "{1} where `groups` finds {0}"),
    ):
        (ours, _), (theirs, false) = found[where, "groups"], found[where, "Wilcoxon"]
        assert words.format(ours, theirs) in text
        assert false <= 5
