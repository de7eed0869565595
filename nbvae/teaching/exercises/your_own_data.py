"""Checks for chapter 12, your own data."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy.stats import ttest_rel
from torch import Tensor, nn

from nbvae import MLP, NBVAE, evaluation
from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs, solved
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import (
    apart,
    array,
    close,
    either,
    number,
    sequence,
    slipped,
)

NAMES = ["MT-CO1", "mt-Nd1", "MTOR", "CD3D", "MT1X", "LYZ"]  # two mitochondrial, two that look so
VERDICTS = ("better", "worse", "can't tell")


@exercise("12.1", "three numbers per cell, for human and mouse.")
def check_quality(quality: Callable) -> Diagnosis:
    """Count by hand, cell by cell; then as the usual slips do."""
    rng = inputs()
    order = rng.permutation(len(NAMES))
    counts, names = (rng.poisson(3, (4, len(NAMES))) + 1)[:, order], [NAMES[i] for i in order]
    counts[np.arange(4), rng.choice(len(NAMES), 4)] = [0, 0, 0, 1]
    answer = either(quality, (counts.copy(), list(names)), (counts.copy(), pd.Index(names)))
    parts = sequence(answer, ("library", "genes detected", "mitochondrial share"))
    library, detected, share = (array(part).ravel() for part in parts)
    if not np.array_equal(library, counts.sum(axis=1)):
        if np.array_equal(library, counts.sum(axis=0)):
            return "these are the totals of the genes; a library is the total of a cell."
        return f"the libraries should be {counts.sum(axis=1)}, not {library}."
    found = [sum(n > 0 for n in row) for row in counts]
    if not np.array_equal(detected, found):
        if np.array_equal(detected, [len(NAMES)] * 4):
            return "every gene of the table is counted; count those with a count above 0."
        if np.array_equal(detected, (counts > 1).sum(axis=1)):
            return "a gene with one count is detected, too: count those above 0."
        if np.array_equal(detected, np.array(found) / len(NAMES)):
            return "this is the share of the genes that are detected; their number was asked for."
        return f"genes detected should be {found}, not {detected}."
    return _share_slip(share, [dict(zip(names, row, strict=True)) for row in counts], library)


def _share_slip(share: np.ndarray, cells: list[dict[str, int]], library: np.ndarray) -> Diagnosis:
    """Compare the mitochondrial share with the right one and with the usual slips."""

    def of(*genes: str) -> np.ndarray:
        return np.array([sum(cell[gene] for gene in genes) for cell in cells])

    human, mouse = "MT-CO1", "mt-Nd1"
    right = of(human, mouse) / library
    if share.shape == right.shape and close(share, right):
        return None
    n_found = np.array([sum(cell[gene] > 0 for gene in (human, mouse)) for cell in cells])
    slips = {
        "this is a percentage; a share lies between 0 and 1": 100 * right,
        "genes that only begin with MT are in it, such as MTOR: the hyphen matters":
        [of(human, mouse, "MTOR", "MT1X") / library],
        "human genes that only begin with MT are in it, such as MTOR, and mouse genes are missing":
        [of(human, "MTOR", "MT1X") / library],
        "mouse genes are missing, which begin with mt-": of(human) / library,
        "human genes are missing, which begin with MT-": of(mouse) / library,
        "these are counts; divide by the library": of(human, mouse),
        "it is divided by the other genes' counts instead of all":
        of(human, mouse) / (library - of(human, mouse)),
        "this is the share of genes; it should be the share of counts":
        [n_found / len(NAMES), np.full(len(cells), 2 / len(NAMES)),
         n_found / np.array([sum(n > 0 for n in cell.values()) for cell in cells])],
        "this is the mean of the mitochondrial counts; take their sum":
        of(human, mouse) / 2 / library,
        "this is what is left: one minus the share": 1 - right,
    }  # fmt: skip
    complaint = slipped(share, slips)
    return complaint or Unexplained(f"the shares should be {right.round(3)}, not {share.round(3)}.")


@formula("12.2", "above 20,000 cells it is about 20,000 / N: for 200,000, a tenth of the KL.")
def _last_kl_weight() -> Formula:
    """Walk through the epochs, then compare with the usual slips."""
    sizes = [700, 20_000, 30_000, 68_579, 200_000, 1_000_000, 30_000_000]
    sizes += inputs().integers(21_000, 900_000, 4).tolist()
    slips = {
        "the last of E epochs has the number E − 1": lambda n: _weight(n) + 1 / 400,
        "the weight is 1 only if the run is longer than the warm-up": lambda n: 1.0,
        "a number of epochs is whole: round it": (
            lambda n: (min(400, 8e6 / n) - 1) / 400,
            lambda n: max(0.0, (min(400, 8e6 / n) - 1) / 400)
        ),
        "the number of epochs is rounded to the nearest; this rounds it down or up": (
            lambda n: (max(1, min(400, math.floor(8e6 / n))) - 1) / 400,
            lambda n: (max(1, min(400, math.ceil(8e6 / n))) - 1) / 400,
        ),
        "this is divided by the run's own epochs; the warm-up is 400 whatever the run": lambda n: (
            _weight(n) / (_weight(n) + 1 / 400)
        ),
        "there is at least one epoch, however many the cells": lambda n: (
            min(400, round(8e6 / n)) - 1
        ) / 400,
        "there are at most 400 epochs, however few the cells": (
            lambda n: (max(1, round(8e6 / n)) - 1) / 400,
            lambda n: (round(8e6 / n) - 1) / 400,
            lambda n: min(1, (max(1, round(8e6 / n)) - 1) / 400),
        ),
        "this is the number of the last epoch; divide by 400": lambda n: 400 * _weight(n),
    }  # fmt: skip
    cases = [(n,) for n in sizes]
    return Formula(_weight, cases, slips, names=("n_cells",), sample=(200_000,))


def _weight(n_cells: int) -> float:
    """Walk through the epochs."""
    weight, n_epochs = 0.0, max(1, min(400, round(400 * 20_000 / n_cells)))
    for epoch in range(n_epochs):
        weight = min(1.0, epoch / 400)
    return weight


@exercise("12.3", "with names these columns cost nothing; without them, no error, another number.")
def check_by_place(by_place: Callable) -> Diagnosis:
    """Compare with a module that never had names."""
    rng = inputs()
    table = _table_of_unlike_genes(rng)
    module = NBVAE.for_counts(table, 2, n_hidden=4, seed=int(rng.integers(1000)))
    blind = NBVAE(6, 2, n_hidden=4)
    blind.load_state_dict(module.state_dict())
    right = evaluation.elbo(blind, table[:, ::-1].copy()).neg_elbo
    guarded = evaluation.elbo(module, table).neg_elbo
    names = tuple(table.var_names)
    answer = number(by_place(module, table))
    if module.genes != names:
        return "the module that was passed has lost its names: work on a copy."
    if tuple(table.var_names) != names:
        return "the table that was passed has other names now: work on a copy."
    if close(answer, right, within=1e-4):
        return None
    if abs(answer - guarded) < 0.01 * abs(right - guarded):
        return "nothing has changed: the names are still there, or the columns were not reversed."
    slips = {
        "this is the ELBO; its negative was asked for": -right,
        "this is by how much it rises; the −ELBO itself was asked for": right - guarded,
        "this is a sum over cells; evaluation.elbo gives it per cell": right * table.n_obs,
        "this is how many times as large it is; the −ELBO itself was asked for": right / guarded,
    }
    return slipped(answer, slips, within=1e-4) or Unexplained(
        f"on a small table it should be {apart(answer, right)} nats per cell."
    )


def _table_of_unlike_genes(rng: np.random.Generator) -> AnnData:
    """40 cells × 6 genes, the first of which are common and the last rare."""
    counts = rng.poisson([40, 20, 8, 3, 1, 0.5], size=(40, 6))
    table = AnnData(counts.astype(np.float32))
    table.var_names = ["LYZ", "CD3D", "NKG7", "CD79A", "FCGR3A", "PPBP"]
    return table


@exercise("12.4", "and so every model of ours is one of theirs, with 256 hidden units and zeros.")
def check_one_trunk(one_trunk: Callable) -> Diagnosis:
    """Run both on the same rows; then look which part does not fit."""
    encoders = MLP(7, 3, n_hidden=5), MLP(7, 3, n_hidden=5)
    before = [{k: v.clone() for k, v in encoder.state_dict().items()} for encoder in encoders]
    x = torch.randn(20, 7)
    parts = ("the trunk", "the head of the mean", "that of the log-variance")
    answer = sequence(one_trunk(*encoders), parts)
    if not all(isinstance(part, nn.Linear) for part in answer):
        return "it should return three nn.Linear: the trunk and two heads."
    trunk, *heads = answer
    sizes = [(part.in_features, part.out_features) for part in answer]
    if trunk.out_features != 10:
        return f"the trunk has {trunk.out_features} outputs; two times 5 hidden units are 10."
    if sizes != [(7, 10), (10, 3), (10, 3)]:
        return (
            f"the layers have (inputs, outputs) {sizes}; (7, 10), (10, 3), (10, 3) were asked for."
        )
    for encoder, weights in zip(encoders, before, strict=True):
        if any(not torch.equal(v, weights[k]) for k, v in encoder.state_dict().items()):
            return "the encoders that were passed have changed; make new layers."
    with torch.no_grad():
        expected = [encoder(x) for encoder in encoders]
        hidden = trunk(x)
        outputs = [head(hidden.relu()) for head in heads]
        return _trunk_slip(outputs, expected, heads, hidden, encoders, x)


def _trunk_slip(
    outputs: list[Tensor],
    expected: list[Tensor],
    heads: list[nn.Linear],
    hidden: Tensor,
    encoders: tuple[MLP, MLP],
    x: Tensor,
) -> Diagnosis:
    if all(torch.allclose(a, b, atol=1e-5) for a, b in zip(outputs, expected, strict=True)):
        return None
    if all(torch.allclose(a, b, atol=1e-5) for a, b in zip(outputs, expected[::-1], strict=True)):
        return "the two heads are swapped: the mean comes first."
    parts = [encoder.layers[0](x) for encoder in encoders]
    halves = torch.cat(parts, dim=1), torch.cat(parts[::-1], dim=1)
    if not any(torch.allclose(hidden, half, atol=1e-5) for half in halves):
        return "the trunk's outputs are not those of the two first layers: weights and biases."
    for name, head, encoder in zip(("mean", "log-variance"), heads, encoders, strict=True):
        if head.bias is None or not torch.allclose(head.bias, encoder.output_layer.bias):
            return f"the {name} head has another bias than the encoder's last layer."
    of_mean, of_logvar = (head.weight.split(5, dim=1) for head in heads)
    if any(half.abs().max() > 0 for half in (of_mean[1], of_logvar[0])):
        return "a head sees the other encoder's half of the trunk: its weights there must be 0."
    return "a head does not read its own half of the trunk."


@exercise("12.5", "a verdict that the numbers bear out.")
def check_experiment(experiment: Callable) -> Diagnosis:
    """Whatever was changed: enough seeds, comparable numbers, and a verdict that follows."""
    report = solved(experiment())
    if not isinstance(report, dict):
        return f"a dictionary was asked for, not a {type(report).__name__}."
    missing = [k for k in ("changed", "before", "after", "verdict") if k not in report]
    if missing:
        return f"the report lacks {', '.join(repr(key) for key in missing)}."
    before, after = (array(report[k], what=k).astype(float).ravel() for k in ("before", "after"))
    if not str(report["changed"]).strip():
        return "say in words what was changed."
    if len(before) != len(after):
        return f"{len(before)} runs before and {len(after)} after can't be paired."
    if len(before) < 3:
        return "fewer than three seeds: one run is an anecdote."
    if not np.isfinite([before, after]).all():
        return "a number is not finite."
    if (before < 0).any() or (after < 0).any():
        return "a −ELBO of counts is positive; is this the ELBO?"
    return _report_slip(before, after, report["verdict"])


def _report_slip(before: np.ndarray, after: np.ndarray, verdict: str) -> Diagnosis:
    if verdict not in VERDICTS:
        return f"the verdict should be one of {VERDICTS}, not {verdict!r}."
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return "all seeds give the same number: does the seed reach the split and the weights?"
    if abs(after.mean() / before.mean() - 1) > 0.3:
        return "so large a difference means that the two are not comparable: other genes or cells?"
    if verdict == "can't tell":  # p is too small: runs share most of their cells
        return None
    same = np.array_equal(before, after)
    if same or ttest_rel(before, after).pvalue >= 0.05:
        return "the differences scatter too much for a verdict: p is not below 0.05."
    if verdict == ("better" if after.mean() < before.mean() else "worse"):
        return None
    return "the verdict points the wrong way: a lower −ELBO is better."
