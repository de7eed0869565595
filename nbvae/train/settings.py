"""Everything that decides how a training run goes."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nbvae._arguments import a_seed, true_or_false, whole_number

SCHEDULES = ("one-cycle", "constant")
DEVICES = ("cpu", "cuda", "mps")
MAY_DIFFER = ("device", "progress", "threads")  # between two parts of a run, or two of its ranks
RISE = 0.05  # the share of a one-cycle run in which the learning rate rises; chapter 6
ENOUGH_STEPS = 300  # for 700 cells as for 2,700: more of them over-fit, fewer end too early
FEWEST_EPOCHS = 10  # large data have more steps than that in the first epoch
ESTIMATED = "estimated"  # the prior of θ, from the genes themselves
LEAST_SPREAD = 0.1  # of their log θ: without one the prior could shrink to a point
FASTER_THETA = 3.0  # with that prior: benchmarks/results/length.md


@dataclass(frozen=True)
class TrainerSettings:
    """The settings of a ``Trainer``. Each default has its reason beside it."""

    max_epochs: int | None = None  # None: about 300 steps, at least 10 epochs
    batch_size: int = 128  # 256 and more end a few nats higher on the same number of epochs
    learning_rate: float = 1e-2  # best held-out ELBO of 2e-3, 5e-3, 1e-2, 2e-2 on two PBMC sets
    schedule: str = "one-cycle"  # rise to that rate, then fall to 0; or "constant"; chapter 6
    kl_warmup_epochs: int = 0  # the rising learning rate does what a warm-up is for; chapter 6
    holdout_fraction: float = 0.1  # cells that training never sees; they decide what is best
    stratify_by: str | None = None  # a column of obs: each of its groups gives that fraction
    patience: int | None = None  # stop after this many epochs without a better held-out ELBO
    theta_prior: float | str | None = None  # "estimated" ends lower: benchmarks/results/length.md
    seed: int = 0  # of the split, the order of the cells and the draws of z
    device: str = "auto"  # CUDA if there is one, else CPU; Apple's "mps" only by name
    progress: bool | None = None  # None: a bar in a terminal, nothing in a notebook or a log
    threads: int | None = None  # None: one, at any size; the reasons are in ``nbvae/threads.py``

    def __post_init__(self) -> None:
        """Turn numpy's numbers into Python's, and refuse settings that can't be meant."""
        for field in fields(self):
            value = getattr(self, field.name)
            try:
                if value is not None or field.default is not None:
                    object.__setattr__(self, field.name, _CHECKS[field.name](field.name, value))
            except TypeError as error:
                raise ValueError(str(error)) from None
        if self.max_epochs is not None:
            self._check_warmup(self.max_epochs)
        if self.holdout_fraction == 0 and self.patience is not None:
            raise ValueError(
                f"patience={self.patience} compares the ELBO of held-out cells, but "
                "holdout_fraction=0 holds no cells out. Leave patience out, or hold some out."
            )

    def of_the_run(self) -> dict[str, Any]:
        """Return the settings that all parts and all ranks of a run have to share."""
        return {name: value for name, value in asdict(self).items() if name not in MAY_DIFFER}

    def theta_rate(self) -> float:
        """Return how many times the learning rate log θ moves.

        Adam moves it by about one rate per step, and 300 steps do not lead a marker from where it
        starts to where it ends. A faster θ over-fits rare genes sooner, unless a prior holds it.
        """
        return FASTER_THETA if self.theta_prior == ESTIMATED else 1.0

    def theta_pull(self, log_theta: Tensor, n_cells: int) -> Tensor:
        """Return what the prior log θ ~ N(m, sd²) adds to the gradient of the loss, (G,).

        The loss is a mean over N cells, which have one prior, so that each has its N-th part:
        (log θ − m) / (N · sd²). m is 0, unless mean and spread of all genes' log θ are taken, as
        they are now. That is the gradient of log sd · G/N, what is left of −log p(log θ) / N with m
        and sd at their maximum (empirical Bayes).
        """
        if self.theta_prior == ESTIMATED:
            mean, variance = log_theta.mean(), log_theta.var(correction=0) + LEAST_SPREAD**2
            return (log_theta - mean) / (n_cells * variance)
        assert isinstance(self.theta_prior, float)
        return log_theta / (n_cells * self.theta_prior**2)

    def epochs_for(self, n_cells: int) -> int:
        """Return ``max_epochs``, or its default for this many training cells."""
        if self.max_epochs is not None:
            return self.max_epochs
        steps = math.ceil(n_cells / self.batch_size)
        epochs = max(FEWEST_EPOCHS, math.ceil(ENOUGH_STEPS / steps))
        self._check_warmup(epochs)
        return epochs

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after a share ``progress`` of the run.

        One cycle (Smith 2018): a line up over the first twentieth, then half a cosine down to 0.
        """
        if self.schedule == "constant":
            return self.learning_rate
        if progress < RISE:
            return self.learning_rate * progress / RISE
        fallen = (progress - RISE) / (1 - RISE)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * fallen))

    def kl_weight_at(self, epochs: float) -> float:
        """Return the weight of the KL term after this many epochs: a line from 0 to 1, then 1."""
        warmup = self.kl_warmup_epochs
        return 1.0 if warmup == 0 else min(1.0, epochs / warmup)

    def plan(self, epoch: int, n_epochs: int, n_cells: int) -> list[tuple[float, float]]:
        """Return for each step of an epoch the weight of the KL term and the learning rate."""
        n_steps = math.ceil(n_cells / self.batch_size)
        return [
            (
                self.kl_weight_at(epoch + (step + 1) / n_steps),
                self.learning_rate_at((epoch + (step + 0.5) / n_steps) / n_epochs),
            )
            for step in range(n_steps)
        ]

    def _check_warmup(self, max_epochs: int) -> None:
        if self.kl_warmup_epochs > max_epochs:
            raise ValueError(
                f"kl_warmup_epochs ({self.kl_warmup_epochs}) is more than max_epochs "
                f"({max_epochs}): training would end before the loss is the ELBO. "
                "Raise max_epochs or shorten the warm-up."
            )


def _number(name: str, value: Any, bounds: str) -> float:
    """Take a finite number, Python's or numpy's."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number {bounds}, not {value!r}.")
    return float(value)


def _positive(name: str, value: Any) -> float:
    number = _number(name, value, "above 0")
    if not number > 0:
        raise ValueError(f"{name} must be a number above 0, not {value!r}.")
    return number


def _prior(name: str, value: Any) -> float | str:
    if isinstance(value, str) and value == ESTIMATED:
        return ESTIMATED
    try:
        return _positive(name, value)
    except ValueError:
        words = f'{name} must be "{ESTIMATED}" or a number above 0, not {value!r}.'
        raise ValueError(words) from None


def _fraction(name: str, value: Any) -> float:
    fraction = _number(name, value, "at least 0 and below 1")
    if not 0 <= fraction < 1:
        raise ValueError(f"{name} must be a number at least 0 and below 1, not {value!r}.")
    return fraction


def _schedule(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in SCHEDULES:
        raise ValueError(f"{name} must be one of {SCHEDULES}, not {value!r}.")
    return str(value)


def _column(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the name of a column of obs, not {value!r}.")
    return str(value)


def _device(name: str, value: Any) -> str:
    """Take a name of a device, which another machine may have: a saved trainer keeps it."""
    words = f'{name} must be "auto", "cpu", "cuda", "cuda:1" (the second one) or "mps", not'
    device = str(value) if isinstance(value, (str, torch.device)) else ""
    if device == "auto":
        return device
    try:
        known = torch.device(device).type in DEVICES
    except RuntimeError:
        known = False
    if not known:
        hint = ' A GPU of NVIDIA or AMD is "cuda", one of Apple "mps".' if device == "gpu" else ""
        raise ValueError(f"{words} {value!r}.{hint}")
    return device


_CHECKS = {
    "max_epochs": whole_number,
    "batch_size": whole_number,
    "learning_rate": _positive,
    "schedule": _schedule,
    "kl_warmup_epochs": lambda name, value: whole_number(name, value, least=0),
    "holdout_fraction": _fraction,
    "stratify_by": _column,
    "patience": whole_number,
    "theta_prior": _prior,
    "seed": a_seed,
    "device": _device,
    "progress": true_or_false,
    "threads": whole_number,
}
