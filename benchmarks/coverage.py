"""Why 90 % intervals hold more than 90 % of the counts: python -m benchmarks.coverage.

The intervals of length.py hold 92 to 94 % of the counts, whoever drew them. Is the model too
broad, is it the counts' being whole numbers, are 200 draws too few, or is it that z was inferred
from the very counts that are judged? Where counts are drawn from the fitted model itself, nothing
about it is wrong, and the causes can be told apart. For each of the cells of the sample that judge,
z is drawn from q(z | x) and taken to be the truth; from it two lots of counts are drawn, a cell and
its twin.

    real counts             z from the same counts, as in length.py
    real counts, larger θ   the same, with all θ times 1.7
    model's counts          z from the same counts: what a model without fault would show
    model's counts, twin    z from the counts of the twin, so that no count is met twice
    model's counts, true z  nothing is inferred: must be 90 %, if the judge is right

Of the counts with an expectation of at least 1, as in length.py. Writes results/coverage.csv.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from benchmarks import data, length, results
from benchmarks.length import inferred, share_inside
from benchmarks.rivals import trained
from nbvae import GenerativeOutput, nb_sample

FILE = results.FOLDER / "coverage.csv"
SEEDS, LARGER = (0, 1, 2), 1.7
Predict = Callable[[], GenerativeOutput]
DRAWS = (200, 1000)  # of the predictive distribution; the second for the true z alone


@torch.no_grad()
def rows(module: Any, test: AnnData) -> Iterator[dict[str, object]]:
    """Judge real counts and those of the model."""
    x = torch.from_numpy(test.X[: length.CELLS].toarray()).float()
    torch.manual_seed(1)
    truth = inferred(module, x)()
    assert truth.log_theta is not None  # there is one: the likelihood is "nb"
    own, twin = (nb_sample(truth.log_px_mean, truth.log_theta) for _ in range(2))
    few, many = DRAWS

    def judged(name: str, counts: Tensor, predict: Predict, draws: int = few) -> dict[str, object]:
        return {"counts": name, "draws": draws, "inside": share_inside(counts, predict, draws)}

    yield judged("real counts", x, inferred(module, x))
    yield judged("model's counts", own, inferred(module, own))
    yield judged("model's counts, twin", own, inferred(module, twin))
    yield judged("model's counts, true z", own, lambda: truth)
    yield judged("model's counts, true z", own, lambda: truth, many)
    module.log_theta += math.log(LARGER)
    yield judged("real counts, larger θ", x, inferred(module, x))


def main() -> None:
    """Train by default on the sample, with each seed; judge; write the table."""
    torch.set_num_threads(1)
    found = []
    for seed in SEEDS:
        train, test = data.split(data.load("sample"), seed)
        found += [{"seed": seed, **row} for row in rows(trained(train, seed), test)]
    results.write(FILE, pd.DataFrame(found), digits=4)


if __name__ == "__main__":
    main()
