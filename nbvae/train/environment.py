"""Where a run computes, and what it leaves as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pick_device(name: str) -> torch.device:
    """Resolve "auto" to CUDA where there is one, else to the CPU; other names are taken.

    Apple's MPS has to be named: not every PyTorch that this package runs with has all operators
    for it.
    """
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible() -> Iterator[None]:
    """Leave the caller's random numbers as they were, and count tiny numbers as 0 meanwhile.

    The weights of a unit that is never active decay until they are denormal: numbers so small
    that a processor takes up to a hundred times as long to compute with them.
    """
    with torch.random.fork_rng():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
