"""The living figures of chapter 11: what the likelihood asks for, and what a step computes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.figure import LivingFigure
from nbvae.teaching.work import GAMMAS, LOGS, PRODUCTS, REST, Work

KINDS = (GAMMAS, LOGS, REST, PRODUCTS)


def likelihood_terms(
    counts: np.ndarray, *, table: int = 16, still: Figure | None = None
) -> LivingFigure:
    """Let the reader choose a count and a θ, and see which terms of (11.2) are computed.

    Args:
        counts: of a minibatch, any shape.
        table: the largest count whose sum is looked up.
        still: the picture for where scripts do not run.

    """
    value, number = np.unique(np.asarray(counts), return_counts=True)
    pairs = [[int(x), int(n)] for x, n in zip(value, number, strict=True)]
    values = {"counts": pairs, "table": table}
    return LivingFigure("likelihood_terms", "The terms of a likelihood", values, still=still)


def step_costs(
    steps: Mapping[tuple[str, str], Work],
    n_counts: int,
    measured: Mapping[str, Sequence[int]],
    parts: Sequence[str],
    *,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader switch each trick on and off, and see what a step computes.

    Args:
        steps: what a step computes, for each pair of a likelihood and a first layer, by the names
            that the reader sees. The first pair is the one that others are compared with.
        n_counts: in the minibatch.
        measured: of some programs, by name, the parts of their time, in one unit for all.
        parts: what takes them, four names.
        still: the picture for where scripts do not run.

    """
    likelihoods, layers = (list(dict.fromkeys(names)) for names in zip(*steps, strict=True))
    counted = [
        [
            {
                "numbers": [float(f"{work.numbers[kind] / n_counts:.4g}") for kind in KINDS],
                "calls": work.calls,
            }
            for work in (steps[likelihood, layer] for layer in layers)
        ]
        for likelihood in likelihoods
    ]
    values = {
        "likelihoods": likelihoods,
        "layers": layers,
        "kinds": KINDS,
        "measured": [[name, list(times)] for name, times in measured.items()],
        "parts": list(parts),
    }
    trained = {"steps": counted}  # other versions of PyTorch call other operators
    return LivingFigure("step_costs", "What a step computes", values, trained=trained, still=still)
