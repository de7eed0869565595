"""The checks of the book's exercises, one module a chapter, one function an exercise."""

from nbvae.exercises.draft import (
    check_draw,
    check_kl_to_prior,
    check_learned_mean,
    check_neg_elbo,
    check_pick_link,
)

__all__ = [
    "check_draw",
    "check_kl_to_prior",
    "check_learned_mean",
    "check_neg_elbo",
    "check_pick_link",
]
