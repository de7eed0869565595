"""The living figure of chapter 6 that shows runs of a grid: learning rate × warm-up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.counts import LARGEST, whole
from nbvae.teaching.living.figure import LivingFigure

FILE = Path(__file__).with_name("training_grid.json")  # python -m benchmarks.training_grid
IN_USE = 0.1  # nats; a dimension with less says nothing about a cell


class Run(NamedTuple):
    """A run of 45 epochs on the sample; losses and KL in nats per cell, one an epoch."""

    rate: float
    warmup: int  # epochs
    seed: int
    in_use: int  # latent dimensions, of ten
    train: list[float]  # −ELBO, an average over the epoch
    held_out: list[float]  # −ELBO, after it
    kl: list[float]  # held out


def grid_of_runs() -> list[Run]:
    """Return the runs of chapter 6's grid: each rate with each warm-up and three seeds."""
    return [Run(**run) for run in json.loads(FILE.read_text(encoding="utf-8"))]


def training_grid(runs: Sequence[Run], *, no_z: float, still: Figure | None = None) -> LivingFigure:
    """Let the reader pick a learning rate and a warm-up, and see three runs with them.

    Args:
        runs: of every rate with every warm-up and as many seeds each, as long as each other, in
            the order of rate, warm-up and seed.
        no_z: what a model without z scores, in nats.
        still: the picture for where scripts do not run.

    """
    rates = sorted({run.rate for run in runs})
    warmups = sorted({run.warmup for run in runs})
    n_seeds = len({run.seed for run in runs})
    used = np.array([run.in_use for run in runs]).reshape(-1, n_seeds)
    values = {
        "rates": rates,
        "warmups": warmups,
        "seeds": n_seeds,
        "epochs": len(runs[0].kl),
        "used": used.tolist(),
        "curves": whole(np.concatenate([_curves(run) for run in runs])),
    }
    label = "A grid of runs: learning rate and warm-up"
    trained = {"noZ": round(no_z, 1)}
    return LivingFigure("training_grid", label, values, trained=trained, still=still)


def _curves(run: Run) -> np.ndarray:
    """Losses and KL in tenths of nats, as far as two bytes go, in a row."""
    scaled = np.array([run.train, run.held_out, run.kl]) * 10
    return np.rint(np.clip(scaled, 0, LARGEST)).ravel()
