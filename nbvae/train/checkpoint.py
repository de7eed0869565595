"""What a file keeps of a module, and whether another module can load it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbvae.data.covariates import covariates_of, size_factor_key_of
from nbvae.data.genes import genes_of
from nbvae.files import CheckpointError
from nbvae.module.protocol import TrainableModule


def weights_of(module: TrainableModule) -> dict[str, Any]:
    """Collect the weights, with the genes and the covariates that they were learned with."""
    genes, covariates = genes_of(module), _covariates(module)
    return {
        "weights": module.state_dict(),
        "covariates": covariates,
        "size_factor_key": size_factor_key_of(module),
        "genes": genes,
    }


def check_fits(module: TrainableModule, content: dict[str, Any], path: str | Path) -> None:
    """Make sure that a module can load what ``weights_of`` returned, before it loads any of it.

    Raises:
        CheckpointError: a weight is missing, unexpected, or has another shape or type; or the
            module has other covariates, size factors or genes.

    """
    weights, covariates, genes = (content[name] for name in ("weights", "covariates", "genes"))
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        for what, of in (("shape", _shape), ("type", _type)):
            theirs, ours = of(weights.get(name)), of(own.get(name))
            if theirs != ours:
                raise CheckpointError(
                    f"{str(path)!r} belongs to another module: {name} has {what} {theirs} in the "
                    f"file and {ours} in the module. Build the module with the arguments of the "
                    "one that was saved."
                )
    if covariates != _covariates(module):
        raise CheckpointError(
            f"{str(path)!r} belongs to a module with the covariates {covariates}, this one has "
            f"{_covariates(module)}. Build it with those of the one that was saved."
        )
    if content["size_factor_key"] != size_factor_key_of(module):
        raise CheckpointError(
            f"{str(path)!r} belongs to a module with size_factor_key="
            f"{content['size_factor_key']!r}, this one has {size_factor_key_of(module)!r}."
        )
    if genes is not None and genes_of(module) not in (None, genes):
        raise CheckpointError(
            f"{str(path)!r} belongs to a module of other genes, or of these in another order: "
            "build the module with the cells that the saved one was built with."
        )


@contextmanager
def complete(path: str | Path) -> Iterator[None]:
    """Say that a file is not complete, where the code inside misses something in it.

    Raises:
        CheckpointError: an entry is missing, or not what it should be.

    """
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is not complete: {type(error).__name__}: {error}. Nothing was loaded."
        ) from error


def _shape(weight: Any) -> tuple[int, ...] | None:
    return None if weight is None else tuple(getattr(weight, "shape", ()))


def _type(weight: Any) -> str:
    return str(getattr(weight, "dtype", type(weight).__name__)).removeprefix("torch.")


def _covariates(module: TrainableModule) -> list[dict[str, Any]] | None:
    covariates = covariates_of(module)
    return None if covariates is None else covariates.stored()
