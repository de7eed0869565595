"""Watching what an answer draws: with which generator, from which distributions, how widely."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from nbvae.teaching.exercises._check import Diagnosis
from nbvae.teaching.exercises._reading import array

IMPOSSIBLE = 1e-9  # a right answer that draws at random is refused less often than this
SIGMAS = 6.0  # the same, in standard errors


class Watched(np.random.Generator):
    """A generator that counts what is drawn from it, by the name of the method."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.drawn: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        """Wrap the methods that draw."""
        method = super().__getattribute__(name)
        if name.startswith("_") or name in ("drawn", "bit_generator", "spawn"):
            return method

        def watched(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            self.drawn[name] += np.size(result)
            return result

        return watched


def generator_slip(draw: Callable[[np.random.Generator], Any]) -> Diagnosis:
    """Say what is wrong with the use of `rng`: the same seed should repeat a draw, another not."""
    first, again, other = (array(draw(np.random.default_rng(seed))) for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        return "two generators with the same seed give different results: take all draws from rng."
    if np.array_equal(first, other):
        return "every generator gives the same: draw with rng."
    return None


def off_by(values: np.ndarray, mean: np.ndarray | float, axis: int | None = 0) -> np.ndarray:
    """Return by how many standard errors the mean of draws is off."""
    n = values.size if axis is None else values.shape[axis]
    error = values.std(axis=axis) / np.sqrt(n)
    return np.asarray(values.mean(axis=axis) - mean) / np.maximum(error, 1e-12)


def fits(counts: np.ndarray, probability: np.ndarray) -> bool:
    """Whether whole numbers could have been drawn with these probabilities of 0, 1, 2, …

    The χ² test, with neighbours taken together until each expects five. The probabilities may stop
    short of 1; what is left belongs to larger counts.
    """
    observed = np.bincount(counts.astype(int), minlength=len(probability)).astype(float)
    observed = np.append(observed[: len(probability)], observed[len(probability) :].sum())
    expected = len(counts) * np.append(probability, max(0.0, 1 - probability.sum()))
    if observed[expected <= 0].any():
        return False
    together = np.minimum(np.cumsum(expected) // 5, expected.sum() // 5 - 1).astype(int)
    seen, hoped = (np.bincount(np.unique(together, return_inverse=True)[1], weights=w)
                   for w in (observed, expected))  # fmt: skip
    if len(hoped) < 2:
        return True
    return bool(stats.chi2.sf(((seen - hoped) ** 2 / hoped).sum(), len(hoped) - 1) > IMPOSSIBLE)
