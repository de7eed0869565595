"""The report's section on a GPU, made from results/gpu.jsonl by code: no number in it is typed."""

import inspect
from textwrap import fill
from typing import Any

import pandas as pd

from benchmarks.results import Columns, document, section, shown, significant

WAYS = {
    "recorded": "nbvae: cells on the GPU, step recorded",
    "in pieces": "the same, cells sent in pieces",
    "eager": "the same, kernel by kernel",
    "loop": "nbvae, minibatches from the host",
    "sparse loop": "the same, the form of the step for a CPU",
    "scvi": "scvi-tools",
}
NAMED = ("torch", "scvi-tools", "lightning")
AIM = 20  # times scvi-tools' epoch
SIZE: Columns = {"minibatch": ("batch_size", "{:.0f}")}
EPOCH: Columns = {
    "s per epoch": ("epoch_s", significant),
    "cells per s": ("cells_per_s", significant),
    "peak MB": ("peak_mb", "{:,.0f}"),
}


def text(lines: list[dict[str, Any]]) -> str:
    """Compose the section of what there is, or nothing.

    ## One GPU

    Written by `python -m benchmarks.gpu`, whose first lines say what its ways are. Each was run
    once, one after the other in one process; seconds per epoch are the median from the second epoch
    on. nbvae's have the evaluation of its held-out cells in them. Memory is what PyTorch took of
    the GPU's at most.
    """
    if not lines:
        return ""
    runs, parts = pd.DataFrame(lines), [(inspect.getdoc(text) or "").split("\n\n", 1)[1]]
    parts.append(machine(lines[0]))
    for table in (epochs, steps, sample, whole, million, store):
        found = runs[runs.part == table.__name__].dropna(axis="columns", how="all")
        if len(found):
            parts += [section(table, found), why(runs) if table is steps else ""]
    return "\n" + document(*parts)


def machine(line: dict[str, Any]) -> str:
    """Say what it was measured on."""
    where = line["machine"]
    versions = ", ".join(f"{name} {where[name]}" for name in NAMED if name in where)
    return f"Measured on one {where['gpu']}, {where['cores']} cores, {versions}."


def epochs(found: pd.DataFrame) -> pd.DataFrame:
    """### Epochs

    Of the set with 68,579 cells × 2,000 genes.
    """
    recorded = found[found.way == "recorded"].set_index("batch_size").epoch_s
    ratio, place = found.epoch_s / found.batch_size.map(recorded), found.way.map([*WAYS].index)
    found = found.assign(way=found.way.map(WAYS), ratio=ratio, place=place)
    columns = {"way": ("way", "{}"), "time ÷ the first": ("ratio", "{:.2f}×")}
    return shown(found.sort_values(["batch_size", "place"]), {**SIZE, **columns, **EPOCH})


def steps(found: pd.DataFrame) -> pd.DataFrame:
    """### A step

    By the GPU's own clock, without the loop around it; the kernels are those that PyTorch's
    profiler sees when the same step is launched kernel by kernel.
    """
    found = found.assign(
        recorded_us=1e3 * found.recorded_ms,
        eager_us=1e3 * found.eager_ms,
        us_per_kernel=found.busy_us / found.kernels,
    )
    columns = {
        "recorded, µs": ("recorded_us", "{:,.0f}"),
        "kernel by kernel, µs": ("eager_us", "{:,.0f}"),
        "kernels": ("kernels", "{:.0f}"),
        "they compute for, µs": ("busy_us", "{:,.0f}"),
        "µs per kernel": ("us_per_kernel", "{:.1f}"),
    }
    return shown(found, {**SIZE, **columns})


def why(results: pd.DataFrame) -> str:
    """Say how far the aim is, and what is in the way."""
    found = {part: rows for part, rows in results.groupby("part")}
    if not {"epochs", "steps", "floor"} <= set(found):
        return ""
    seconds = found["epochs"].pivot_table("epoch_s", "batch_size", "way")
    ratios = (seconds.scvi / seconds.recorded).map("{:.1f}".format)
    step = found["steps"].iloc[0]
    least = found["floor"].set_index("what").us["kernel on 128 × 2000"]
    sentences = [
        f"The aim was an epoch {AIM} times as fast as scvi-tools'.",
        f"It is {' and '.join(ratios)} times as fast, with minibatches of",
        f"{' and '.join(f'{size:.0f}' for size in ratios.index)}.",
        "Launches are not in the way any more: the kernels of a recorded step compute for",
        f"{step.busy_us:.0f} of its {1e3 * step.recorded_ms:.0f} µs.",
        f"There are some {round(step.kernels, -1):.0f} of them,",
        f"each {step.busy_us / step.kernels:.1f} µs long on average,",
        f"where the least that one takes is {least:.1f} µs.",
        "What is left to gain is in fewer kernels, or shorter ones.",
    ]
    return fill(" ".join(sentences), 96)


def sample(found: pd.DataFrame) -> pd.DataFrame:
    """### The sample

    The README's example with three seeds: held-out −ELBO in nats per cell, and the seconds from
    counts to fitted module, on this machine's CPU with one thread and on its GPU.
    """
    table = found.pivot_table(["held_out", "fit_s"], "seed", "device").map("{:.1f}".format)
    columns = {
        "−ELBO, CPU": table["held_out", "cpu"],
        "−ELBO, GPU": table["held_out", "cuda"],
        "CPU, s": table["fit_s", "cpu"],
        "GPU, s": table["fit_s", "cuda"],
    }
    return pd.DataFrame(columns).rename_axis("seed").reset_index().astype({"seed": int})


def whole(found: pd.DataFrame) -> pd.DataFrame:
    """### A whole run

    By default, from counts to fitted module, on nine tenths of the 68,579 cells; −ELBO of the
    others, the same as under Quality.
    """
    columns = {
        "seconds": ("fit_s", "{:.1f}"),
        "epochs": ("epochs", "{:.0f}"),
        "−ELBO": ("test_neg_elbo", "{:.1f}"),
    }
    return shown(found, {**SIZE, **columns})


def million(found: pd.DataFrame) -> pd.DataFrame:
    """### A million cells

    The same cells fifteen times, all of them on the GPU.
    """
    return shown(found, {"cells": ("n_cells", "{:,.0f}"), **SIZE, **EPOCH})


def store(found: pd.DataFrame) -> pd.DataFrame:
    """### From a store

    Three epochs, of which one fiftieth of the cells is held out, from memory and from a store that
    the same process reads with one core; µs per cell that is trained on.
    """
    found = found.assign(us=1e6 * found.fit_s / (0.98 * found.n_cells * found.epochs))
    columns = {"from": ("place", "{}"), "s": ("fit_s", "{:.2f}"), "µs per cell": ("us", "{:.1f}")}
    return shown(found, {"cells": ("n_cells", "{:,.0f}"), **SIZE, **columns})
