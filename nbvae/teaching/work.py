"""What a piece of code makes PyTorch compute, counted in numbers instead of seconds."""

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

GAMMAS, LOGS = "log-gammas, digammas", "exponentials, logarithms"
PRODUCTS, REST = "multiply-adds of products", "everything else"
_KINDS = {
    **dict.fromkeys(("lgamma", "digamma"), GAMMAS),
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "sigmoid", "softplus", "logaddexp"), LOGS),
    **dict.fromkeys(("_softmax", "_log_softmax", "log_sigmoid_forward"), LOGS),
    **dict.fromkeys(("mm", "addmm", "_embedding_bag", "_embedding_bag_forward_only"), PRODUCTS),
}
_FREE = {"t", "view", "detach", "expand", "permute", "unsqueeze", "squeeze", "unbind", "alias"}


class Work(TorchDispatchMode):
    """Counts while it is on: ``with Work() as work: …``, the gradient included.

    Attributes:
        numbers: how many numbers were computed, by kind; in a product, how many multiply-adds.
        calls: how many operators were called that compute something.

    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Counter[str] = Counter()
        self.calls = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """PyTorch calls this in place of each operator."""
        result = operator(*args, **(kwargs or {}))
        name = operator.overloadpacket.__name__
        if name.rstrip("_") not in _FREE:
            kind = _KINDS.get(name.rstrip("_"), REST)
            self.numbers[kind] += _multiply_adds(name, args) or _numbers(result)
            self.calls += 1
        return result


def _numbers(result: Any) -> int:
    """Count the numbers in an operator's first result."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    return first.numel() if isinstance(first, Tensor) else 0


def _multiply_adds(name: str, args: tuple) -> int:
    """Count what a matrix product adds up; 0 for other operators."""
    if name in ("mm", "addmm"):
        left, right = args[-2:]
        return left.shape[0] * left.shape[1] * right.shape[1]
    if name.startswith("_embedding_bag"):
        rows, which = args[:2]
        return len(which) * rows.shape[1]
    return 0
