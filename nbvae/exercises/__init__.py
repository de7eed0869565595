"""The checks of the book's exercises, one module a chapter, one function an exercise."""

from nbvae.exercises.batches import (
    check_integration_score,
    check_mixed,
    check_partner_is_right,
    check_perfect_mixing,
    check_thinned_moments,
)
from nbvae.exercises.counts import (
    check_noisy_gene,
    check_poisson_index,
    check_spurious,
    check_thin,
    check_zeros_at_depth,
)
from nbvae.exercises.criticism import (
    check_cells_needed,
    check_fool,
    check_p_value,
    check_pit,
    check_statistic,
)
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
from nbvae.exercises.negative_binomial import (
    check_breaking_point,
    check_draw_counts,
    check_estimate,
    check_for_scipy,
    check_zero_probability,
)
from nbvae.exercises.training import (
    check_epochs_to_travel,
    check_hold_out,
    check_kl_weight,
    check_one_epoch,
    check_ruin,
    check_stop,
)
from nbvae.exercises.using_the_model import (
    check_averaging_weights,
    check_genes_called,
    check_passengers,
    check_path,
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
    "check_averaging_weights",
    "check_bag",
    "check_beautiful",
    "check_breaking_point",
    "check_cells_needed",
    "check_draw",
    "check_draw_counts",
    "check_epochs_to_travel",
    "check_estimate",
    "check_expected_squared_distance",
    "check_experiment",
    "check_fool",
    "check_for_scipy",
    "check_genes_called",
    "check_hold_out",
    "check_integration_score",
    "check_kl_to_prior",
    "check_kl_weight",
    "check_last_kl_weight",
    "check_learned_mean",
    "check_log_prob",
    "check_mixed",
    "check_neg_elbo",
    "check_neighbours_agree",
    "check_noisy_gene",
    "check_one_epoch",
    "check_one_trunk",
    "check_p_value",
    "check_partner_is_right",
    "check_passengers",
    "check_path",
    "check_perfect_mixing",
    "check_pick_link",
    "check_pit",
    "check_poisson_index",
    "check_purity",
    "check_quality",
    "check_residual",
    "check_rotate",
    "check_ruin",
    "check_sabotaged",
    "check_smells",
    "check_spurious",
    "check_statistic",
    "check_stop",
    "check_sum_over_cells",
    "check_thin",
    "check_thinned_moments",
    "check_zero_probability",
    "check_zeros_at_depth",
]
