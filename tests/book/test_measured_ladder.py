"""What chapter 11 says of further changes to a step is what benchmarks/ladder.py measured."""

import ast
import re

import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read

from benchmarks import ladder

RUNGS = {
    "next minibatch in a second thread": "the next minibatch made in a second thread",
    "large counts: series on top of the table": "above 16 the series alone, on top of the table",
    "one check of the shortcut": "asked once whether the shortcut holds",
    "an epoch's rows at once": "rows of an epoch taken out at once, not by minibatch",
    "each logarithm of a count once": "each logarithm of a count taken once, not twice",
    "a loader compiled by numba": "a loader compiled by numba",
    "one product for both encoders": "one product for both encoders' first layers",
    "Adam on one vector": "Adam on one vector of all weights",
    "Stirling in place of the table": "no table: Stirling's formula for all counts above 1",
    "Adam not fused": "Adam over lists of tensors, not fused",
}


def test_the_chapter_tells_every_rung_and_its_gain():
    (quoted,) = (
        ast.literal_eval(node.value)
        for cell in code_cells(read(BOOK / "11_fast.ipynb"))
        if "benchmarks/results/ladder.md" in cell.source
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "LADDER"
    )
    measured = pd.read_csv(ladder.FILE).set_index(["rung", "data"]).gain
    report = ladder.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert set(RUNGS.values()) == set(measured.index.get_level_values("rung"))
    assert quoted.keys() == RUNGS.keys()
    for name, gains in quoted.items():
        of_sets = [measured[RUNGS[name], data] for data in ("sample", "3000x2000")]
        assert gains == pytest.approx(of_sets, abs=0.0051)  # the file has three digits
        shown = re.search(rf"\| {re.escape(RUNGS[name])} \| ([\d.]+)× .* \| ([\d.]+)× ", report)
        assert shown and tuple(map(float, shown.groups())) == gains
