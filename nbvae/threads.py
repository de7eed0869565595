"""How many threads compute: one, whoever else is computing, unless the reader says otherwise.

PyTorch splits each operation among as many threads as there are processors. With OpenMP, those that
are done wait for the last one in a loop that keeps their processors busy; where other programs
want them too, the last one waits for its turn while the others spin. A step has a hundred
operations, and each of them may cost a turn.

So a second thread gains little or loses much. On an idle machine with two cores it saves a sixth
of a step of 128 cells × 765 genes, and less than a third of one of 128 × 2,000. On a busy one an
epoch of the sample took nine to twelve times as long with two threads as with one
(``python -m benchmarks.busy``), a step of 512 × 2,000 four times, and one of 1,024 × 20,000 still
2.7. No minibatch was large enough for the second thread to be safe; hence the rule: one, at any
size. It has two further merits. The number of threads decides in which order PyTorch adds, so that
with one the last bits of a result follow from nothing but the data and the settings; and a machine
with many cores can train as many models at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_chosen: ContextVar[int | None] = ContextVar("threads", default=None)  # by a block outside


@contextmanager
def use_threads(number: int | None = None) -> Iterator[None]:
    """Let PyTorch compute with this many threads inside the block, then as many as before.

    Args:
        number: how many; None leaves it to the block around this one, and where there is none, it
            is one.

    Raises:
        ValueError: there are fewer processors.

    """
    number = number or _chosen.get() or 1
    if number > max(processors(), torch.get_num_threads()):
        raise ValueError(
            f"threads={number}, but this machine has {processors()} processors: threads that share "
            "one wait for each other."
        )
    before, token = torch.get_num_threads(), _chosen.set(number)
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _chosen.reset(token)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
