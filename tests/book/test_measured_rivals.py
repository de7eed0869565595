"""What chapters 9 and 10 quote of benchmarks is what was measured, and so are the reports."""

import ast

import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read

from benchmarks import donors, integration

COLUMNS = [  # of the table in chapter 10: deal and score
    ("same cells", "own experiment"),
    ("uneven", "transfer"),
    ("one kind missing", "strangers"),
    ("nothing shared", "lineage"),
]


@pytest.mark.parametrize("benchmark", [integration, donors], ids=["integration", "donors"])
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
    assert len(lines) == 8
    for line in lines:
        rival, *numbers = line.split(" | ")
        for (deal, score), shown in zip(COLUMNS, numbers, strict=True):
            some = runs[(runs.rival == rival.strip()) & (runs.deal == deal)][score]
            assert len(some) >= 3
            expected = [some.min(), some.mean(), some.max()]
            assert list(map(float, shown.split())) == pytest.approx(expected, abs=0.0051)
