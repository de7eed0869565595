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
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from benchmarks import data, length, results
from nbvae import GenerativeOutput, nb_sample

FILE = results.FOLDER / "coverage.csv"
SEEDS, LARGER = (0, 1, 2), 1.7
DRAWS = (200, 1000)  # of the predictive distribution; the second for the true z alone


@torch.no_grad()
def rows(module: Any, test: AnnData) -> Iterator[tuple[str, int, float]]:
    """Judge real counts and those of the model. Returns whose, how many draws, and the share."""
    x = torch.from_numpy(test.X[: length.CELLS].toarray()).float()
    library = x.sum(dim=1, keepdim=True)
    torch.manual_seed(1)
    truth = module.generative(module.inference(x).z, library)
    own, twin = (nb_sample(truth.log_px_mean, truth.log_theta) for _ in range(2))

    def inferred(counts: Tensor) -> Callable[[], GenerativeOutput]:
        size = counts.sum(dim=1, keepdim=True)
        return lambda: module.generative(module.inference(counts).z, size)

    few, many = DRAWS
    yield "real counts", few, length.share_inside(x, inferred(x), few)
    yield "model's counts", few, length.share_inside(own, inferred(own), few)
    yield "model's counts, twin", few, length.share_inside(own, inferred(twin), few)
    for draws in (few, many):
        yield "model's counts, true z", draws, length.share_inside(own, lambda: truth, draws)
    module.log_theta += math.log(LARGER)
    yield "real counts, larger θ", few, length.share_inside(x, inferred(x), few)


def main() -> None:
    """Train by default on the sample, with each seed; judge; write the table."""
    torch.set_num_threads(1)
    found = []
    for seed in SEEDS:
        train, test = data.split(length.load("sample", Path()), seed)
        module, _ = length.ours(train, seed, length.OURS, 1)
        found += [
            {"seed": seed, "counts": counts, "draws": draws, "inside": share}
            for counts, draws, share in rows(module, test)
        ]
    pd.DataFrame(found).to_csv(FILE, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
