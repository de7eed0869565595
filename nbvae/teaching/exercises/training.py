"""Checks for chapter 6, training; the fifth is in `epoch`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch

from nbvae import NBVAE, Trainer, TrainerSettings, TrainingDivergedError, datasets
from nbvae.teaching.exercises._check import (
    Diagnosis,
    Unexplained,
    WrongFormError,
    exercise,
    inputs,
    solved,
)
from nbvae.teaching.exercises._drawing import generator_slip
from nbvae.teaching.exercises._formula import Formula, formula, in_page
from nbvae.teaching.exercises._reading import number, numbers


@exercise("6.1", "from 0 to 1 in one line, and no further.")
def check_kl_weight(kl_weight: Callable) -> Diagnosis:
    """Ask for weights before, at and after the end of the warm-up."""
    share = float(inputs().uniform(0.3, 0.7))
    if any(number(kl_weight(epoch, p, 0)) != 1 for epoch, p in ((1, share), (3, 1.0))):
        return "without warm-up (warmup=0) the weight is 1."
    return _kl_weight().diagnose(kl_weight)


@in_page("6.1")
def _kl_weight() -> Formula:
    rng = inputs()
    warmup, share = int(rng.integers(8, 16)), float(rng.uniform(0.3, 0.7))
    cases = [
        (1, share, warmup), (1, 1.0, warmup), (4, share, warmup), (warmup - 1, share, warmup),
        (warmup, share, warmup), (warmup, 1.0, warmup), (warmup + 1, share, warmup),
        (3 * warmup, share, warmup), (1, share, 1), (2, share, 1),
    ]  # fmt: skip
    slips = {
        "it jumps once an epoch; let progress count as a part of an epoch":
        (lambda e, p, w: min(1, e / w), lambda e, p, w: min(1, (e - 1) / w)),
        "one epoch too far: in epoch 1 no epoch has passed yet":
        lambda e, p, w: min(1, (e + p) / w),
        "it rises above 1 after the warm-up": lambda e, p, w: (e - 1 + p) / w,
        "after the warm-up it should stay at 1":
        lambda e, p, w: (e - 1 + p) / w if e <= w else 0,
        "it should reach 1 at the end of the last epoch of the warm-up, and not before":
        (lambda e, p, w: min(1, (e - 1 + p) / max(1, w - 1)), lambda e, p, w: 1 if e >= w else
         (e - 1 + p) / w),
        "it reaches 1 an epoch late: the warm-up ends with epoch `warmup`":
        lambda e, p, w: min(1, (e - 1 + p) / (w + 1)),
        "progress is a share of one epoch, not of the whole warm-up":
        (lambda e, p, w: min(1, p), lambda e, p, w: min(1, (e - 1) / w + p)),
        "it falls from 1 to 0: a warm-up begins without the KL":
        lambda e, p, w: 1 - min(1, (e - 1 + p) / w),
        "the line is not straight": (
            lambda e, p, w: min(1, (e - 1 + p) / w) ** 2,
            lambda e, p, w: (1 - math.cos(math.pi * min(1, (e - 1 + p) / w))) / 2,
            lambda e, p, w: min(1, (e - 1 + p) / w) ** 0.5,
        ),
    }  # fmt: skip
    return Formula(
        lambda e, p, w: min(Fraction(1), (e - 1 + Fraction(p)) / w),
        cases,
        slips,
        names=("epoch", "progress", "warmup"),
        sample=(4, 0.5, 10),
    )


@formula("6.2", "at 0.001, two units take 400 epochs of five steps.")
def _epochs_to_travel() -> Formula:
    """Compare with counting steps one by one, of distances given in decimals."""
    rng = inputs()
    full = int(rng.integers(3, 7))
    cases = [
        (2.0, 1e-3, 630, 128), (0.31, 1e-2, 640, 128), (0.5, 1e-2, 100, 128),
        (float(f"{rng.integers(40, 60)}e-2") + 0.003, 1e-2, 128 * full, 128),
        (float(f"{10 * full + 1}.3e-2"), 1e-2, 128 * full - 5, 128),
        (0.023, 1e-2, 100, 128), (0.07, 1e-2, 100, 128), (0.0007, 1e-3, 500, 100),
    ]  # fmt: skip
    slips = {
        "these are steps; an epoch has several of them": lambda *c: _steps(*c[:2]),
        "the smaller last minibatch is a step too: round the steps of an epoch up":
        lambda d, r, n, b: math.ceil(_steps(d, r) / max(1, n // b)),
        "a part of an epoch is not enough: round up to whole epochs": (
            lambda *c: _steps(*c[:2]) / math.ceil(c[2] / c[3]),
            lambda *c: _steps(*c[:2]) // math.ceil(c[2] / c[3]),
            lambda *c: round(_steps(*c[:2]) / math.ceil(c[2] / c[3])),
            lambda d, r, n, b: d / r / math.ceil(n / b),
            lambda d, r, n, b: d / r / (n / b),
        ),
        "a part of a step is a step: round the steps up": (
            lambda d, r, n, b: math.ceil(round(d / r) / math.ceil(n / b)),
            lambda d, r, n, b: math.ceil(int(d / r + 1e-9) / math.ceil(n / b)),
        ),
        "0.07 / 0.01 is a hair above 7 in floating point, and rounding that up gives 8: take off "
        "1e-9 first": lambda d, r, n, b: math.ceil(math.ceil(d / r) / math.ceil(n / b)),
        "this counts parts of steps as parts of an epoch, and a last small minibatch as a part of "
        "a step": (
            lambda d, r, n, b: math.ceil(d / r * b / n),
            lambda d, r, n, b: math.ceil(d / r / (n / b))
        ),
        "an epoch too many where the steps fit exactly: round up, don't add one":
        lambda d, r, n, b: _steps(d, r) // math.ceil(n / b) + 1,
        "the learning rate divides: a smaller one needs more steps":
        lambda d, r, n, b: math.ceil(d * r / math.ceil(n / b)),
    }  # fmt: skip
    names = ("distance", "learning_rate", "n_cells", "batch_size")
    return Formula(
        _epochs,
        cases,
        slips,
        names=names,
    )


def _steps(distance: float, rate: float) -> int:
    """The number of steps, of the decimals that were written."""
    return math.ceil(Fraction(repr(round(distance, 9))) / Fraction(repr(rate)))


def _epochs(distance: float, rate: float, n_cells: int, batch_size: int) -> int:
    needed, each = _steps(distance, rate), len(range(0, n_cells, batch_size))
    return next(epochs for epochs in range(1, 10_000) if epochs * each >= needed)


@exercise("6.3", "the best epoch, and the patience to be sure of it.")
def check_stop(stop: Callable) -> Diagnosis:
    """Try curves that tell the usual slips apart, and then random ones with ties."""
    curves = [
        ([9.0, 5.0, 6.0, 7.0, 8.0, 1.0], 2), ([5.0, 4.0, 3.0], 2), ([5.0, 4.0, 4.0, 4.0], 2),
        ([5.0, 6.0, 5.5, 4.0, 6.0], 3), ([5.0, 6.0, 5.5, 5.8, 5.6, 5.7], 3),
        ([5.0, 6.0, 4.0, 5.0, 3.0, 2.0], 2), ([3.0], 1), ([7.0, 8.0, 6.0, 9.0, 5.0], 1),
    ]  # fmt: skip
    rng = inputs()
    curves += [(rng.integers(1, 9, 9).astype(float).tolist(), int(rng.integers(1, 5)))
               for _ in range(30)]  # fmt: skip
    found = [_pair(stop(list(curve), patience)) for curve, patience in curves]
    wanted = [_stopped(*case) for case in curves]
    wrong = [i for i, pair in enumerate(found) if pair != wanted[i]]
    if not wrong:
        return None
    for complaint, several in _STOPS.items():
        for slip in several:
            if all(found[i] == slip(*curves[i]) for i in wrong):
                return f"{complaint}."
    curve, patience = curves[wrong[0]]
    return Unexplained(
        f"for {curve} and patience {patience} it should be {wanted[wrong[0]]}, "
        f"not {found[wrong[0]]}."
    )


def _pair(value: object) -> tuple[int, int]:
    best, last = numbers(value, ("the best epoch", "the last"))
    return int(best), int(last)


def _stopped(
    curve: Sequence[float],
    patience: int,
    *,
    better: Callable[[float, float], bool] = lambda new, best: new < best,
    restored: Callable[[list[float], float], bool] = lambda before, new: new < min(before),
    reset: bool = True,
) -> tuple[int, int]:
    """Walk along the curve with a counter; the options are slips."""
    best, waited = 1, 0
    for epoch in range(2, len(curve) + 1):
        new, before = curve[epoch - 1], list(curve[: epoch - 1])
        improved = better(new, curve[best - 1])
        if improved:
            best = epoch
        if improved or restored(before, new):
            waited = 0 if reset else waited
        else:
            waited += 1
        if waited >= patience:
            return best, epoch
    return best, len(curve)


def _argmin(curve: Sequence[float], until: int | None = None) -> int:
    return int(np.argmin(curve[:until])) + 1


_STOPS: dict[str, tuple[Callable[..., tuple[int, ...]], ...]] = {
    "epochs count from 1": (lambda c, p: tuple(e - 1 for e in _stopped(c, p)),
                            lambda c, p: (_stopped(c, p)[0] - 1, _stopped(c, p)[1])),
    "the best epoch comes first, then the last": (lambda c, p: _stopped(c, p)[::-1],),
    "the counter is never reset: patience starts again when a better epoch comes":
    (lambda c, p: _stopped(c, p, reset=False),),
    "an epoch better than the last one, but not than the best, does not restore patience":
    (lambda c, p: _stopped(c, p, restored=lambda before, new: new < before[-1]),),
    "it looked at epochs after the stop; training does not know its future":
    (lambda c, p: (_argmin(c), len(c)), lambda c, p: (_argmin(c), _stopped(c, p)[1]),
     lambda c, p: (_argmin(c), min(_argmin(c) + p, len(c)))),
    "training went on to the last epoch; patience should have ended it":
    (lambda c, p: (_stopped(c, p)[0], len(c)),),
    "an epoch that is as good as the best is not better":
    (lambda c, p: _stopped(c, p, better=lambda new, best: new <= best),),
    "stop `patience` epochs after the best one, neither earlier nor later":
    (lambda c, p: _stopped(c, p + 1), lambda c, p: _stopped(c, p - 1) if p > 1 else (1, 1),
     lambda c, p: (_stopped(c, p)[0], _stopped(c, p)[1] - 1),
     lambda c, p: (_stopped(c, p)[0], _stopped(c, p)[1] + 1)),
    "a lower −ELBO is better": (lambda c, p: _stopped([-value for value in c], p),),
    "this is the loss of the best epoch; its number was asked for":
    (lambda c, p: (int(c[_stopped(c, p)[0] - 1]), _stopped(c, p)[1]),),
    "the best epoch is not the one at which training stops":
    (lambda c, p: (_stopped(c, p)[1],) * 2,),
}  # fmt: skip


@exercise("6.4", "each group gives its share.")
def check_hold_out(hold_out: Callable) -> Diagnosis:
    """Look at the shares of groups of different size, and at which cells can be drawn."""
    rng = inputs()
    sizes = {"a": int(rng.integers(100, 120)), "b": 46, "c": 12, "d": 2}
    groups = rng.permutation(np.repeat(list(sizes), list(sizes.values())))
    fraction = 0.3
    right = {group: round(fraction * n) for group, n in sizes.items()}
    draws = [_marks(hold_out(groups.copy(), fraction, np.random.default_rng(seed)), len(groups))
             for seed in range(60)]  # fmt: skip
    for held in draws:
        taken = {group: int(held[groups == group].sum()) for group in sizes}
        if taken != right:
            return _wrong_shares(taken, right, sizes)
    return generator_slip(lambda r: hold_out(groups, fraction, r)) or _never_drawn(np.array(draws))


def _marks(value: object, n_cells: int) -> np.ndarray:
    held = value.numpy() if isinstance(value, torch.Tensor) else solved(value)
    try:
        held = np.asarray(held)
    except ValueError:  # lists of different length
        held = np.zeros(0)
    if held.dtype != bool or held.shape != (n_cells,):
        kind = f"{held.dtype} {held.shape}"
        raise WrongFormError(f"it should be {n_cells} booleans, one per cell, not {kind}")
    return held


def _wrong_shares(taken: dict[str, int], right: dict[str, int], sizes: dict[str, int]) -> str:
    if all(taken[group] == sizes[group] - right[group] for group in sizes):
        return "the marks are the wrong way round: mark the held-out cells."
    if taken == {group: int(0.3 * n) for group, n in sizes.items()}:
        return "the shares are rounded down; round() goes to the nearest whole number."
    if taken == {group: math.ceil(0.3 * n) for group, n in sizes.items()}:
        return "the shares are rounded up; round() goes to the nearest whole number."
    if abs(sum(taken.values()) - sum(right.values())) <= 1:
        return f"the total is right, but the groups gave {taken}: draw within each group."
    if all(taken[group] <= right[group] for group in sizes) and taken["a"] > 0.6 * right["a"]:
        return "some cells are drawn twice, so that fewer are marked: replace=False."
    if len({taken["a"], taken["b"]}) == 1:
        return "each group gives the same number; it should give the same share."
    return f"the groups should give {right} cells, not {taken}."


def _never_drawn(draws: np.ndarray) -> Diagnosis:
    """Each cell has its chance; after sixty draws of three tenths none is left out."""
    if not draws.any(axis=0).all():
        return "some cells are never held out: within a group each should have the same chance."
    return None


@exercise("6.6", "and the trainer said nothing: it can't know what a good loss would be.")
def check_ruin(ruin: Callable) -> Diagnosis:
    """Train with the answer's settings and with the defaults, 20 epochs on the sample."""
    answer = solved(ruin())
    try:
        settings = dict(answer)
    except (TypeError, ValueError):
        return f"settings by name were asked for, a dictionary, not {answer!r}."
    if taken := settings.keys() & _CHECKS_OWN:
        return f"{', '.join(sorted(taken))} is the check's own: choose other settings."
    known = {field.name: field.default for field in fields(TrainerSettings)}
    if unknown := settings.keys() - known.keys():
        return f"TrainerSettings has no {', '.join(sorted(unknown))}."
    if all(value == known[name] for name, value in settings.items()):
        return "these are the defaults."
    default = _held_out_by_default()
    try:
        ruined = _held_out_after_20_epochs(**settings)
    except TrainingDivergedError:
        return "the training broke off with an error: someone would notice. Ruin it quietly."
    if ruined < default - 5:
        return "this is better than the defaults. Congratulations, but it is another exercise."
    if not ruined >= default + 50:
        return f"this is {ruined - default:.0f} nats worse than the defaults, less than 50 nats."
    return None


_CHECKS_OWN = {"max_epochs", "seed", "holdout_fraction", "stratify_by", "device", "progress"}


@cache
def _held_out_by_default() -> float:
    return _held_out_after_20_epochs()


def _held_out_after_20_epochs(**settings: Any) -> float:
    adata = datasets.pbmc68k_sample()
    torch.manual_seed(0)
    trainer = Trainer(max_epochs=20, device="cpu", progress=False, **settings)
    return trainer.fit(NBVAE.for_counts(adata), adata)["held_out_neg_elbo"].iloc[-1]
