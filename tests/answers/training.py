"""Answers to the exercises of chapter 6, right and wrong."""

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
import torch

from nbvae import Trainer


def stop_by_argmin(held_out, patience):
    for last in range(1, len(held_out) + 1):
        best = int(np.argmin(held_out[:last])) + 1
        if last - best >= patience:
            return best, last
    return best, len(held_out)


def stop_by_counter(held_out, patience):
    best, waited = 0, 0
    for i, value in enumerate(held_out):
        best, waited = (i, 0) if value < held_out[best] or i == 0 else (best, waited + 1)
        if waited == patience:
            return best + 1, i + 1
    return best + 1, len(held_out)


def stop_with_restored_patience(held_out, patience):
    best, waited = 0, 0
    for i in range(1, len(held_out)):
        if held_out[i] < held_out[best]:
            best = i
        waited = 0 if held_out[i] < held_out[i - 1] else waited + 1
        if waited == patience:
            return best + 1, i + 1
    return best + 1, len(held_out)


def hold_out_by_choice(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in set(groups):
        rows = np.flatnonzero(groups == group)
        held[rng.choice(rows, round(fraction * len(rows)), replace=False)] = True
    return held


def hold_out_rounding_down(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in set(groups):
        rows = np.flatnonzero(groups == group)
        held[rng.choice(rows, int(fraction * len(rows)), replace=False)] = True
    return held


def hold_out_by_rank(groups, fraction, rng):
    noise, held = rng.random(len(groups)), np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        inside = groups == group
        limit = np.sort(noise[inside])[round(fraction * inside.sum()) - 1]
        held |= inside & (noise <= limit)
    return held


def epoch_by_slices(module, optimizer, x, batch_size):
    order, losses = torch.randperm(len(x)), []
    for start in range(0, len(x), batch_size):
        output = module(x[order[start : start + batch_size]])
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses += output.reconstruction.tolist()
    return sum(losses) / len(losses)


def epoch_by_split(module, optimizer, x, batch_size):
    total = torch.zeros(())
    for batch in x[torch.randperm(len(x))].split(batch_size):
        module.zero_grad()
        loss = module(batch).loss
        loss.backward()
        total += loss.detach() * len(batch)
        optimizer.step()
    return total / len(x)


def epoch_without_zero_grad(module, optimizer, x, batch_size):
    for rows in torch.randperm(len(x)).split(batch_size):
        module(x[rows]).loss.backward()
        optimizer.step()
    return 0.0


def epoch_with_one_zero_grad(module, optimizer, x, batch_size):
    optimizer.zero_grad()
    return epoch_without_zero_grad(module, optimizer, x, batch_size)


def epoch_that_drops_the_last(module, optimizer, x, batch_size):
    for rows in torch.randperm(len(x)).split(batch_size)[:-1]:
        optimizer.zero_grad()
        module(x[rows]).loss.backward()
        optimizer.step()
    return 0.0


def epoch_in_file_order(module, optimizer, x, batch_size):
    losses = []
    for batch in x.split(batch_size):
        output = module(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses += output.reconstruction.tolist()
    return sum(losses) / len(losses)


def epoch_mean_of_means(module, optimizer, x, batch_size):
    losses = []
    for rows in torch.randperm(len(x)).split(batch_size):
        loss = module(x[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def not_stratified(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    held[rng.choice(len(groups), round(fraction * len(groups)), replace=False)] = True
    return held


def stop_with_a_counter_never_reset(held_out, patience):
    best, waited = 0, 0
    for i in range(1, len(held_out)):
        if held_out[i] < held_out[best]:
            best = i
        else:
            waited += 1
        if waited >= patience:
            return best + 1, i + 1
    return best + 1, len(held_out)


def stop_by_running_minimum(held_out, patience):
    lowest = list(accumulate(held_out, min))
    for last in range(patience, len(held_out)):
        if lowest[last] == lowest[last - patience]:
            return np.array([held_out.index(lowest[last]) + 1, last + 1])
    return np.array([held_out.index(lowest[-1]) + 1, len(held_out)])


def hold_out_by_shuffling(groups, fraction, rng):
    held = [False] * len(groups)
    for group in dict.fromkeys(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        for i in rng.permutation(rows)[: round(fraction * len(rows))]:
            held[i] = True
    return held


def hold_out_with_replacement(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        held[rng.choice(rows, round(fraction * len(rows)))] = True
    return held


def hold_out_not_the_first(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        n = round(fraction * len(rows))
        held[rng.choice(rows[len(rows) - 2 * n :], n, replace=False)] = True
    return held


def epoch_with(order=torch.randperm, step_last=False, clear_late=False, result="item"):
    """The loop, with a slip."""

    def one_epoch(module, optimizer, x, batch_size):
        total = 0.0
        for rows in order(len(x)).split(batch_size):
            loss = module(x[rows]).loss
            if not clear_late:
                optimizer.zero_grad()
            loss.backward()
            if clear_late:
                optimizer.zero_grad()
            if not step_last:
                optimizer.step()
            total = total + (loss if result == "graph" else loss.item()) * len(rows)
        if step_last:
            optimizer.step()
        return total if result == "sum" else total / len(x)

    return one_epoch


def epoch_that_steps_once(module, optimizer, x, batch_size):
    for rows in torch.randperm(len(x)).split(batch_size):
        module(x[rows]).loss.backward()
    optimizer.step()
    return 0.0


def epoch_of_single_cells(module, optimizer, x, batch_size):
    return epoch_by_slices(module, optimizer, x, 1)


def epoch_by_numpy(module, optimizer, x, batch_size):
    total = np.float32(0)
    parts = np.array_split(np.random.permutation(len(x)), math.ceil(len(x) / batch_size))
    for rows in parts:
        for weights in module.parameters():
            weights.grad = None
        loss = module(x[rows]).loss
        loss.backward()
        optimizer.step()
        total += np.float32(loss.item()) * len(rows)
    return total / len(x)


RIGHT = {
    "6.6": (
        lambda: {"learning_rate": 1e-5},
        lambda: dict(batch_size=100_000, learning_rate=1e-4),
        lambda: [("learning_rate", np.float32(1e-6))],
    ),
    "6.1": (
        lambda e, p, w: min(1.0, (e - 1 + p) / w) if w else 1,
        lambda e, p, w: float(np.clip((e - 1 + p) / max(w, 1e-9), 0, 1)),
        lambda e, p, w: torch.tensor((e - 1 + p) / w if w else 1.0).clamp(max=1.0),
        lambda e, p, w: np.interp(e - 1 + p, [0, w], [0, 1]) if w > 0 else np.int8(1),
    ),
    "6.2": (
        lambda d, r, n, b: math.ceil(math.ceil(d / r - 1e-9) / math.ceil(n / b)),
        lambda d, r, n, b: -(-math.ceil(round(d / r, 6)) // -(-n // b)),
        lambda d, r, n, b: np.ceil(np.ceil(Fraction(str(d)) / Fraction(str(r))) / np.ceil(n / b)),
    ),
    "6.3": (stop_by_argmin, stop_by_counter, stop_by_running_minimum),
    "6.4": (hold_out_by_choice, hold_out_by_rank, hold_out_by_shuffling),
    "6.5": (epoch_by_slices, epoch_by_split, epoch_by_numpy),
}

WRONG = [
    ("6.6", lambda: {}, "the defaults"),
    ("6.6", lambda: {"learning_rate": Trainer().settings.learning_rate}, "the defaults"),
    ("6.6", lambda: {"max_epochs": 1}, "the check's own"),
    ("6.6", lambda: {"speed": 3}, "has no speed"),
    ("6.6", lambda: {"learning_rate": 3e-3}, "less than 50 nats"),
    ("6.1", lambda e, p, w: min(1, e / w) if w else 1, "once an epoch"),
    ("6.1", lambda e, p, w: min(1, (e - 1) / w) if w else 1, "once an epoch"),
    ("6.1", lambda e, p, w: (e - 1 + p) / w if e <= w else 1.0 * (w == 0), "stay at 1"),
    ("6.1", lambda e, p, w: (e - 1 + p) / w if w else 1, "above 1"),
    ("6.1", lambda e, p, w: min(1, (e + p) / w) if w else 1, "too far"),
    ("6.1", lambda e, p, w: min(1, (e - 1 + p) / (w + 1)) if w else 1, "an epoch late"),
    ("6.1", lambda e, p, w: min(1, (e - 1 + p) / max(w, 1)), "without warm-up"),
    ("6.1", lambda e, p, w: min(1, (e - 1 + p) / w) ** 2 if w else 1, "not straight"),
    ("6.2", lambda d, r, n, b: math.ceil(round(d / r, 6)), "these are steps"),
    ("6.2", lambda d, r, n, b: math.ceil(math.ceil(d / r - 1e-9) / max(n // b, 1)), "smaller last"),
    ("6.2", lambda d, r, n, b: math.ceil(d / r - 1e-9) / math.ceil(n / b), "round up to whole"),
    ("6.2", lambda d, r, n, b: math.ceil(round(d / r) / math.ceil(n / b)), "round the steps up"),
    ("6.2", lambda d, r, n, b: math.ceil(math.ceil(d / r) / math.ceil(n / b)), "a hair above 7"),
    ("6.2", lambda d, r, n, b: math.ceil(d / r / (n / b)), "a part of a step"),
    ("6.2", lambda d, r, n, b: math.ceil(d / r - 1e-9) // math.ceil(n / b) + 1, "don't add one"),
    ("6.3", stop_with_a_counter_never_reset, "never reset"),
    ("6.3", lambda h, p: (int(np.argmin(h)) + 1, len(h)), "future"),
    ("6.3", lambda h, p: tuple(i - 1 for i in stop_by_argmin(h, p)), "count from 1"),
    ("6.3", lambda h, p: stop_by_argmin(h, p + 1), "neither earlier nor later"),
    ("6.3", stop_with_restored_patience, "does not restore patience"),
    ("6.3", lambda h, p: stop_by_argmin(h, p)[::-1], "comes first"),
    ("6.3", lambda h, p: stop_by_argmin(h, p)[0], "were asked for"),
    ("6.4", hold_out_with_replacement, "replace=False"),
    ("6.4", hold_out_rounding_down, "rounded down"),
    ("6.4", not_stratified, "draw within each group"),
    ("6.4", lambda g, f, r: hold_out_by_choice(g, f, np.random), "with the same seed"),
    ("6.4", lambda g, f, r: hold_out_by_choice(g, f, np.random.default_rng(0)), "every generator"),
    ("6.4", hold_out_not_the_first, "never held out"),
    ("6.4", lambda g, f, r: ~hold_out_by_choice(g, f, r), "wrong way round"),
    ("6.4", lambda g, f, r: np.flatnonzero(hold_out_by_choice(g, f, r)), "booleans"),
    ("6.4", lambda g, f, r: r.random(len(g)) < f, "the groups"),
    ("6.5", epoch_without_zero_grad, "pile up"),
    ("6.5", epoch_with_one_zero_grad, "pile up"),
    ("6.5", epoch_that_steps_once, "step belongs into the loop"),
    ("6.5", epoch_with(step_last=True), "step belongs into the loop"),
    ("6.5", epoch_with(clear_late=True), "cleared before the step"),
    ("6.5", epoch_with(result="graph"), "carries its graph"),
    ("6.5", epoch_with(result="sum"), "sum over the cells"),
    ("6.5", epoch_with(order=lambda n: torch.randint(n, (n,))), "more than once"),
    ("6.5", epoch_that_drops_the_last, "dropped"),
    ("6.5", epoch_in_file_order, "same order"),
    ("6.5", epoch_mean_of_means, "mean of the minibatches"),
    ("6.5", epoch_of_single_cells, "too many"),
]
