"""What is said when a run breaks: where, and what broke."""

import torch

from nbvae.module.outputs import LossOutput


class TrainingDivergedError(FloatingPointError):
    """A term of the loss became NaN or infinite; the module has the last good weights."""


def broken_terms(output: LossOutput) -> str:
    """Name the terms of a loss that are not finite."""
    terms = {"reconstruction": output.reconstruction, "kl": output.kl}
    broken = [name for name, values in terms.items() if not torch.isfinite(values).all()]
    return " and ".join(broken) or "loss"


def diverged(what: str, epoch: int, step: int) -> TrainingDivergedError:
    """Say where the run broke."""
    return TrainingDivergedError(
        f"In epoch {epoch + 1}, minibatch {step + 1}, the {what} became NaN or infinite. "
        "The module has the last good weights. Lower learning_rate, or look for extreme counts."
    )
