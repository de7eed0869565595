"""One measurement in a process of its own: python -m benchmarks.one '{"kind": …}'."""

import contextlib
import json
import logging
import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from anndata import AnnData

from benchmarks import costs, data, quality
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
    """Describe the machine and the versions by what matters for speed; nothing names it."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scvi-tools": metadata.version("scvi-tools"),
        "lightning": metadata.version("lightning"),
        "nbvae": commit(),
    }


def cpu() -> str:
    """Read the model's name; where it is vague, the family and model numbers help."""
    if platform.system() != "Linux":
        return platform.processor()
    info = dict(re.findall(r"^([^\t:]+)\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M))
    numbers = f"family {info.get('cpu family', '?')}, model {info.get('model', '?')}"
    return f"{info.get('model name', platform.machine())} ({numbers})"


def commit() -> str:
    """Name the last commit that changed the package, with a + if files differ from it."""
    failed, last = subprocess.getstatusoutput("git log -1 --format=%h -- nbvae")
    changed = subprocess.getoutput("git status --porcelain -- nbvae")
    return "unknown" if failed else last + ("+" if changed else "")


if __name__ == "__main__":
    main()
