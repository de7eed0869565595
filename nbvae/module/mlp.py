"""A multilayer perceptron with one hidden layer, or more, and an optional link function."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from nbvae._arguments import whole_number


def softmax(y: Tensor) -> Tensor:
    """Make each row positive, with sum 1."""
    return torch.softmax(y, dim=-1)


def log_softmax(y: Tensor) -> Tensor:
    """Take the logarithm of the softmax, without underflow."""
    return torch.log_softmax(y, dim=-1)


def log_softplus(y: Tensor) -> Tensor:
    """Take log log(1 + exp y), the logarithm of what is exp y for small y and y for large.

    Below −15 the two terms of its series are exact to the last digit, where log(1 + exp y) is 0.
    """
    series = y - 0.5 * y.clamp(max=-15).exp()
    return torch.where(y < -15, series, torch.logaddexp(y.clamp(min=-15), y.new_zeros(())).log())


# Functions with a name, so that a module can be pickled.
LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "log_softplus": log_softplus,
    "exp": torch.exp,
}


class MLP(nn.Module):
    """Linear → ReLU → Linear, then the link; with more hidden layers, Linear → ReLU again.

    Args:
        n_input: length of an input row.
        n_output: length of an output row.
        n_hidden: width of each hidden layer.
        n_layers: how many hidden layers.
        link: what is applied to the output: ``None`` for nothing, a name from ``LINKS``, or any
            callable from tensor to tensor.

    Raises:
        ValueError: ``link`` is a string that is not in ``LINKS``, or a size is below 1.
        TypeError: ``link`` is neither ``None``, a string nor a callable, or a size is not a whole
            number.

    """

    def __init__(
        self,
        n_input: int,
        n_output: int,
        *,
        n_hidden: int = 128,
        n_layers: int = 1,
        link: str | Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        n_input = whole_number("n_input", n_input)
        n_output = whole_number("n_output", n_output)
        n_hidden = whole_number("n_hidden", n_hidden)
        widths = [n_input, *[n_hidden] * whole_number("n_layers", n_layers)]
        hidden: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(n_hidden, n_output))
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

    @property
    def input_layer(self) -> nn.Linear:
        """The first layer."""
        return cast(nn.Linear, self.layers[0])

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer, before the link."""
        return cast(nn.Linear, self.layers[-1])

    def store_by_input(self) -> None:
        """Keep the first layer's weights of one input side by side in memory; none is changed."""
        weight = self.input_layer.weight  # (n_hidden, n_input)
        weight.data = weight.data.T.contiguous().T


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
