"""What lets a step be recorded, as far as a CPU can show it."""

import pytest
import torch

from nbvae import NBVAE
from nbvae.train.graph import Recorded, forget_kept_graphs


def accumulators(module):
    """The nodes that add up gradients, one for each weight."""
    return [w.view_as(w).grad_fn.next_functions[0][0] for w in module.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_kept_graph_is_left_behind(dtype):
    """Else a loss kept from before the fit would hold nodes of a stream that can't be recorded."""
    torch.manual_seed(0)
    module = NBVAE(7, 2, n_hidden=5).to(dtype)
    kept = module(torch.ones(3, 7, dtype=dtype), noise=torch.zeros(3, 2, dtype=dtype)).loss
    weights, before = list(module.parameters()), accumulators(module)
    assert all(one is other for one, other in zip(before, accumulators(module), strict=True))
    values = [(w.detach().clone(), w.data_ptr(), w._version) for w in weights]

    forget_kept_graphs(module)
    after = accumulators(module)
    assert not any(one is other for one, other in zip(before, after, strict=True))
    for w, (value, place, version) in zip(weights, values, strict=True):
        assert torch.equal(w, value) and (w.data_ptr(), w._version) == (place, version)

    kept.backward()  # and both graphs still give the same gradients
    gradients = [w.grad.clone() for w in weights]
    module.zero_grad()
    module(torch.ones(3, 7, dtype=dtype), noise=torch.zeros(3, 2, dtype=dtype)).loss.backward()
    assert all(torch.equal(w.grad, g) for w, g in zip(weights, gradients, strict=True))


def test_on_a_cpu_work_is_done_each_time():
    """Else steps would be missed where nothing can be recorded."""
    done = []
    step = Recorded()
    for number in range(6):
        step(lambda number=number: done.append(number))
    assert done == list(range(6))
