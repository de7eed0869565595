"""Work that is recorded once and then replayed as a whole: a CUDA graph.

A training step is some two hundred small kernels. To launch each takes the host longer than it
takes the GPU to run it; a recorded step is launched as one. What it needs: the same memory, shapes
and kernels each time, so that all that changes from step to step has to be on the device.
"""

from collections.abc import Callable

import torch
from torch import nn

RUNS_BEFORE = 3  # so that libraries have chosen their kernels and allocated their memory


class Recorded:
    """A piece of work that is recorded when it has run often enough; on a CPU it is just called."""

    def __init__(self) -> None:
        self.runs = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work, which has to be the same each time."""
        if self.graph is None and self.runs >= RUNS_BEFORE and _can_record():
            self._record(work)
        if self.graph is None:
            work()
        else:
            self.graph.replay()
        self.runs += 1

    def _record(self, work: Callable[[], None]) -> None:
        """Record the work, which is not carried out while it is recorded."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            work()
        self.graph = graph


def forget_kept_graphs(module: nn.Module) -> None:
    """Detach a module from autograd graphs that somebody still holds, such as that of a loss.

    A weight's gradients are added up by one node of the graph, AccumulateGrad. It belongs to the
    stream it was made on, and the weight uses it again for as long as any graph holds it. One from
    before the fit belongs to the default stream: each backward pass would go there and back, which
    PyTorch warns of, and a step could not be recorded. PyTorch makes a new node if a weight's
    values change their type, as after ``module.double()``; so for a moment they do. Neither the
    values, nor where they are, nor their version changes, and graphs that are held keep their own
    nodes.
    """
    for weights in module.parameters():
        values = weights.data
        other = torch.float32 if values.dtype == torch.float64 else torch.float64
        weights.data = values.new_empty(0, dtype=other)
        weights.data = values


def _can_record() -> bool:
    """Only off the default stream, which can't be recorded: see ``DeviceEpochs``."""
    return torch.cuda.is_available() and (
        torch.cuda.current_stream() != torch.cuda.default_stream()
    )
