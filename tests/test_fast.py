"""The fast reconstruction term: equal to the plain formula and to PyTorch's, gradients included."""

import copy
import pickle
from functools import partial

import pytest
import torch
from all_sizes import counts_and_parameters, plain
from scipy import sparse
from torch.distributions import NegativeBinomial

from nbvae import NBVAE, Covariates, Minibatch, SparseBatch, log_counts_product, loss_of
from nbvae.module.fast import has_shortcut
from nbvae.module.kernels import TABLED, nb_reconstruction


def sparse_form(x):
    return SparseBatch.of(sparse.csr_matrix(x.numpy()))


def fast_step(module, x, *, covariates=None, **options):
    """The loss as the trainer asks for it."""
    return loss_of(module, Minibatch(sparse.csr_matrix(x.numpy()), covariates), **options)


def fast(x, logits, log_theta):
    return nb_reconstruction(x, sparse_form(x), logits, log_theta)


def gradients(function, arguments, upstream):
    return torch.autograd.grad(function(*arguments), arguments[1:], upstream)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_equals_the_plain_formula_to_ten_digits(theta):
    """Else the trainer would learn another model than the one that the book derives."""
    arguments = counts_and_parameters(theta=theta)
    torch.testing.assert_close(fast(*arguments), plain(*arguments), rtol=1e-10, atol=1e-10)


def test_equals_pytorchs_negative_binomial():
    """Else both of our formulas could share a mistake."""
    x, logits, log_theta = counts_and_parameters(theta=(-2, 2))
    x = x.index_select(0, torch.tensor([i for i in range(len(x)) if i != 7]))  # theirs: no μ = 0
    logits = logits[[i for i in range(len(logits)) if i != 7]]
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    theirs = NegativeBinomial(log_theta.exp(), logits=log_mean - log_theta).log_prob(x).sum(-1)
    torch.testing.assert_close(fast(x, logits, log_theta), -theirs, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_gradients_equal_those_of_the_plain_formula(theta):
    """Else training would walk somewhere else; each cell has a weight of its own here."""
    arguments = counts_and_parameters(theta=theta)
    upstream = torch.linspace(-1, 2, 40, dtype=torch.float64)
    for ours, theirs in zip(
        gradients(fast, arguments, upstream),
        gradients(plain, arguments, upstream),
        strict=True,
    ):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * scale)


def test_gradients_are_finite_differences():
    """Else both gradients by hand could share a mistake."""
    generator = torch.Generator().manual_seed(2)
    x = torch.poisson(torch.full((4, 5), 6.0, dtype=torch.float64), generator=generator)
    x[0], x[1, 1] = 0, 3 * TABLED
    logits = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    log_theta = torch.randn(5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: fast(x, a, b), (logits, log_theta))


def float32_errors(x, logits, log_theta):
    """How far float32 may be from the exact loss and its two gradients, on any processor.

    A sum of n rounded terms is wrong by at most n ε times the sum of their absolute values (Higham
    2002, §3.1). The terms are those of the module's formula, none of which grows with θ. The
    softmax adds the spread of the logits to n: exp(a) is wrong by |a| ε if a is by ε.
    """
    theta, library = log_theta.exp(), x.sum(-1, keepdim=True)
    share = logits.softmax(-1)
    ratio = library * share / theta
    log_ratio, pull = ratio.log1p(), (x + theta) * ratio / (1 + ratio)
    rise = torch.lgamma(x + theta) - torch.lgamma(theta) - x * log_theta  # Σ_{k<x} log(1 + k/θ)
    by_gene = x * (1 + logits.abs()) + (x + theta) * log_ratio + rise + torch.lgamma(x + 1)
    log_norm = logits.logsumexp(-1, keepdim=True)
    by_cell = torch.xlogy(library, library) + library * log_norm.abs()
    alone = pull + x
    terms = (
        (by_gene.sum(-1, keepdim=True) + by_cell).squeeze(-1),
        alone + share * alone.sum(-1, keepdim=True),
        (theta * log_ratio + pull + 2 * x).sum(0),
    )
    n = max(x.shape) + (logits.amax(-1) - logits.amin(-1)).max() + 10  # 10 elementary functions
    return [(n * torch.finfo(torch.float32).eps * term).detach() for term in terms]


def test_float32_keeps_what_float32_can_hold():
    """Else large counts or a large θ would fill the loss with rounding noise."""
    single = counts_and_parameters(torch.float32, theta=(-4, 8))
    exact = [value.detach().double() for value in single]  # as rounded: not the test's business
    exact[1:] = [value.requires_grad_() for value in exact[1:]]
    upstream = torch.ones(40)
    found = [fast(*single), *gradients(fast, single, upstream)]
    expected = [fast(*exact), *gradients(fast, exact, upstream.double())]
    for low, high, error in zip(found, expected, float32_errors(*exact), strict=True):
        assert ((low.double() - high).abs() <= error).all()


def test_an_empty_cell_costs_nothing_and_pulls_nowhere():
    """Else 0 · log 0 would turn the loss into NaN."""
    x, logits, log_theta = counts_and_parameters()
    loss = fast(x, logits, log_theta)
    (grad_logits,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[7] == 0
    assert (grad_logits[7] == 0).all()


def test_inputs_are_left_as_they_were():
    """Else memory that is used again would corrupt the minibatch."""
    arguments = counts_and_parameters()
    before = [value.detach().clone() for value in arguments]
    gradients(fast, arguments, torch.ones(40, dtype=torch.float64))
    assert all(torch.equal(value, old) for value, old in zip(arguments, before, strict=True))


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_a_fast_step_is_a_plain_step(blood, kl_weight):
    """Else the trainer and the chapters would speak of two models. Real cells, float64."""
    module = NBVAE(765).double()
    x, noise = blood[:64].double(), torch.randn(64, 10, dtype=torch.float64)
    outputs, slopes = [], []
    for step in (module, partial(fast_step, module)):
        module.zero_grad()
        output = step(x, kl_weight=kl_weight, noise=noise)
        output.loss.backward()
        outputs.append(output)
        slopes.append([weights.grad.clone() for weights in module.parameters()])
    for plain_term, fast_term in zip(*outputs, strict=True):
        torch.testing.assert_close(fast_term, plain_term, rtol=1e-12, atol=1e-10)
    for plain_slope, fast_slope in zip(*slopes, strict=True):
        torch.testing.assert_close(
            fast_slope, plain_slope, rtol=1e-10, atol=1e-10 * plain_slope.abs().max().item()
        )


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_other_likelihoods_take_the_three_steps(small, likelihood):
    """Else they would be trained as if they were negative binomials."""
    module, x = NBVAE(12, 2, likelihood=likelihood), torch.from_numpy(small.X.toarray())
    noise = torch.randn(53, 2)
    assert torch.equal(fast_step(module, x, noise=noise).loss, module(x, noise=noise).loss)


def layer_norm(module):
    layers = module.mean_encoder.layers
    module.mean_encoder.layers = torch.nn.Sequential(
        layers[0], torch.nn.LayerNorm(128), *layers[1:]
    )


def linked_encoder(module):
    module.logvar_encoder.link = torch.tanh


def own_network(module):
    class Wider(type(module.decoder)):
        def forward(self, x):
            return 2 * super().forward(x)

    module.decoder.__class__ = Wider


def hook(module):
    module.decoder.register_forward_hook(lambda _, __, output: output.detach())


def pre_hook(module):
    module.mean_encoder.layers[0].register_forward_pre_hook(lambda _, inputs: (2 * inputs[0],))


def loss_from_outside(module):
    loss = module.loss
    module.loss = lambda *arguments, **options: loss(*arguments, **options | {"kl_weight": 0.0})


def spectral_norm(module):
    torch.nn.utils.parametrizations.spectral_norm(module.decoder.layers[0])


CHANGES = (
    *(layer_norm, linked_encoder, own_network, hook, pre_hook, loss_from_outside, spectral_norm),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_the_shortcut_does_not_know_takes_the_three_steps(small, change):
    """Else training would see another network than the one that is used."""
    module, noise = NBVAE(12, 2), torch.randn(53, 2)
    x = torch.from_numpy(small.X.toarray())
    before = fast_step(module, x, noise=noise)
    assert has_shortcut(module)
    change(module)
    assert not has_shortcut(module)
    after, expected = fast_step(module, x, noise=noise), module(x, noise=noise)
    assert torch.equal(after.loss, expected.loss)
    assert not torch.isclose(after.loss, before.loss, rtol=1e-6) or change is hook


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_keeps_the_shortcut(small, copied):
    """Else a copy would be trained in twice the time."""
    module, noise = NBVAE(12, 2), torch.randn(53, 2)
    twin = copied(module)
    assert has_shortcut(twin)
    losses = [loss_of(m, Minibatch(small.X), noise=noise).loss for m in (module, twin)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("step", ["forward", "inference", "generative", "loss"])
def test_a_subclass_that_changes_a_step_is_trained_as_it_says(small, step):
    """Else the trainer would silently train something else than what was written."""

    def broken(self, *_, **__):
        raise NotImplementedError(step)

    changed = type("Changed", (NBVAE,), {step: broken})(12, 2)
    with pytest.raises(NotImplementedError, match=step):
        loss_of(changed, Minibatch(small.X))


def test_another_link_takes_the_three_steps(small):
    """Else the softmax would come back through the shortcut."""
    module, x = NBVAE(12, 2), torch.from_numpy(small.X.toarray())
    module.decoder.link = lambda y: torch.nn.functional.logsigmoid(y)
    noise = torch.randn(53, 2)
    assert torch.equal(fast_step(module, x, noise=noise).loss, module(x, noise=noise).loss)


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("encode_covariates", [False, True])
@pytest.mark.parametrize("keys", [("group",), ("run", "percent_mito", "group")], ids=len)
def test_covariates_reach_the_fast_step(told, keys, encode_covariates, n_layers):
    """Else training would ignore them, or learn other weights than the plain step. 1e-10."""
    covariates = Covariates.of(told, *keys)
    arguments = {"encode_covariates": encode_covariates, "n_layers": n_layers}
    module = NBVAE(12, 2, n_hidden=16, covariates=covariates, **arguments).double()
    assert has_shortcut(module)
    x, noise = torch.from_numpy(told.X.toarray()).double(), torch.randn(53, 2).double()
    covariates = torch.from_numpy(module.covariates.design(told)).double()
    results = []
    for step in (fast_step, lambda m, *a, **k: m(*a, **k)):
        module.zero_grad()
        output = step(module, x, covariates=covariates, noise=noise, kl_weight=0.7)
        output.loss.backward()
        results.append([*output, *(weights.grad.clone() for weights in module.parameters())])
    for ours, expected in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10 * scale)
    with pytest.raises(ValueError, match="needs covariates"):
        fast_step(module, x, noise=noise)


def same_logs(ours, expected):
    """Equal but for the last two digits in binary: NumPy and PyTorch each round a logarithm."""
    rtol = 4 * torch.finfo(expected.dtype).eps
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("n_cells", [1, 7, 40])
def test_the_sparse_form_is_the_counts(n_cells):
    """Else the list and the matrix would be two data sets."""
    x = counts_and_parameters()[0][:n_cells]
    above_zero, expected = sparse_form(x), x.nonzero(as_tuple=True)
    assert torch.equal(above_zero.cells.long(), expected[0])
    assert torch.equal(above_zero.genes.long(), expected[1])
    assert torch.equal(above_zero.counts, x[expected])
    same_logs(above_zero.log_counts, x[expected].log1p())
    genes, cells = x.T.nonzero(as_tuple=True)
    assert torch.equal(above_zero.cells_by_gene.long(), cells)
    same_logs(above_zero.log_counts_by_gene, x[cells, genes].log1p())
    assert above_zero.cell_starts.tolist() == [int((x[:row] > 0).sum()) for row in range(n_cells)]
    assert above_zero.gene_starts.tolist() == [int((x[:, :gene] > 0).sum()) for gene in range(30)]


def test_the_product_with_log_counts():
    """Else the encoders would see other counts in training; the gradient, too."""
    x = counts_and_parameters()[0]
    weights = torch.randn(5, 30, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(40, 5, dtype=torch.float64)
    expected = torch.log1p(x) @ weights.T
    ours = log_counts_product(sparse_form(x), weights)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, weights, upstream),
        torch.autograd.grad(expected, weights, upstream),
    )


def test_counts_that_are_all_zero():
    """Else a minibatch of empty cells would crash; its library is 0 and so is its loss."""
    x = torch.zeros(3, 30, dtype=torch.float64)
    _, logits, log_theta = counts_and_parameters()
    assert (fast(x, logits[:3], log_theta) == 0).all()


def test_weights_of_a_gene_stay_side_by_side(small):
    """Else a copy, a file or the optimiser would undo what makes the first layer fast."""
    module = NBVAE(12, 2)
    first = module.mean_encoder.layers[0].weight
    assert first.shape == (128, 12) and first.T.is_contiguous()
    module.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    assert module.mean_encoder.layers[0].weight.T.is_contiguous()
    x = torch.from_numpy(small.X.toarray())
    fast_step(module, x).loss.backward()
    assert first.grad.T.is_contiguous()


def test_adam_moves_such_weights_as_any_others(small):
    """Else the optimiser's shortcut could mix up the order in memory, which it does not check."""
    results = []
    for fused in (True, False):
        torch.manual_seed(0)
        module = NBVAE(12, 2).double()  # where a slope is rounding noise, Adam's step is its sign
        if not fused:
            for encoder in (module.mean_encoder, module.logvar_encoder):
                first = encoder.layers[0]
                first.weight = torch.nn.Parameter(first.weight.detach().contiguous())
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2, fused=fused)
        x, noise = torch.from_numpy(small.X.toarray()).double(), torch.ones(53, 2).double()
        for _ in range(5):
            fast_loss = fast_step(module, x, noise=noise).loss
            loss = fast_loss if fused else module(x, noise=noise).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        results.append([weights.detach() for weights in module.parameters()])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
