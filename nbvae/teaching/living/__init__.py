"""Figures that a reader can move: in the page without a kernel, in a notebook with one."""

from nbvae.teaching.living.counts import catch_rate, negative_binomial
from nbvae.teaching.living.figure import LivingFigure, script, style
from nbvae.teaching.living.inference import gradient_race, q_by_hand
from nbvae.teaching.living.own_data import gene_choice, quality_control
from nbvae.teaching.living.speed import likelihood_terms, step_costs
from nbvae.teaching.living.states import latent_map, state_by_hand

__all__ = [
    "LivingFigure",
    "catch_rate",
    "gene_choice",
    "gradient_race",
    "latent_map",
    "likelihood_terms",
    "negative_binomial",
    "q_by_hand",
    "quality_control",
    "script",
    "state_by_hand",
    "step_costs",
    "style",
]
