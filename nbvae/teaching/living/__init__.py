"""Figures that a reader can move: in the page without a kernel, in a notebook with one."""

from nbvae.teaching.living.batches import two_experiments
from nbvae.teaching.living.counts import catch_rate, negative_binomial
from nbvae.teaching.living.differential import volcano
from nbvae.teaching.living.figure import LivingFigure, script, style
from nbvae.teaching.living.inference import gradient_race, q_by_hand
from nbvae.teaching.living.states import latent_map, state_by_hand

__all__ = [
    "LivingFigure",
    "catch_rate",
    "gradient_race",
    "latent_map",
    "negative_binomial",
    "q_by_hand",
    "script",
    "state_by_hand",
    "style",
    "two_experiments",
    "volcano",
]
