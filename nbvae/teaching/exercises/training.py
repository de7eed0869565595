"""Checks for chapter 6, training."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor, nn

from nbvae import NBVAE, LossOutput, Trainer, TrainerSettings, TrainingDivergedError, datasets
from nbvae.teaching.exercises._check import Diagnosis, as_tensor, close, exercise, solved


@exercise("6.1", "from 0 to 1 in one line, and no further.")
def check_kl_weight(kl_weight: Callable) -> Diagnosis:
    """Ask for weights before, at and after the end of the warm-up."""
    if not close(_number(kl_weight(3, 0.5, 0)), 1.0):
        return "without warm-up (warmup=0) the weight is 1."
    early = _number(kl_weight(1, 0.5, 10))
    if close(early, 0.1):
        return "it jumps once an epoch; let progress count as a part of an epoch."
    if close(early, 0.15):
        return "one epoch too far: in epoch 1 no epoch has passed yet."
    if not close(early, 0.05):
        return f"half-way through epoch 1 of 10 it should be 0.05, not {early:g}."
    if _number(kl_weight(30, 1.0, 10)) > 1:
        return "it rises above 1 after the warm-up."
    if not close(_number(kl_weight(10, 1.0, 10)), 1.0):
        return "it should reach 1 at the end of the last epoch of the warm-up."
    if not close(_number(kl_weight(30, 0.5, 10)), 1.0):
        return "after the warm-up it should stay at 1."
    if not close(_number(kl_weight(6, 0.5, 10)), 0.55):
        return "half-way through epoch 6 of 10 it should be 0.55: the line is not straight."
    return None


@exercise("6.2", "at 0.001, two units take 400 epochs of five steps.")
def check_epochs_to_travel(epochs_to_travel: Callable) -> Diagnosis:
    """Compare with counting steps one by one."""
    for case in [(2.0, 1e-3, 630, 128), (0.31, 1e-2, 640, 128), (0.5, 1e-2, 100, 128)]:
        distance, rate, n_cells, batch_size = case
        answer = _number(epochs_to_travel(*case))
        needed, each = round(distance / rate), len(range(0, n_cells, batch_size))
        right = next(e for e in range(1, 10_000) if e * each >= needed)
        if answer == right:
            continue
        if answer == needed and each > 1:
            return "these are steps; an epoch has several of them."
        if answer == math.ceil(needed / max(1, n_cells // batch_size)):
            return "the smaller last minibatch is a step too: round the steps of an epoch up."
        if answer in (needed / each, needed // each, round(needed / each)):
            return "a part of an epoch is not enough: round up to whole epochs."
        return f"for {case} it should be {right}, not {answer:g}."
    return None


@exercise("6.3", "the best epoch, and the patience to be sure of it.")
def check_stop(stop: Callable) -> Diagnosis:
    """Try a curve with a dip after the stop, one without a stop, and a plateau."""
    dip = [9.0, 5.0, 6.0, 7.0, 8.0, 1.0]
    best, last = _pair(stop(list(dip), 2))
    if best == 6:
        return "it looked at epochs after the stop; training does not know its future."
    if (best, last) == (1, 3):
        return "epochs count from 1."
    if best == 2 and last in (3, 5):
        return "stop `patience` epochs after the best one, neither earlier nor later."
    if (best, last) != (2, 4):
        return f"for {dip} and patience 2 it should be (2, 4), not ({best}, {last})."
    if _pair(stop([5.0, 4.0, 3.0], 2)) != (3, 3):
        return "a curve that keeps falling is not stopped: the last epoch is the best."
    if _pair(stop([5.0, 4.0, 4.0, 4.0], 2)) != (2, 4):
        return "an epoch that is as good as the best is not better."
    if _pair(stop([5.0, 6.0, 5.5, 4.0, 6.0], 3)) != (4, 5):
        return "patience counts from the best epoch, and starts anew when a better one comes."
    if _pair(stop([5.0, 6.0, 5.5, 5.8, 5.6, 5.7], 3)) != (1, 4):
        return (
            "an epoch better than the last one, but not than the best, does not restore patience."
        )
    return None


@exercise("6.4", "each group gives its share.")
def check_hold_out(hold_out: Callable) -> Diagnosis:
    """Look at the shares of three groups of different size, and at two generators."""
    groups = np.array(["a"] * 100 + ["b"] * 46 + ["c"] * 14)
    seeds = (0, 0, 1, 2, 3)
    draws = [np.asarray(solved(hold_out(groups, 0.1, np.random.default_rng(s)))) for s in seeds]
    for held in draws:
        if held.dtype != bool or held.shape != groups.shape:
            return (
                f"it should be {len(groups)} booleans, one per cell, not {held.dtype} {held.shape}."
            )
        sizes = {group: int(held[groups == group].sum()) for group in "abc"}
        if sizes == {"a": 90, "b": 41, "c": 13}:
            return "the marks are the wrong way round: mark the held-out cells."
        right = {"a": 10, "b": 5, "c": 1}
        if held.sum() == 16 and sizes != right:
            return f"the total is right, but the groups gave {sizes}: draw within each group."
        if sizes != right:
            return f"the groups should give round(10.0), round(4.6), round(1.4) cells, not {sizes}."
    if not np.array_equal(draws[0], draws[1]):
        return "two generators with the same seed give different cells: use rng for every draw."
    if np.array_equal(draws[0], draws[2]):
        return "it takes the same cells whatever the generator: they are not drawn at random."
    return None


@exercise("6.5", "every cell once, in a new order, and the mean is a mean over cells.")
def check_one_epoch(one_epoch: Callable) -> Diagnosis:
    """Watch two epochs of a toy module and its optimiser."""
    x = torch.arange(1.0, 11.0)[:, None]  # ten cells, told apart by their only count
    module = _Watched()
    optimizer = _WatchedSGD(module)
    value = float(as_tensor(one_epoch(module, optimizer, x, 4), (), "the mean loss"))
    first, calls = module.seen, optimizer.calls
    complaint = _watch(first, calls)
    if complaint:
        return complaint
    module.seen = []
    one_epoch(module, optimizer, x, 4)
    if module.order(first) == module.order(module.seen):
        return "both epochs met the cells in the same order: draw a new one each time."
    sizes = torch.tensor([len(batch) for batch in first], dtype=torch.float64)
    losses = torch.tensor(module.losses[: len(first)], dtype=torch.float64)
    if close(value, losses.mean(), within=1e-6):
        return "this is the mean of the minibatches; the small one counts as much as the others."
    if close(value, (losses * sizes).sum(), within=1e-6):
        return "this is the sum over the cells; divide by their number."
    if not close(value, (losses * sizes).sum() / sizes.sum(), within=1e-6):
        return "the value returned is not the mean loss a cell."
    return None


def _watch(seen: list[Tensor], calls: list[str]) -> Diagnosis:
    """Diagnose what one epoch did, from the minibatches and the optimiser's calls."""
    met = sorted(torch.cat(seen).flatten().tolist()) if seen else []
    if len(met) < 10:
        return f"only {len(met)} of 10 cells were met: is the smaller last minibatch dropped?"
    if met != [float(i) for i in range(1, 11)]:
        return "some cells were met more than once: permute them, do not draw with replacement."
    if max(len(batch) for batch in seen) > 4:
        return "a minibatch has more cells than batch_size."
    if not calls:
        return "the optimiser never took a step."
    if "without" in calls:
        return "a step without a gradient: backward comes before step."
    if "piled up" in calls:
        return "gradients pile up: clear them with zero_grad before each backward."
    if len(calls) < len(seen):
        return "there are fewer steps than minibatches: step after each one."
    return None


class _Watched(nn.Module):
    """One weight; remembers the minibatches that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []
        self.losses: list[float] = []

    def forward(self, x: Tensor, *, kl_weight: float = 1.0) -> LossOutput:
        self.seen.append(x.detach().clone())
        each = (x[:, 0] - self.weight).square()
        self.losses.append(each.mean().item())
        return LossOutput(each.mean(), each, torch.zeros(len(x)))

    @staticmethod
    def order(seen: list[Tensor]) -> list[float]:
        return torch.cat(seen).flatten().tolist()


class _WatchedSGD(torch.optim.SGD):
    """Remembers of each step whether its gradient was that of the last minibatch alone."""

    def __init__(self, module: _Watched) -> None:
        super().__init__(module.parameters(), lr=1e-3)
        self.module = module
        self.calls: list[str] = []

    def step(self, closure: Any = None) -> Any:
        weight = self.module.weight
        if weight.grad is None or not self.module.seen:
            self.calls.append("without")
        else:
            fresh = -2 * (self.module.seen[-1][:, 0] - weight.detach()).mean()
            self.calls.append("step" if torch.allclose(weight.grad, fresh) else "piled up")
        return super().step(closure)


def _number(value: object) -> float:
    return float(as_tensor(value, (), "the answer"))


def _pair(value: object) -> tuple[int, int]:
    best, last = solved(value)
    return int(best), int(last)


@exercise("6.6", "and the trainer said nothing: it can't know what a good loss would be.")
def check_ruin(ruin: Callable) -> Diagnosis:
    """Train with the answer's settings and with the defaults, 20 epochs on the sample."""
    settings = dict(solved(ruin()))
    if taken := settings.keys() & _CHECKS_OWN:
        return f"{', '.join(sorted(taken))} is the check's own: choose other settings."
    if not settings:
        return "these are the defaults."
    if unknown := settings.keys() - {field.name for field in fields(TrainerSettings)}:
        return f"TrainerSettings has no {', '.join(sorted(unknown))}."
    adata = datasets.pbmc68k_sample()
    default = _held_out_after_20_epochs(adata)
    try:
        ruined = _held_out_after_20_epochs(adata, **settings)
    except TrainingDivergedError:
        return "the training broke off with an error: someone would notice. Ruin it quietly."
    if ruined < default - 5:
        return "this is better than the defaults. Congratulations, but it is another exercise."
    if ruined < default + 50:
        return "this is less than 50 nats worse than with the defaults."
    return None


_CHECKS_OWN = {"max_epochs", "seed", "holdout_fraction", "stratify_by", "device", "progress"}


def _held_out_after_20_epochs(adata: AnnData, **settings: Any) -> float:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NBVAE.for_counts(adata)
        trainer = Trainer(max_epochs=20, device="cpu", progress=False, **settings)
        return trainer.fit(module, adata)["held_out_neg_elbo"].iloc[-1]
