"""What an operator costs an element, against a multiplication."""

import torch

from benchmarks.floor import seconds

N_CELLS, N_GENES = 128, 2000
OPERATORS = {
    "multiplication": lambda x: x * x,
    "exp": torch.exp,
    "log1p": torch.log1p,
    "lgamma": torch.lgamma,
    "digamma": torch.digamma,
}


def operators() -> dict[str, float]:
    """Time each operator on a matrix of cells × genes; the cost of a multiplication is 1."""
    torch.manual_seed(0)
    x = torch.rand(N_CELLS, N_GENES) * 20 + 0.1
    times = {name: seconds(lambda run=run: run(x)) for name, run in OPERATORS.items()}
    return {name: time / times["multiplication"] for name, time in times.items()}
