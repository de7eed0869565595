"""The fast reconstruction term: equal to the plain formula and to PyTorch's, gradients included."""

import pytest
import torch
from torch.distributions import NegativeBinomial

from nbvae import NBVAE
from nbvae.counts import Batches
from nbvae.distributions import nb_log_prob
from nbvae.fast import TABLED, nb_reconstruction


def minibatch(dtype=torch.float64, *, theta=(-4.0, 4.0), n_cells=40, n_genes=30):
    """Counts of all sizes, an empty cell, a gene that is never seen."""
    generator = torch.Generator().manual_seed(1)
    sizes = 10 ** (4 * torch.rand(n_cells, n_genes, generator=generator, dtype=torch.float64))
    x = (sizes * torch.rand(n_cells, n_genes, generator=generator, dtype=torch.float64)).floor()
    x *= torch.rand(n_cells, n_genes, generator=generator) < 0.5
    x[:6, 0] = torch.tensor([0, 1, 2, TABLED - 1, TABLED, TABLED + 1])
    x[7], x[:, 3] = 0, 0
    logits = 4 * torch.randn(n_cells, n_genes, generator=generator, dtype=torch.float64)
    low, high = theta
    log_theta = 2.302585 * torch.linspace(low, high, n_genes, dtype=torch.float64)
    return x.to(dtype), logits.to(dtype).requires_grad_(), log_theta.to(dtype).requires_grad_()


def plain(x, logits, log_theta):
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    return -nb_log_prob(x, log_mean, log_theta).sum(-1)


def gradients(function, arguments, upstream):
    return torch.autograd.grad(function(*arguments), arguments[1:], upstream)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_equals_the_plain_formula_to_ten_digits(theta):
    """Else the trainer would learn another model than the one that the book derives."""
    arguments = minibatch(theta=theta)
    torch.testing.assert_close(
        nb_reconstruction(*arguments), plain(*arguments), rtol=1e-10, atol=1e-10
    )


def test_equals_pytorchs_negative_binomial():
    """Else both of our formulas could share a mistake."""
    x, logits, log_theta = minibatch(theta=(-2, 2))
    x = x.index_select(0, torch.tensor([i for i in range(len(x)) if i != 7]))  # theirs: no μ = 0
    logits = logits[[i for i in range(len(logits)) if i != 7]]
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    theirs = NegativeBinomial(log_theta.exp(), logits=log_mean - log_theta).log_prob(x).sum(-1)
    torch.testing.assert_close(
        nb_reconstruction(x, logits, log_theta), -theirs, rtol=1e-10, atol=1e-8
    )


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_gradients_equal_those_of_the_plain_formula(theta):
    """Else training would walk somewhere else; each cell has a weight of its own here."""
    arguments = minibatch(theta=theta)
    upstream = torch.linspace(-1, 2, 40, dtype=torch.float64)
    for ours, theirs in zip(
        gradients(nb_reconstruction, arguments, upstream),
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
    assert torch.autograd.gradcheck(lambda a, b: nb_reconstruction(x, a, b), (logits, log_theta))


def test_float32_keeps_what_float32_can_hold():
    """Else large counts or a large θ would fill the loss with rounding noise."""
    exact = minibatch(theta=(-4, 8))
    single = minibatch(torch.float32, theta=(-4, 8))
    ours, expected = nb_reconstruction(*single).double(), nb_reconstruction(*exact)
    assert ((ours - expected).abs() / expected.clamp(min=1)).max() < 1e-5
    upstream = torch.ones(40)
    for low, high in zip(
        gradients(nb_reconstruction, single, upstream),
        gradients(nb_reconstruction, exact, upstream.double()),
        strict=True,
    ):
        assert torch.isfinite(low).all()
        assert (low - high).abs().max() < 1e-5 * high.abs().max()


def test_an_empty_cell_costs_nothing_and_pulls_nowhere():
    """Else 0 · log 0 would turn the loss into NaN."""
    x, logits, log_theta = minibatch()
    loss = nb_reconstruction(x, logits, log_theta)
    (by_logits,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[7] == 0
    assert (by_logits[7] == 0).all()


def test_inputs_are_left_as_they_were():
    """Else memory that is used again would corrupt the minibatch."""
    arguments = minibatch()
    before = [value.detach().clone() for value in arguments]
    gradients(nb_reconstruction, arguments, torch.ones(40, dtype=torch.float64))
    assert all(torch.equal(value, old) for value, old in zip(arguments, before, strict=True))


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_a_fast_step_is_a_plain_step(blood, kl_weight):
    """Else the trainer and the chapters would speak of two models. Real cells, float64."""
    module = NBVAE(765).double()
    x, noise = blood[:64].double(), torch.randn(64, 10, dtype=torch.float64)
    outputs, slopes = [], []
    for step in (module, module.fast_forward):
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
    assert torch.equal(module.fast_forward(x, noise=noise).loss, module(x, noise=noise).loss)


@pytest.mark.parametrize("step", ["forward", "generative", "loss"])
def test_a_subclass_that_changes_a_step_is_trained_as_it_says(small, step):
    """Else the trainer would silently train something else than what was written."""

    def broken(self, *_, **__):
        raise NotImplementedError(step)

    changed = type("Changed", (NBVAE,), {step: broken})(12, 2)
    with pytest.raises(NotImplementedError, match=step):
        changed.fast_forward(torch.from_numpy(small.X.toarray()))


def test_another_link_takes_the_three_steps(small):
    """Else the softmax would come back through the shortcut."""
    module, x = NBVAE(12, 2), torch.from_numpy(small.X.toarray())
    module.decoder.link = lambda y: torch.nn.functional.logsigmoid(y)
    noise = torch.randn(53, 2)
    assert torch.equal(module.fast_forward(x, noise=noise).loss, module(x, noise=noise).loss)


def test_batches_reach_the_fast_step(small):
    """Else training would ignore the covariate."""
    batches = Batches.of(small, "group")
    module = NBVAE(12, 2, batches=batches, encode_batch=True).double()
    x, noise = torch.from_numpy(small.X.toarray()).double(), torch.randn(53, 2).double()
    batch = torch.from_numpy(batches.codes(small))
    fast = module.fast_forward(x, batch=batch, noise=noise).reconstruction
    torch.testing.assert_close(fast, module(x, batch=batch, noise=noise).reconstruction)
    with pytest.raises(ValueError, match="needs the batch"):
        module.fast_forward(x, noise=noise)


def test_a_module_for_counts_starts_at_the_shares_of_the_genes(small):
    """Else training would spend its first epochs on what can be counted."""
    module = NBVAE.for_counts(small, n_latent=2)
    shares = torch.softmax(module.decoder.layers[-1].bias, 0)
    expected = (small.X.sum(axis=0).A1 + 0.5) / (small.X.sum() + 6)
    torch.testing.assert_close(shares, torch.from_numpy(expected).float())
    assert (module.log_theta == 0).all()
    assert module.n_latent == 2
    assert NBVAE.for_counts(small, likelihood="poisson").log_theta is None
