"""The multilayer perceptron: its layers, and what a link may be."""

import numpy as np
import pytest
import scipy.special
import torch
from rounding import by_hand, float32_error
from torch import nn

from nbvae.module.mlp import LINKS, MLP

NUMPY_LINKS = {
    None: lambda y: y,
    "exp": np.exp,
    "softmax": lambda y: scipy.special.softmax(y, axis=-1),
    "log_softmax": lambda y: scipy.special.log_softmax(y, axis=-1),
    "log_softplus": lambda y: np.log(np.logaddexp(y, 0)),
}


@pytest.mark.parametrize("link", NUMPY_LINKS)
def test_output_is_two_layers_and_the_link(link):
    """Else the network computes something other than Linear → ReLU → Linear → link."""
    network = MLP(5, 3, n_hidden=7, link=link).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    output = network(x).detach().numpy()
    np.testing.assert_allclose(output, NUMPY_LINKS[link](by_hand(network, x)), rtol=1e-12)


@pytest.mark.parametrize("n_layers", [2, 4])
def test_more_hidden_layers_are_the_same_again(n_layers):
    """Else a layer would lack its ReLU, or the last one have it."""
    network, x = MLP(5, 3, n_hidden=7, n_layers=n_layers).double(), torch.randn(4, 5).double()
    *hidden, last = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in (*hidden, last)] == [5, *[7] * n_layers]
    values = x.numpy()
    for layer in hidden:
        values = values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        values = np.maximum(values, 0)
    expected = values @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def test_all_named_links_are_tested():
    """Else a new link could be wrong and nobody would compare it with numpy."""
    assert set(LINKS) == set(NUMPY_LINKS) - {None}


def test_softmax_runs_over_genes_not_cells():
    """Else the shares of a cell would not sum to 1, but those of a gene over cells would."""
    shares = MLP(5, 3, link="softmax")(torch.randn(2, 4, 5))
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2, 4))


def test_log_softmax_does_not_underflow():
    """Else the log-share of a gene far below the others would be −inf and its loss infinite."""
    torch.testing.assert_close(
        LINKS["log_softmax"](torch.tensor([0.0, -500.0])), torch.tensor([0.0, -500.0])
    )


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 4, 5), (0, 5)])
def test_leading_axes_are_kept(shape):
    """Else the network would only take a minibatch, not a single cell or several draws."""
    assert MLP(5, 3)(torch.zeros(shape)).shape == (*shape[:-1], 3)


def test_layers_and_default_width():
    """Else the weights would not fit the draft's: Linear(·, 128), ReLU, Linear(128, ·)."""
    network = MLP(5, 3)
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.ReLU, nn.Linear]
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == {
        "layers.0.weight": (128, 5),
        "layers.0.bias": (128,),
        "layers.2.weight": (3, 128),
        "layers.2.bias": (3,),
    }


def test_a_callable_is_used_as_it_is():
    """Else a link of the user's own would be ignored or replaced."""
    network, x = MLP(5, 3, link=torch.square), torch.randn(4, 5)
    y, error = by_hand(network, x), float32_error(network, x)
    off = np.abs(network(x).detach().numpy() - y**2)
    assert (off <= (2 * np.abs(y) + error) * error + np.finfo(np.float32).eps * y**2).all()


def test_a_module_as_link_is_part_of_the_network():
    """Else its parameters would not be trained or saved."""
    assert "link.weight" in MLP(5, 3, link=nn.PReLU()).state_dict()


@pytest.mark.parametrize("layers", [[], [nn.Identity()]])
def test_a_link_that_is_false_is_still_a_link(layers):
    """Else an empty nn.Sequential(), which is false in an `if`, would be taken for no link."""
    link = nn.Sequential(*layers)
    network = MLP(5, 3, link=link)
    assert network.link is link
    assert network(torch.zeros(2, 5)).shape == (2, 3)


def test_a_false_callable_is_called():
    """Else a link would be skipped because of its truth value."""

    class Doubling:
        def __bool__(self):
            return False

        def __call__(self, y):
            return 2 * y

    network, x = MLP(5, 3, link=Doubling()), torch.randn(4, 5)
    off = np.abs(network(x).detach().numpy() - 2 * by_hand(network, x))
    assert (off <= 2 * float32_error(network, x)).all()


@pytest.mark.parametrize("name", ["none", "sotfmax", "", "Softmax"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    """Else a slip of the pen would only show up when the network is called."""
    with pytest.raises(ValueError, match="Unknown link") as caught:
        MLP(5, 3, link=name)
    for known in ("softmax", "log_softmax", "exp", "None", repr(name)):
        assert known in str(caught.value)


@pytest.mark.parametrize("link", [0, False, 1.5, ["exp"], torch.zeros(1)])
def test_something_that_cannot_be_called_is_refused(link):
    """Else it would be stored and called in `forward`, far from the mistake."""
    with pytest.raises(TypeError, match=f"not {type(link).__name__}"):
        MLP(5, 3, link=link)


def test_options_are_keyword_only():
    """Else `MLP(5, 3, "softmax")`, as in the draft, would take the link for the width."""
    with pytest.raises(TypeError):
        MLP(5, 3, "softmax")
