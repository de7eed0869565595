"""Answers to the exercises of nbvae/teaching/exercises/training.py, right and wrong."""

import math

import numpy as np
import torch


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


def first_rows(groups, fraction, rng):
    return np.concatenate([np.arange((groups == g).sum()) < round(fraction * (groups == g).sum())
                           for g in np.unique(groups)])  # fmt: skip


def not_stratified(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    held[rng.choice(len(groups), round(fraction * len(groups)), replace=False)] = True
    return held


RIGHT = {
    "6.6": (lambda: {"learning_rate": 1e-5}, lambda: dict(batch_size=100_000, learning_rate=1e-4)),
    "6.1": (
        lambda e, p, w: min(1.0, (e - 1 + p) / w) if w else 1,
        lambda e, p, w: float(np.clip((e - 1 + p) / max(w, 1e-9), 0, 1)),
    ),
    "6.2": (
        lambda d, r, n, b: math.ceil(round(d / r) / math.ceil(n / b)),
        lambda d, r, n, b: -(-round(d / r) // -(-n // b)),
    ),
    "6.3": (stop_by_argmin, stop_by_counter),
    "6.4": (hold_out_by_choice, hold_out_by_rank),
    "6.5": (epoch_by_slices, epoch_by_split),
}

WRONG = [
    ("6.6", lambda: {}, "the defaults"),
    ("6.6", lambda: {"max_epochs": 1}, "the check's own"),
    ("6.6", lambda: {"speed": 3}, "has no speed"),
    ("6.6", lambda: {"learning_rate": 3e-3}, "less than 50 nats"),
    ("6.1", lambda e, p, w: min(1, e / w) if w else 1, "once an epoch"),
    ("6.1", lambda e, p, w: (e - 1 + p) / w if e <= w else 1.0 * (w == 0), "stay at 1"),
    ("6.1", lambda e, p, w: (e - 1 + p) / w if w else 1, "above 1"),
    ("6.1", lambda e, p, w: min(1, (e + p) / w) if w else 1, "too far"),
    ("6.2", lambda d, r, n, b: round(d / r), "these are steps"),
    ("6.2", lambda d, r, n, b: math.ceil(round(d / r) / (n // b)), "smaller last"),
    ("6.2", lambda d, r, n, b: round(d / r) / math.ceil(n / b), "round up"),
    ("6.3", lambda h, p: (int(np.argmin(h)) + 1, len(h)), "future"),
    ("6.3", lambda h, p: tuple(i - 1 for i in stop_by_argmin(h, p)), "count from 1"),
    ("6.3", lambda h, p: stop_by_argmin(h, p + 1), "neither earlier nor later"),
    ("6.3", stop_with_restored_patience, "does not restore patience"),
    ("6.4", hold_out_rounding_down, "should give"),
    ("6.4", not_stratified, "draw within each group"),
    ("6.4", first_rows, "not drawn at random"),
    ("6.4", lambda g, f, r: ~hold_out_by_choice(g, f, r), "wrong way round"),
    ("6.4", lambda g, f, r: np.flatnonzero(hold_out_by_choice(g, f, r)), "booleans"),
    ("6.5", epoch_without_zero_grad, "pile up"),
    ("6.5", epoch_with_one_zero_grad, "pile up"),
    ("6.5", epoch_that_drops_the_last, "dropped"),
    ("6.5", epoch_in_file_order, "same order"),
    ("6.5", epoch_mean_of_means, "mean of the minibatches"),
]
