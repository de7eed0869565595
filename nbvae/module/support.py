"""What a distribution of counts is defined for: the checks that its functions offer."""

import math

import torch
from torch import Tensor

from nbvae._arguments import kind_of

INFINITE = {"log_mean": (-math.inf,), "log_theta": (), "dropout_logits": (-math.inf, math.inf)}


def check_counts(x: Tensor) -> None:
    """Refuse values that no distribution of counts has a probability for.

    Raises:
        TypeError: ``x`` is not a tensor.
        ValueError: it holds a number that is negative, fractional, infinite or NaN.

    """
    _check_tensor("x", x)
    if not x.dtype.is_signed:
        return
    wrong = (x.round().abs() != x) | x.isinf() if x.is_floating_point() else x < 0
    _refuse("x", x, wrong, "whole numbers of at least 0")


def check_logs(**parameters: Tensor) -> None:
    """Refuse parameters that are not numbers; log μ = −inf is one: no count is expected.

    Parameters that are being trained are left out: a trainer watches the loss.

    Args:
        parameters: ``log_mean``, ``log_theta`` and ``dropout_logits``, those that there are.

    Raises:
        TypeError: one of them is not a tensor.
        ValueError: one of them is NaN, as the logarithm of a negative number is, or infinite where
            it must not be.

    """
    for name, values in parameters.items():
        _check_tensor(name, values)
        if values.requires_grad or not values.is_floating_point():
            continue
        wrong = ~values.isfinite()
        for limit in INFINITE[name]:
            wrong &= values != limit
        _refuse(name, values, wrong, "logarithms of numbers above 0")


def _check_tensor(name: str, values: object) -> None:
    if not isinstance(values, Tensor):
        raise TypeError(
            f"{name} must be a tensor, not {kind_of(values)}: pass torch.as_tensor({name})."
        )


def _refuse(name: str, values: Tensor, wrong: Tensor, what: str) -> None:
    """Name the first number that is wrong, if there is one."""
    if bool(wrong.any()):
        place = torch.nonzero(wrong)[0].tolist()
        at = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(
            f"{name} must hold {what}, but {name}{at} is {values[tuple(place)].item()}."
        )
