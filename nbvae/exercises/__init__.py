"""The checks of the book's exercises, one module a chapter, one function an exercise."""

from nbvae.exercises.draft import (
    check_draw,
    check_kl_to_prior,
    check_learned_mean,
    check_neg_elbo,
    check_pick_link,
    check_sabotaged,
)
from nbvae.exercises.fast import (
    check_bag,
    check_log_prob,
    check_residual,
    check_smells,
    check_sum_over_cells,
)
from nbvae.exercises.latent_space import (
    check_beautiful,
    check_expected_squared_distance,
    check_neighbours_agree,
    check_purity,
    check_rotate,
)
from nbvae.exercises.training import (
    check_epochs_to_travel,
    check_hold_out,
    check_kl_weight,
    check_one_epoch,
    check_ruin,
    check_stop,
)
from nbvae.exercises.your_own_data import (
    check_align,
    check_experiment,
    check_last_kl_weight,
    check_one_trunk,
    check_quality,
)

__all__ = [
    "check_align",
    "check_bag",
    "check_beautiful",
    "check_draw",
    "check_epochs_to_travel",
    "check_expected_squared_distance",
    "check_experiment",
    "check_hold_out",
    "check_kl_to_prior",
    "check_kl_weight",
    "check_last_kl_weight",
    "check_learned_mean",
    "check_log_prob",
    "check_neg_elbo",
    "check_neighbours_agree",
    "check_one_epoch",
    "check_one_trunk",
    "check_pick_link",
    "check_purity",
    "check_quality",
    "check_residual",
    "check_rotate",
    "check_ruin",
    "check_sabotaged",
    "check_smells",
    "check_stop",
    "check_sum_over_cells",
]
