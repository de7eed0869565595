"""The check of exercise 6.5, one epoch, which watches every call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nbvae import LossOutput
from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs, solved
from nbvae.teaching.exercises._reading import apart, close, number


@exercise("6.5", "every cell once, in a new order, and the mean is a mean over cells.")
def check_one_epoch(one_epoch: Callable) -> Diagnosis:
    """Watch two epochs of a toy module and its optimiser."""
    n_cells, batch_size = [(10, 4), (11, 3), (13, 5)][inputs().integers(3)]
    x = torch.arange(1.0, n_cells + 1)[:, None]  # cells, told apart by their only count
    module = _Watched()
    optimizer = _WatchedSGD(module)
    answer = solved(one_epoch(module, optimizer, x.clone(), batch_size))
    value, first, losses = number(answer, "the mean loss"), module.seen, module.losses
    complaint = _cells_met(first, n_cells, batch_size) or _calls(module.events, len(first))
    if complaint:
        return complaint
    if isinstance(answer, Tensor) and answer.requires_grad:
        return "the value still carries its graph, and keeps all of it in memory: add loss.item()."
    module.seen, module.losses = [], []
    one_epoch(module, optimizer, x.clone(), batch_size)
    if _order(first) == _order(module.seen):
        return "both epochs went through the cells in the same order: draw a new one each time."
    return _wrong_value(value, first, losses)


def _cells_met(seen: list[Tensor], n_cells: int, batch_size: int) -> Diagnosis:
    met = sorted(_order(seen))
    if len(met) < n_cells:
        return (
            f"only {len(met)} of {n_cells} cells were seen: is the smaller last minibatch dropped?"
        )
    if met != [float(i) for i in range(1, n_cells + 1)]:
        return "some cells were seen more than once: permute them, do not draw with replacement."
    if max(len(batch) for batch in seen) > batch_size:
        return "a minibatch has more cells than batch_size."
    if len(seen) > -(-n_cells // batch_size):
        return f"{len(seen)} minibatches for {n_cells} cells are too many: fill them to batch_size."
    return None


def _calls(events: list[str], n_batches: int) -> Diagnosis:
    """Diagnose what was done with the gradients, in which order."""
    steps = [event for event in events if event.startswith("step")]
    if not steps:
        return "the optimiser never took a step."
    if events[0].startswith("step") or (events[0] == "clear" and events[1].startswith("step")):
        return "the first step comes before any gradient: backward comes before step."
    if len(steps) == 1 < n_batches:
        return "there is one step for all minibatches: step belongs into the loop, after backward."
    if len(steps) < n_batches:
        return "there are fewer steps than minibatches: step after each one."
    if "step without" in steps:
        return "the gradient was cleared before the step used it: zero_grad, backward, step."
    if "step piled up" in steps:
        return "gradients pile up: clear them with zero_grad before each backward."
    return None


def _wrong_value(value: Any, seen: list[Tensor], losses: list[float]) -> Diagnosis:
    sizes = torch.tensor([len(batch) for batch in seen], dtype=torch.float64)
    each = torch.tensor(losses, dtype=torch.float64)
    total = (each * sizes).sum()
    right = total / sizes.sum()
    if close(value, right):
        return None
    slips = {
        "this is the mean of the minibatches; the small one counts as much as the others":
        each.mean(),
        "this is the sum over the cells; divide by their number": total,
        "this is the sum of the minibatches' means; weigh them by their cells, and divide":
        each.sum(),
        "this is the loss of the last minibatch": each[-1],
        "the sum of the minibatches' means is divided by the number of cells: weigh each by its "
        "cells": each.sum() / sizes.sum(),
        "the sum over the cells is divided by the number of minibatches": total / len(each),
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(value, slip):
            return f"{complaint}."
    return Unexplained(f"the mean loss per cell should be {apart(value, right)}.")


def _order(seen: list[Tensor]) -> list[float]:
    return torch.cat(seen).flatten().tolist() if seen else []


class _Watched(nn.Module):
    """One weight; remembers its minibatches, their losses and what befell its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []
        self.losses: list[float] = []
        self.events: list[str] = []
        self.weight.register_hook(lambda gradient: self.events.append("backward"))

    def forward(self, x: Tensor, *, kl_weight: float = 1.0) -> LossOutput:
        self.seen.append(x.detach().clone())
        each = (x[:, 0] - self.weight).square()
        self.losses.append(each.mean().item())
        return LossOutput(each.mean(), each, torch.zeros(len(x)))

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.events.append("clear")
        super().zero_grad(set_to_none)


class _WatchedSGD(torch.optim.SGD):
    """Remembers of each step whether its gradient was that of the last minibatch alone."""

    def __init__(self, module: _Watched) -> None:
        super().__init__(module.parameters(), lr=1e-3)
        self.module = module

    def step(self, closure: Any = None) -> Any:
        """Compare the gradient with the one that the last minibatch has at these weights."""
        weight, events = self.module.weight, self.module.events
        if weight.grad is None or not weight.grad.any() or not self.module.seen:
            events.append("step without")
        else:
            fresh = -2 * (self.module.seen[-1][:, 0] - weight.detach()).mean()
            alike = torch.allclose(weight.grad, fresh, rtol=1e-4)
            events.append("step" if alike else "step piled up")
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, and say so."""
        self.module.events.append("clear")
        super().zero_grad(set_to_none)
