"""Files of weights: written whole or not at all, and read without executing anything in them."""

import os
from pathlib import Path
from typing import Any

import torch

from nbvae.data.covariates import covariates_of
from nbvae.module.protocol import TrainableModule


class CheckpointError(ValueError):
    """The file is not what was asked for; nothing was loaded."""


def write_atomically(path: str | Path, content: dict[str, Any]) -> None:
    """Write beside ``path``, then rename: an older file stays until the new one is complete."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save(content, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(path: str | Path, form: str, written_by: str) -> dict[str, Any]:
    """Read tensors, numbers and strings; no code in the file is executed.

    Args:
        path: the file.
        form: what its entry "format" has to be.
        written_by: the function to name when it is not.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged or foreign.

    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{str(path)!r} is damaged or not a checkpoint of nbvae.") from error
    if not isinstance(content, dict) or content.get("format") != form:
        raise CheckpointError(f"{str(path)!r} was not written by {written_by} of this version.")
    return content


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
