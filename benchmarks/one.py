"""One measurement in a process of its own: python -m benchmarks.one '{"kind": …}'.

Before the clock starts, everything is imported, the data are in memory, and the rival has been
trained for one epoch on 256 cells: what Python and PyTorch do once a process (the first optimizer
takes a second) is not counted, for no rival. The clock runs from the raw counts in an AnnData
to the fitted module: checking, setting up, training, and choosing weights are in it.
"""

import contextlib
import json
import logging
import statistics
import sys
import warnings

from anndata import AnnData

from benchmarks import data, scores
from benchmarks.floor import floor
from benchmarks.machine import described, peak_memory
from benchmarks.operators import operators
from benchmarks.rivals import rival
from benchmarks.shares import shares
from benchmarks.task import Fitted, Task
from benchmarks.watch import Watch
from nbvae import evaluation

WARM_UP_CELLS = 256


def speed(spec: dict) -> dict:
    """Measure seconds an epoch and memory: few epochs, no evaluation but the rival's own."""
    adata = data.load(spec["data"])
    task = Task(adata, Watch(), spec["seed"], spec["max_epochs"], spec["device"])
    before = peak_memory()
    warm_up(spec["rival"], task)
    rival(spec["rival"])(task)
    memory = {"memory_before_mb": round(before), "memory_mb": round(peak_memory())}
    return {**data.facts(adata), **timed(task.watch), **memory}


def quality(spec: dict) -> dict:
    """Let a rival train as its defaults say; judge it by cells that it never saw."""
    adata = data.load(spec["data"])
    train, test = data.split(adata, spec["seed"])
    watch = Watch(look=lambda module: scores.neg_elbo(module, test))
    task = Task(train, watch, spec["seed"], spec["max_epochs"], spec["device"])
    warm_up(spec["rival"], task)
    fitted = rival(spec["rival"])(task)
    final = scores.of_counts(fitted.module, test)
    watch.points.append((fitted.epochs, watch.total, scores.neg_elbo(fitted.module, test)))
    points = [(epoch, round(s, 4), round(value, 3)) for epoch, s, value in watch.points]
    return {
        **data.facts(adata),
        **timed(watch),
        **final,
        **_labels(fitted, adata, spec["seed"]),
        "n_test": test.n_obs,
        "points": points,
    }


def pca(spec: dict) -> dict:
    """Score the embedding that needs no model."""
    adata = data.load(spec["data"])
    chosen = scores.cells_with_labels(adata, spec["seed"])
    if chosen is None:
        return data.facts(adata)
    embedding = scores.pca(chosen, seed=spec["seed"])
    labels = chosen.obs["cell_type"].to_numpy()
    return {**data.facts(adata), **scores.of_labels(embedding, labels, spec["seed"])}


def warm_up(name: str, task: Task) -> None:
    """Train once on a few cells, uncounted."""
    few = task.adata[: min(WARM_UP_CELLS, task.adata.n_obs)].copy()
    rival(name)(Task(few, Watch(), task.seed, 1, task.device))


def timed(watch: Watch) -> dict[str, float]:
    """Sum up a watch: the median epoch (the first has the setting-up in it), and the whole fit."""
    epochs = [later - earlier for earlier, later in zip(watch.laps, watch.laps[1:], strict=False)]
    return {
        "epochs": len(watch.laps),
        "epoch_s": statistics.median(epochs or watch.laps),
        "fit_s": watch.total,
    }


def _labels(fitted: Fitted, adata: AnnData, seed: int) -> dict[str, float]:
    chosen = scores.cells_with_labels(adata, seed)
    if chosen is None:
        return {}
    embedding = evaluation.encode(fitted.module, chosen).mean
    return scores.of_labels(embedding, chosen.obs["cell_type"].to_numpy(), seed)


def prepare(spec: dict) -> dict:
    """Make the data set if it is a generated one: that takes memory, which is not to be counted."""
    return data.facts(data.load(spec["data"]))


KINDS = {
    "prepare": prepare,
    "speed": speed,
    "quality": quality,
    "pca": pca,
    "floor": lambda spec: floor(spec["data"]),
    "shares": lambda spec: {**data.facts(data.load(spec["data"])), "shares": shares(spec)},
    "operators": lambda spec: {**data.facts(data.load(spec["data"])), "operators": operators()},
}


def main() -> None:
    """Measure what the argument says; the last line of the output is the result, as JSON."""
    spec = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")  # of other packages; what is wrong raises
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        result = KINDS[spec["kind"]](spec)
    print(json.dumps({**spec, **result, "machine": described()}))


if __name__ == "__main__":
    main()
