"""A module in a file: everything that is needed to build it again, and its weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nbvae.data.covariates import Covariates
from nbvae.data.genes import genes_of
from nbvae.files import CheckpointError, read, write_atomically
from nbvae.module.likelihoods import LIKELIHOODS

NBVAE = Any  # whose file imports this one

FORMAT = "nbvae module 2"
TYPES = {"float32": torch.float32, "float64": torch.float64}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
CHANGED = "torch.save(module, path) keeps it as it is, but runs code when it is read."


def save(module: NBVAE, path: str | Path) -> None:
    """Write a module to a file; what the file can't hold is refused.

    Raises:
        ValueError: a part was replaced, so that the arguments no longer say what the module is.
        OSError: the file can't be written.

    """
    content = {
        "format": FORMAT,
        "class": type(module).__name__,
        "arguments": arguments_of(module),
        "covariates": module.covariates and module.covariates.stored(),
        "genes": genes_of(module),
        "layer": module.layer,
        "dtype": str(module.dtype).removeprefix("torch."),
        "weights": module.state_dict(),
    }
    _check_as_built(module, content)
    write_atomically(path, content)


def load(cls: Any, path: str | Path) -> Any:
    """Build the module that ``save`` wrote, on the CPU; no code in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, foreign, or of another class than ``cls``.

    """
    content = read(path, FORMAT, "NBVAE.save")
    if content["class"] != cls.__name__:
        raise CheckpointError(
            f"{str(path)!r} holds a {content['class']}, not a {cls.__name__}: "
            f"{content['class']}.load(path) reads it."
        )
    try:
        module = _built(cls, content)
        module.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(path)!r} does not hold a whole module: {error}") from error
    return module


def arguments_of(module: NBVAE) -> dict[str, Any]:
    """Collect what the module was built with, except for its covariates."""
    named = [name for name, known in LIKELIHOODS.items() if known == module.likelihood]
    if not named:
        raise ValueError(f"This module's likelihood has no name in LIKELIHOODS. {CHANGED}")
    names = ["n_genes", "n_latent", "n_hidden", "n_layers"]
    names += ["dispersion", "encode_covariates", "size_factor_key"]
    return {**{name: getattr(module, name) for name in names}, "likelihood": named[0]}


def _built(cls: Any, content: dict[str, Any]) -> NBVAE:
    """Build a module from what a file says, before its weights."""
    of_cells = content["covariates"]
    covariates = None if of_cells is None else Covariates.from_stored(of_cells)
    with torch.random.fork_rng():  # the first weights are drawn and thrown away
        module = cls(**content["arguments"], covariates=covariates)
    module.genes, module.layer = content["genes"], content["layer"]
    return module.to(TYPES[content["dtype"]])


def _description(part: nn.Module | None) -> tuple[object, ...]:
    """What decides what a part computes, apart from its weights: layers, functions, hooks."""
    if part is None:
        return ()
    functions = {name: value for name, value in vars(part).items() if callable(value)}
    parts = [name for name, _ in part.named_children()]
    hooks = [len(getattr(part, hook)) for hook in HOOKS]
    return type(part), part.extra_repr(), parts, functions, hooks


def _check_as_built(module: NBVAE, content: dict[str, Any]) -> None:
    """Refuse a module that is not what its class builds from its arguments."""
    try:
        rebuilt = _built(type(module), content)
    except TypeError as error:
        raise ValueError(
            f"{type(module).__name__} can't be built from the arguments of NBVAE ({error}), so "
            f"that it can't be loaded again. {CHANGED}"
        ) from error
    as_built = dict(rebuilt.named_modules())
    for name, part in module.named_modules():
        if _description(part) != _description(as_built.get(name)):
            raise ValueError(
                f"module.{name or '…'} is not as {type(module).__name__} builds it: it was "
                f"replaced or has hooks, which the file can't hold. {CHANGED}"
            )
