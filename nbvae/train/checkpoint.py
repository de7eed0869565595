"""What a file keeps of a module, and whether another module can take it."""

from pathlib import Path
from typing import Any

from nbvae.data.covariates import covariates_of
from nbvae.files import CheckpointError
from nbvae.module.protocol import TrainableModule


def weights_of(module: TrainableModule) -> dict[str, Any]:
    """Copy the weights to where any machine can read them, with the levels of the covariates."""
    weights = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
    return {"weights": weights, "covariates": _covariates(module)}


def load_weights(module: TrainableModule, content: dict[str, Any], path: str | Path) -> None:
    """Load what ``weights_of`` returned, all or nothing.

    Raises:
        CheckpointError: a weight is missing, superfluous, or has another shape; or the module has
            other covariates.

    """
    weights = content["weights"]
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        ours, theirs = own.get(name), weights.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = [None if value is None else tuple(value.shape) for value in (theirs, ours)]
            raise CheckpointError(
                f"{str(path)!r} belongs to another module: {name} has shape {shapes[0]} in the "
                f"file and {shapes[1]} in the module. Build the module with the arguments of the "
                "one that was saved."
            )
    if content["covariates"] != _covariates(module):
        raise CheckpointError(
            f"{str(path)!r} belongs to a module with the covariates {content['covariates']}, this "
            f"one has {_covariates(module)}. Build it with those of the one that was saved."
        )
    module.load_state_dict(weights)


def _covariates(module: TrainableModule) -> list[str] | None:
    covariates = covariates_of(module)
    return None if covariates is None else [covariates.key, *covariates.levels]
