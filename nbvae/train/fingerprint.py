"""What a run is a run of: two parts of one run have to agree in all of it.

A run that is resumed with other labels, say, has another split: cells that are held out now were
trained on before the interruption, and the held-out ELBO is no longer one.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator

import numpy as np
from anndata import AnnData
from torch import nn

from nbvae.data.covariates import covariates_of
from nbvae.data.minibatches import CellTable
from nbvae.data.split import strata
from nbvae.data.store.cells import StoredCounts
from nbvae.files import CheckpointError
from nbvae.module.protocol import TrainableModule

NOT_COMPARED = (
    "training",
    "layer",
)  # a mode; where the counts are (they are compared)
OTHER = {  # a part of a fingerprint, and what is said when it differs
    "genes": "on other genes: their names or their order differ",
    "counts": "on other counts",
    "covariates": "with other covariates: the levels, or the cells' own, differ",
    "library": "with other size factors",
    "labels": "with other labels in the column of stratify_by",
    "split": "that held out other cells",
}


def fingerprint(
    module: TrainableModule,
    adata: AnnData,
    table: CellTable,
    held_out: np.ndarray,
    stratify_by: str | None,
) -> dict[str, list[str]]:
    """Describe a module and digest what it is trained on.

    Args:
        module: before it is trained.
        adata: has the column of the labels.
        table: genes, counts and the design matrix, taken from ``adata`` for the module.
        held_out: row numbers of the cells that are held out.
        stratify_by: the column of the labels, if there is one.

    Returns:
        A list of strings for "module" and each key of ``OTHER``.

    """
    covariates = covariates_of(module)
    labels = [] if stratify_by is None else strata(adata, stratify_by)
    told = [] if covariates is None else covariates.stored()
    design = np.empty((0, 0)) if table.design is None else table.design
    return {
        "module": described(module),
        "genes": [_of_words(map(str, table.genes))],
        "counts": [_of_counts(table)],
        "covariates": [_of_words(told), _of_numbers(design)],
        "library": [] if table.size_factors is None else [_of_numbers(table.size_factors)],
        "labels": [_of_words(labels)],
        "split": [_of_numbers(held_out)],
    }


def moved_by_training(module: TrainableModule, before: list[str]) -> list[str]:
    """Name what a module has itself changed since it was described, say a count of its calls.

    That is part of its state, not of what it is.
    """
    return [line.partition(" = ")[0] for line in set(before) - set(described(module))]


def check_same(
    theirs: dict[str, list[str]],
    ours: dict[str, list[str]],
    moved: Collection[str],
    path: object,
    way_out: str,
) -> None:
    """Compare the fingerprint in a file with that of the run that would resume.

    Args:
        theirs: the one in the file.
        ours: the other.
        moved: what of the module need not agree; from ``moved_by_training``.
        path: the file.
        way_out: what to do if they differ.

    Raises:
        CheckpointError: they differ; in what.

    """
    there, here = (dict(line.split(" = ", 1) for line in of["module"]) for of in (theirs, ours))
    for name in [*here, *there]:
        one, other = (of.get(name, "missing") for of in (there, here))
        if one != other and name not in moved:
            raise CheckpointError(
                f"{str(path)!r} belongs to a run of another module: {name} is {one} there and "
                f"{other} here. {way_out}"
            )
    for part, words in OTHER.items():
        if theirs[part] != ours[part]:
            raise CheckpointError(f"{str(path)!r} belongs to a run {words}. {way_out}")


def described(module: TrainableModule) -> list[str]:
    """Say what each part of a module is, apart from its weights: its class and its settings."""
    if not isinstance(module, nn.Module):
        return [f"module = {type(module).__name__}"]
    return [
        line for name, part in module.named_modules(prefix="module") for line in _part(name, part)
    ]


def _part(name: str, part: nn.Module) -> Iterator[str]:
    """Name a part's class, and what was set on it: numbers, words and functions."""
    kind = type(part).__name__
    if type(part).__module__.startswith("torch."):
        yield f"{name} = {kind}({part.extra_repr()})"
        return
    yield f"{name} = {kind}"
    own = {key: value for key, value in vars(part).items() if key not in NOT_COMPARED}
    own["likelihood"] = getattr(own.get("likelihood"), "log_prob", None)
    for key, value in own.items():
        word = "" if key.startswith("_") else _word(value)
        if word:
            yield f"{name}.{key} = {word}"


def _word(value: object) -> str:
    """Show a number, a word or a function, the same in each process; nothing for anything else."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__name__) if callable(value) else ""


def _of_counts(table: CellTable) -> str:
    """Digest the counts; those of a store were when it was written."""
    counts = table.counts
    if isinstance(counts, StoredCounts):
        columns = np.arange(counts.n_stored) if counts.columns is None else counts.columns
        return f"{counts.fingerprint} {_of_numbers(columns)}"
    starts = counts.indptr.astype(np.int64)  # scipy may store the same in 32 bits or 64
    return _of_numbers(starts, counts.indices.astype(np.int32, copy=False), counts.data)


def _of_words(words: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()


def _of_numbers(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
