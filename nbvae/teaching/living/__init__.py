"""Figures that a reader can move: in the page without a kernel, in a notebook with one."""

from nbvae.teaching.living.batches import two_experiments
from nbvae.teaching.living.counts import catch_rate, negative_binomial
from nbvae.teaching.living.criticism import calibration
from nbvae.teaching.living.differential import volcano
from nbvae.teaching.living.draft import run_draft, switchboard
from nbvae.teaching.living.drafted import SLIPS, with_slips
from nbvae.teaching.living.figure import LivingFigure, script, style
from nbvae.teaching.living.inference import gradient_race, q_by_hand
from nbvae.teaching.living.maps import many_maps
from nbvae.teaching.living.own_data import gene_choice, quality_control
from nbvae.teaching.living.priors import Drawn, prior_draws
from nbvae.teaching.living.speed import likelihood_terms, step_costs
from nbvae.teaching.living.states import latent_map, state_by_hand
from nbvae.teaching.living.training import Watched, kinds, library_in, on_map, training_scrubber
from nbvae.teaching.living.training_grid import Run, grid_of_runs, training_grid

__all__ = [
    "SLIPS",
    "Drawn",
    "LivingFigure",
    "Run",
    "Watched",
    "calibration",
    "catch_rate",
    "gene_choice",
    "gradient_race",
    "grid_of_runs",
    "kinds",
    "latent_map",
    "library_in",
    "likelihood_terms",
    "many_maps",
    "negative_binomial",
    "on_map",
    "prior_draws",
    "q_by_hand",
    "quality_control",
    "run_draft",
    "script",
    "state_by_hand",
    "step_costs",
    "style",
    "switchboard",
    "training_grid",
    "training_scrubber",
    "two_experiments",
    "volcano",
    "with_slips",
]
