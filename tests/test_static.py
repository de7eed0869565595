"""The static form of a step: the same numbers as the three steps, and nothing that has to wait."""

import copy

import pytest
import torch
from all_sizes import counts_and_parameters, plain
from scipy import sparse
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nbvae import NBVAE, Covariates, Minibatch, loss_of
from nbvae.module import distributions
from nbvae.module.fast import is_unchanged
from nbvae.module.kernels import TABLED
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.static import static_loss, static_nb_reconstruction, sums_below

MOST_OPERATORS = 190  # of a step without Adam, views apart; each is a launch on a GPU
WAITS = ("nonzero", "_local_scalar_dense", "masked_select", "item", "is_nonzero", "unique")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let ``forward`` compute as it does off the CPU."""
    monkeypatch.setattr(distributions, "SEARCHED_ON", ())


def close(ours, expected, digits=10):
    scale = expected.abs().max().item()
    torch.testing.assert_close(ours, expected, rtol=10**-digits, atol=scale * 10**-digits)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_the_static_reconstruction_is_the_plain_one(theta):
    """Else a GPU would train another model; each cell has a weight of its own here."""
    arguments = counts_and_parameters(theta=theta)
    upstream = torch.linspace(-1, 2, 40, dtype=torch.float64)
    results = []
    for function in (static_nb_reconstruction, plain):
        loss = function(*arguments)
        results.append([loss, *torch.autograd.grad(loss, arguments[1:], upstream)])
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)


def test_its_gradients_are_finite_differences():
    """Else both gradients by hand could share a mistake."""
    generator = torch.Generator().manual_seed(2)
    x = torch.poisson(torch.full((4, 5), 6.0, dtype=torch.float64), generator=generator)
    x[0], x[1, 1] = 0, 3 * TABLED
    logits = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    log_theta = torch.randn(5, dtype=torch.float64, generator=generator, requires_grad=True)
    function = lambda a, b: static_nb_reconstruction(x, a, b)  # noqa: E731
    assert torch.autograd.gradcheck(function, (logits, log_theta))


def test_the_sums_below_are_sums():
    """Else log-gammas and Stirling's series could be wrong together."""
    x, theta = torch.tensor([[0.0, 1, 2, 5, 40]]).double(), torch.tensor([0.3, 1e-6, 1e6, 2, 30.0])
    theta = theta.double()
    log_sum, slope = sums_below(x, theta)
    for i, (n, t) in enumerate(zip(x[0].tolist(), theta.tolist(), strict=True)):
        k = torch.arange(int(n), dtype=torch.float64)
        torch.testing.assert_close(log_sum[0, i], torch.log1p(k / t).sum(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(slope[0, i], (k / (t + k)).sum(), rtol=1e-9, atol=1e-9)


def test_of_a_count_of_0_there_is_nothing():
    """Else nine in ten entries would add rounding noise: it has to be 0, not nearly 0."""
    theta = 10 ** torch.linspace(-6, 8, 200)
    assert all((sums == 0).all() for sums in sums_below(torch.zeros(3, 200), theta))


def test_float32_is_as_good_as_the_form_of_the_cpu():
    """Else a GPU would train on noise that a CPU does not have. Real sizes of counts and θ."""
    x, logits, log_theta = counts_and_parameters(theta=(-2, 4))
    upstream = torch.ones(40, dtype=torch.float64)

    def results(function, dtype):
        arguments = [v.detach().to(dtype) for v in (x, logits, log_theta)]
        arguments[1:] = [v.requires_grad_() for v in arguments[1:]]
        loss = function(*arguments)
        slopes = torch.autograd.grad(loss, arguments[1:], upstream.to(dtype))
        return [loss.detach(), *slopes]

    exact = results(static_nb_reconstruction, torch.float64)
    for single, double in zip(results(static_nb_reconstruction, torch.float32), exact, strict=True):
        close(single.double(), double, digits=5)


def step_of(module, x, loss, **options):
    """The loss, its terms, and the gradient of each weight."""
    module.zero_grad()
    output = loss(module, x, **options)
    output.loss.backward()
    return [*output, *(w.grad.clone() for w in module.parameters() if w.grad is not None)]


def covariates_for(told, keys):
    if not keys:
        return {}, None
    covariates = Covariates.of(told, *keys)
    design = torch.from_numpy(covariates.design(told)).double()
    return {"covariates": covariates, "encode_covariates": True}, design


@pytest.mark.parametrize("keys", [(), ("group",), ("run", "percent_mito", "group")], ids=len)
@pytest.mark.parametrize(("key", "n_layers"), [(None, 1), ("depth", 1), (None, 2)])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_static_step_is_a_plain_step(told, likelihood, keys, key, n_layers, monkeypatch):
    """Else a GPU would train another model than the book derives. Float64, 1e-10."""
    arguments, design = covariates_for(told, keys)
    arguments |= {"likelihood": likelihood, "size_factor_key": key, "n_layers": n_layers}
    module = NBVAE(12, 2, n_hidden=16, **arguments).double()
    x, noise = torch.from_numpy(told.X.toarray()).double(), torch.randn(53, 2).double()
    library = None if key is None else torch.from_numpy(told.obs[[key]].to_numpy())
    options = {"covariates": design, "library": library, "kl_weight": 0.7, "noise": noise}
    expected = step_of(module, x, NBVAE.__call__, **options)
    monkeypatch.setattr(distributions, "SEARCHED_ON", ())
    options["kl_weight"] = torch.tensor([0.7], dtype=torch.float64)
    ours = step_of(module, x, static_loss, **options)
    for one, other in zip(ours, expected, strict=True):
        close(one, other)


class Strict(TorchDispatchMode):
    """Counts operators, and refuses those for which the host waits for the device."""

    def __init__(self):
        super().__init__()
        self.n_operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        assert name not in WAITS, f"{name} waits for the device"
        if name.startswith("index.") or name in ("index", "index_put", "index_put_"):
            indices = [i for i in args[1] if i is not None]
            assert all(i.dtype is not torch.bool for i in indices), "a boolean index waits"
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in (*args, out) if isinstance(t, torch.Tensor) and t.ndim]
        assert len({t.device for t in tensors}) < 2, f"{name} copies between devices"
        self.n_operators += not func.is_view
        return out


@pytest.mark.parametrize("wait", [lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: x[0].item()])
def test_the_guard_can_bite(wait):
    """Else the tests that use it would prove nothing."""
    with pytest.raises(AssertionError, match="wait"), Strict():
        wait(torch.arange(3.0))
    with pytest.raises(AssertionError, match="between devices"), Strict():
        torch.arange(3.0).to("meta")


@pytest.mark.parametrize("key", [None, "depth"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_static_step_never_waits(small, as_on_a_gpu, likelihood, key):
    """Else it could not be recorded, and a GPU would idle nine tenths of the time."""
    module = NBVAE(12, 2, likelihood=likelihood, size_factor_key=key)
    x, noise = torch.from_numpy(small.X.toarray()), torch.randn(53, 2)
    library = None if key is None else torch.ones(53, 1)
    with Strict() as strict:
        static_loss(module, x, library=library, noise=noise).loss.backward()
    assert key or likelihood != "nb" or strict.n_operators <= MOST_OPERATORS
    print(likelihood, strict.n_operators)


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_nor_does_one_with_a_theta_per_batch(told, as_on_a_gpu, likelihood):
    """Each cell's θ is a product with its row of the design; looking its batch up would wait."""
    covariates = Covariates.of(told, "run", "group")
    module = NBVAE(12, 2, likelihood=likelihood, covariates=covariates, dispersion="gene-batch")
    x, design = torch.from_numpy(told.X.toarray()), torch.from_numpy(covariates.design(told))
    with Strict():
        static_loss(module, x, covariates=design, noise=torch.randn(53, 2)).loss.backward()
    assert module.log_theta.grad.abs().sum(dim=0).min() > 0


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_no_shape_depends_on_the_data(small, as_on_a_gpu, likelihood):
    """Else a recorded step would replay the first minibatch's shapes: tensors without values."""
    with FakeTensorMode():
        module = NBVAE(12, 2, likelihood=likelihood)
        static_loss(module, torch.ones(53, 12), noise=torch.ones(53, 2)).loss.backward()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_device_that_is_not_the_cpu_gets_the_static_form(small, likelihood):
    """Else a GPU would get a form that waits. "meta" is a device without memory."""
    module = NBVAE(12, 2, likelihood=likelihood).to("meta")
    minibatch = Minibatch(small.X, device="meta")
    assert minibatch.x.is_meta  # copied there before the guard looks
    with Strict():
        loss_of(module, minibatch).loss.backward()


def test_a_cpu_keeps_the_form_that_is_faster_there(small):
    """Else a CPU would compute three log-gammas for every zero."""
    minibatch = Minibatch(small.X)
    loss_of(NBVAE(12, 2), minibatch)
    assert "sparse" in vars(minibatch)  # the list of counts above zero


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_only_a_module_as_it_was_written_is_replaced(small, likelihood):
    """Else a reader's own network or likelihood would be passed over on a GPU."""
    module = NBVAE(12, 2, likelihood=likelihood)
    assert is_unchanged(module) and is_unchanged(copy.deepcopy(module))
    module.likelihood = module.likelihood._replace(log_prob=lambda x, p: p.log_px_mean)
    assert not is_unchanged(module)
    module = NBVAE(12, 2, likelihood="zinb")
    module.dropout_decoder.link = torch.tanh
    assert not is_unchanged(module)
    assert not is_unchanged(torch.nn.Linear(1, 1))


def test_sparse_counts_are_not_needed():
    """Else the list of counts above zero would be made for a device that has no use for it."""
    minibatch = Minibatch(sparse.csr_matrix(torch.ones(3, 12).numpy()), device="meta")
    loss_of(NBVAE(12, 2).to("meta"), minibatch)
    assert "sparse" not in vars(minibatch)
