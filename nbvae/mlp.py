"""A multilayer perceptron with one hidden layer and an optional link function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda y: torch.softmax(y, dim=-1),  # positive, rows sum to 1
    "log_softmax": lambda y: torch.log_softmax(y, dim=-1),  # its logarithm, without underflow
    "exp": torch.exp,  # positive
}


class MLP(nn.Module):
    """Linear → ReLU → Linear, then the link.

    Args:
        n_input: length of an input row.
        n_output: length of an output row.
        n_hidden: width of the hidden layer.
        link: what is applied to the output: ``None`` for nothing, a name from ``LINKS``, or any
            callable from tensor to tensor.

    Raises:
        ValueError: ``link`` is a string that is not in ``LINKS``.
        TypeError: ``link`` is neither ``None``, a string nor a callable.

    """

    def __init__(
        self,
        n_input: int,
        n_output: int,
        *,
        n_hidden: int = 128,
        link: str | Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_input, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_output),
        )
        self.link = _resolve(link)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows of length ``n_input`` to rows of length ``n_output``.

        Args:
            x: (..., n_input), real values.

        Returns:
            (..., n_output), in the range of the link.

        """
        y = self.layers(x)
        return y if self.link is None else self.link(y)


def _resolve(
    link: str | Callable[[Tensor], Tensor] | None,
) -> Callable[[Tensor], Tensor] | None:
    """Turn what the caller wrote into a function, or stop here rather than at the first call."""
    if link is None or (callable(link) and not isinstance(link, str)):
        return link
    if not isinstance(link, str):
        raise TypeError(f"link must be None, a name or a callable, not {type(link).__name__}.")
    if link not in LINKS:
        names = ", ".join(repr(name) for name in LINKS)
        raise ValueError(
            f"Unknown link {link!r}. Use one of {names}, None for no link, or a callable."
        )
    return LINKS[link]
