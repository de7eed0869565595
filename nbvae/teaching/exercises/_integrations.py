"""Embeddings of cells whose kinds and experiments are known, good ones and bad: exercise 10.5."""

import numpy as np


def embeddings(
    centres: np.ndarray,
    kinds: np.ndarray,
    batch: np.ndarray,
    lacks: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the good embedding, and bad ones by what is wrong with them."""
    noise = rng.standard_normal((len(kinds), 3))
    good = centres[kinds] + noise
    rivals = {
        "one in which the experiments stay apart": good + np.outer(batch, [0, 0, 9]),
        "one that mixes everything, kinds and experiments": noise,
    }
    if lacks:
        pulled = centres[np.where(kinds == 2, 1, kinds)] + noise
        rivals["one that pulls the kind that experiment 1 lacks onto another"] = pulled
    return good, rivals


def with_a_small_experiment(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One cell in seven is of experiment 1; in the middle of its kind each is a neighbour of all.

    Then about half of all neighbours are of the own experiment, and by chance it is 0.74.

    Returns:
        the good embedding and that bad one, (240, 10); experiments and names of kinds, (240,).

    """
    kinds, batch = np.repeat(np.arange(3), 80), np.tile(np.arange(80) < 12, 3).astype(int)
    centres, noise = 12 * np.eye(3, 10)[kinds], rng.standard_normal((240, 10))
    drawn = noise * np.where(batch == 1, 0.4, 1.0)[:, None]
    return centres + noise, centres + drawn, batch, np.array(["B", "NK", "T"])[kinds]
