"""Where a run computes, and what it leaves as it found it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nbvae.train import ranks


def pick_device(name: str) -> torch.device:
    """Resolve "auto" to CUDA where there is a GPU, else to the CPU; other devices have to exist.

    Apple's MPS has to be named: not every PyTorch that this package runs with has all operators
    for it.

    Raises:
        ValueError: this machine has no such device; the message says which it has.

    """
    have = _devices()
    if name == "auto":
        name = "cuda" if "cuda" in have else "cpu"
    way_out = 'With device="auto" it takes what is there.'
    if name == "cuda" and name in have and ranks.size() > 1:  # a GPU each
        name = f"cuda:{ranks.local_rank()}"
        way_out = 'Start as many processes as there are GPUs, or compute with device="cpu".'
    if name not in have:
        raise ValueError(
            f"There is no device {name!r}: PyTorch finds {', '.join(map(repr, have))} on this "
            f"machine. {way_out}"
        )
    return torch.device(name)


def _devices() -> list[str]:
    """Name what PyTorch can compute on here."""
    have = ["cpu"]
    if torch.cuda.is_available():
        have += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        have += ["mps", "mps:0"]
    return have


@contextmanager
def reproducible() -> Iterator[None]:
    """Leave the caller's random numbers as they were; inside, take denormal numbers as 0.

    The weights of a unit that is never active shrink until they are denormal: so small that a
    processor takes up to a hundred times as long to compute with them.
    """
    with torch.random.fork_rng():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
