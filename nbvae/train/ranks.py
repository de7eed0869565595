"""Several processes (ranks) that train one model together: who they are, and how they agree.

``torchrun --nproc-per-node=8 script.py`` starts a script eight times and tells each who it is. A
process that was not started this way is alone, and nothing here costs it anything.

If torchrun itself is to restart processes (``--max-restarts``), set the variable
TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: without it, three of eight restarts failed or hung
(PyTorch's issue 135712).
"""

import atexit
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nbvae.module.protocol import TrainableModule
from nbvae.train.divergence import TrainingDivergedError

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun, in the environment
GOES_ON = "Started again with the same checkpoint, the run resumes from its last epoch."
PATIENCE = timedelta(minutes=5)  # with a rank that is alive and does not answer


class RankError(RuntimeError):
    """The other processes of a run can't go on; their own messages say why."""


def size() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in TOLD) else 1


def rank() -> int:
    """Which of them this one is, from 0 on."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """Which it is on its machine."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def first() -> bool:
    """Whether this is the one that writes files and shows progress."""
    return rank() == 0


def join(device: torch.device) -> torch.device:
    """Meet the other ranks, if there are any, once in a process.

    From then on an error of one ends all: so the first thing to do, before files are looked at.

    Returns:
        The device.

    Raises:
        RankError: they do not come.

    """
    if size() == 1 or dist.is_initialized():
        return device
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise RankError(
            f"The {size()} processes of this run did not meet within {PATIENCE.seconds // 60} "
            f"minutes; what the others wrote may say why. {GOES_ON}"
        ) from error
    atexit.register(_leave)
    return device


def sum_over_ranks(values: Tensor) -> None:
    """Replace values by their sum over all ranks, which is the same to the last bit on each.

    Raises:
        RankError: another process is gone.

    """
    try:
        dist.all_reduce(values)
    except RuntimeError as error:  # Gloo and NCCL have no kinds of their own
        raise RankError(
            "Another process of this run has ended or does not answer; what it wrote says why. "
            + GOES_ON
        ) from error


def agree(what: str, value: Any) -> None:
    """Make sure that all ranks have the same.

    Raises:
        RankError: they don't; raised on all of them.

    """
    if size() == 1:
        return
    digest = hashlib.sha256(repr(value).encode()).digest()[:7]  # 56 bits: exact as an integer
    mine = torch.tensor(int.from_bytes(digest, "big"))
    device = torch.device("cuda", local_rank()) if dist.get_backend() == "nccl" else "cpu"
    all_of_them = torch.zeros(size(), dtype=torch.int64, device=device)
    all_of_them[rank()] = mine
    sum_over_ranks(all_of_them)
    if (all_of_them != mine.to(device)).any():
        raise RankError(
            f"The processes of this run differ in {what}: give all of them the same files, "
            "settings and arguments, on a disk that all can read."
        )


def start_alike(module: TrainableModule, told: Mapping[str, Any]) -> None:
    """Start from the weights of the first rank, if there are others.

    Args:
        module: on its device.
        told: what has to be the same on all, by the words for it: a run with two learning rates
            would end with two models, and one with two tables with a model of neither.

    Raises:
        RankError: it is not, or another process is gone.

    """
    if size() == 1:
        return
    state = module.state_dict()
    for what, value in told.items():
        agree(what, value)
    agree("the module", [(name, tuple(values.shape)) for name, values in state.items()])
    with torch.no_grad():
        for values in state.values():
            of_first = values.contiguous() * first()  # of all others: nothing
            sum_over_ranks(of_first)
            values.copy_(of_first)


def refuse_to_stop(interruption: KeyboardInterrupt) -> None:
    """Let Ctrl-C end all ranks of a run, which it may meet in different steps.

    Raises:
        RankError: there are others.

    """
    if size() > 1:
        raise RankError(f"Interrupted. {GOES_ON}") from interruption


@contextmanager
def one_fate() -> Iterator[None]:
    """Let an error on one rank end all: the others notice by a connection that breaks.

    A loss that is not finite is met by all ranks in the same step; they may train again.
    """
    try:
        yield
    except TrainingDivergedError:
        raise
    except BaseException:
        _leave()
        raise


def _leave() -> None:
    if size() > 1 and dist.is_initialized():
        dist.destroy_process_group()
