"""The living figures of chapter 4."""

from collections.abc import Callable, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from nbvae.teaching.living.figure import LivingFigure, packed

Z = (-12.0, 12.0, 1201)  # where the page integrates: further than six widths of the widest q


def q_by_hand(
    cells: Mapping[str, Callable[[Tensor], Tensor]],
    *,
    start: tuple[float, float] = (-0.8, 1.0),
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader move q = N(m, s²), with one latent number, towards a posterior.

    Args:
        cells: for each, by the name that the reader sees, log p(x | z) of its counts as a
            function of z, (n,) → (n,), in nats.
        start: m and s to begin with.
        still: the picture for where scripts do not run.

    """
    on_grid = [[name, _on_grid(log_lik)] for name, log_lik in cells.items()]
    values = {"z": Z, "cells": on_grid, "start": start}
    label = "An approximate posterior to move by hand"
    return LivingFigure("q_by_hand", label, values, still=still)


def gradient_race(
    log_lik: Callable[[Tensor], Tensor], *, sd: float, still: Figure | None = None
) -> LivingFigure:
    """Let three estimates of the ELBO's slope in m race, from many starts of chance.

    Args:
        log_lik: log p(x | z) of one cell as a function of z, (n,) → (n,), in nats.
        sd: the width s of q = N(m, s²); it stays.
        still: the picture for where scripts do not run.

    """
    values = {"z": Z, "h": _on_grid(log_lik), "s": sd}
    return LivingFigure("gradient_race", "Three estimates of a gradient", values, still=still)


def _on_grid(log_lik: Callable[[Tensor], Tensor]) -> str:
    return packed(log_lik(torch.linspace(*Z, dtype=torch.float64)).numpy())
