"""One measurement in a process of its own: python -m benchmarks.one '{"kind": …}'."""

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from anndata import AnnData

from benchmarks import costs, data, experiment, quality
from benchmarks.plan import Spec

KINDS: dict[str, Callable[[AnnData, Spec], dict[str, Any]]] = {
    "prepare": lambda *_: {},  # the data are made: that takes memory, which is not to be counted
    **{kind.__name__: kind for kind in (costs.speed, costs.floor, costs.shares, costs.operators)},
    "quality": quality.quality,
    "pca": quality.of_labels,
}


def main() -> None:
    """Measure what the argument says; the last line of the output is the result, as JSON."""
    spec = Spec(**json.loads(sys.argv[1]))
    warnings.simplefilter("ignore")  # of other packages; what is wrong raises
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        adata = data.load(spec.data)
        result = {**data.facts(adata), **KINDS[spec.kind](adata, spec)}
    print(json.dumps({**spec._asdict(), **result, "machine": machine()}))


def machine() -> dict[str, str | int | None]:
    """Describe the machine, with its GPU, and the versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": gpu, **experiment.machine("torch", "scvi-tools", "lightning")}


if __name__ == "__main__":
    main()
