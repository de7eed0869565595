"""The living figure of chapter 6 that shows runs of a grid: learning rate × warm-up."""

import json
from pathlib import Path
from typing import NamedTuple

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
