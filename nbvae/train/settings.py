"""Everything that decides how a training run goes."""

import math
from dataclasses import dataclass

SCHEDULES = ("one-cycle", "constant")
RISE = 0.05  # the share of a one-cycle run in which the learning rate rises; chapter 6
ENOUGH_STEPS = 300  # for 700 cells as for 2,700: more of them over-fit, fewer end too early
FEWEST_EPOCHS = 10  # large data have more steps than that in the first epoch


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
    patience: int | None = None  # stop after so many epochs without a better held-out ELBO
    seed: int = 0  # of the split, the order of the cells and the draws of z
    device: str = "auto"  # CUDA if there is one, else CPU; Apple's "mps" only by name
    progress: bool | None = None  # None: a bar in a terminal, nothing in a notebook or a log

    def __post_init__(self) -> None:
        """Refuse settings that can't be meant."""
        _at_least("batch_size", self.batch_size, 1)
        _at_least("kl_warmup_epochs", self.kl_warmup_epochs, 0)
        _at_least("seed", self.seed, 0)
        if self.patience is not None:
            _at_least("patience", self.patience, 1)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, not {self.schedule!r}.")
        if not 0 <= self.holdout_fraction < 1:
            raise ValueError(
                f"holdout_fraction must be at least 0 and below 1, not {self.holdout_fraction}."
            )
        if self.max_epochs is not None:
            _at_least("max_epochs", self.max_epochs, 1)
            self._check_warmup(self.max_epochs)

    def epochs_for(self, n_cells: int) -> int:
        """Return ``max_epochs``, or what it is by default for so many training cells."""
        if self.max_epochs is not None:
            return self.max_epochs
        steps = math.ceil(n_cells / self.batch_size)
        epochs = max(FEWEST_EPOCHS, math.ceil(ENOUGH_STEPS / steps))
        self._check_warmup(epochs)
        return epochs

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate when a share ``progress`` of the run is over.

        One cycle (Smith 2018): a line up over the first twentieth, then half a cosine down to 0.
        """
        if self.schedule == "constant":
            return self.learning_rate
        if progress < RISE:
            return self.learning_rate * progress / RISE
        fallen = (progress - RISE) / (1 - RISE)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * fallen))

    def kl_weight_at(self, epochs: float) -> float:
        """Return the weight of the KL term after so many epochs: a line from 0 to 1, then 1."""
        warmup = self.kl_warmup_epochs
        return 1.0 if warmup == 0 else min(1.0, epochs / warmup)

    def plan(self, epoch: int, n_steps: int, n_epochs: int) -> list[tuple[float, float]]:
        """Return for each step of an epoch the weight of the KL term and the learning rate."""
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


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
