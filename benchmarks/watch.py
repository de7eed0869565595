"""A stopwatch with laps, that stands still while the module is being evaluated."""

from collections.abc import Callable
from time import perf_counter

import torch
from torch import nn

DENSE_UNTIL = 40  # epochs; each of them gets a point of the curve
GROWTH = 1.03  # later a point whenever the epoch has grown by so much


class Watch:
    """Counts the seconds of a fit.

    Args:
        look: called with the module at some of the laps, with the watch stopped; what it
            returns becomes a point of the curve.

    Attributes:
        laps: seconds from the start to the end of each epoch.
        points: (epoch, seconds, what ``look`` returned).
        total: seconds of the whole fit.

    """

    def __init__(self, look: Callable[[nn.Module], float] | None = None) -> None:
        self.look = look
        self.laps: list[float] = []
        self.points: list[tuple[int, float, float]] = []
        self.total = 0.0
        self._next = 1.0

    def start(self) -> None:
        """Begin to count."""
        self._start = _now()

    def lap(self, module: nn.Module) -> None:
        """Note that an epoch is over."""
        now = _now()
        self.laps.append(now - self._start)
        epoch = len(self.laps)
        if self.look is not None and epoch >= self._next:
            self.points.append((epoch, self.laps[-1], self.look(module)))
            self._next = epoch + 1 if epoch < DENSE_UNTIL else epoch * GROWTH
        self._start += _now() - now

    def stop(self) -> None:
        """The fit is over."""
        self.total = _now() - self._start


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()
