"""The fast reconstruction term: equal to the plain formula and to PyTorch's, gradients included."""

from functools import partial

import pytest
import torch
from scipy import sparse
from torch.distributions import NegativeBinomial

from nbvae import NBVAE
from nbvae.counts import Batches
from nbvae.distributions import nb_log_prob
from nbvae.entries import Entries, log_counts_product
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


def entries_of(x):
    return Entries.of(sparse.csr_matrix(x.numpy()))


def fast(x, logits, log_theta):
    return nb_reconstruction(x, entries_of(x), logits, log_theta)


def plain(x, logits, log_theta):
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    return -nb_log_prob(x, log_mean, log_theta).sum(-1)


def gradients(function, arguments, upstream):
    return torch.autograd.grad(function(*arguments), arguments[1:], upstream)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_equals_the_plain_formula_to_ten_digits(theta):
    """Else the trainer would learn another model than the one that the book derives."""
    arguments = minibatch(theta=theta)
    torch.testing.assert_close(fast(*arguments), plain(*arguments), rtol=1e-10, atol=1e-10)


def test_equals_pytorchs_negative_binomial():
    """Else both of our formulas could share a mistake."""
    x, logits, log_theta = minibatch(theta=(-2, 2))
    x = x.index_select(0, torch.tensor([i for i in range(len(x)) if i != 7]))  # theirs: no μ = 0
    logits = logits[[i for i in range(len(logits)) if i != 7]]
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    theirs = NegativeBinomial(log_theta.exp(), logits=log_mean - log_theta).log_prob(x).sum(-1)
    torch.testing.assert_close(fast(x, logits, log_theta), -theirs, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("theta", [(-4, 4), (4, 8), (-8, -4)])
def test_gradients_equal_those_of_the_plain_formula(theta):
    """Else training would walk somewhere else; each cell has a weight of its own here."""
    arguments = minibatch(theta=theta)
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
    single = minibatch(torch.float32, theta=(-4, 8))
    exact = [value.detach().double() for value in single]  # as rounded: not the test's business
    exact[1:] = [value.requires_grad_() for value in exact[1:]]
    upstream = torch.ones(40)
    found = [fast(*single), *gradients(fast, single, upstream)]
    expected = [fast(*exact), *gradients(fast, exact, upstream.double())]
    for low, high, error in zip(found, expected, float32_errors(*exact), strict=True):
        assert ((low.double() - high).abs() <= error).all()


def test_an_empty_cell_costs_nothing_and_pulls_nowhere():
    """Else 0 · log 0 would turn the loss into NaN."""
    x, logits, log_theta = minibatch()
    loss = fast(x, logits, log_theta)
    (by_logits,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[7] == 0
    assert (by_logits[7] == 0).all()


def test_inputs_are_left_as_they_were():
    """Else memory that is used again would corrupt the minibatch."""
    arguments = minibatch()
    before = [value.detach().clone() for value in arguments]
    gradients(fast, arguments, torch.ones(40, dtype=torch.float64))
    assert all(torch.equal(value, old) for value, old in zip(arguments, before, strict=True))


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_a_fast_step_is_a_plain_step(blood, kl_weight):
    """Else the trainer and the chapters would speak of two models. Real cells, float64."""
    module = NBVAE(765).double()
    x, noise = blood[:64].double(), torch.randn(64, 10, dtype=torch.float64)
    outputs, slopes = [], []
    for step in (module, partial(module.fast_forward, entries=entries_of(x))):
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
    assert torch.equal(
        module.fast_forward(x, entries_of(x), noise=noise).loss, module(x, noise=noise).loss
    )


@pytest.mark.parametrize("step", ["forward", "inference", "generative", "loss"])
def test_a_subclass_that_changes_a_step_is_trained_as_it_says(small, step):
    """Else the trainer would silently train something else than what was written."""

    def broken(self, *_, **__):
        raise NotImplementedError(step)

    changed = type("Changed", (NBVAE,), {step: broken})(12, 2)
    with pytest.raises(NotImplementedError, match=step):
        changed.fast_forward(torch.from_numpy(small.X.toarray()), Entries.of(small.X))


def test_another_link_takes_the_three_steps(small):
    """Else the softmax would come back through the shortcut."""
    module, x = NBVAE(12, 2), torch.from_numpy(small.X.toarray())
    module.decoder.link = lambda y: torch.nn.functional.logsigmoid(y)
    noise = torch.randn(53, 2)
    assert torch.equal(
        module.fast_forward(x, entries_of(x), noise=noise).loss, module(x, noise=noise).loss
    )


def test_batches_reach_the_fast_step(small):
    """Else training would ignore the covariate."""
    batches = Batches.of(small, "group")
    module = NBVAE(12, 2, batches=batches, encode_batch=True).double()
    x, noise = torch.from_numpy(small.X.toarray()).double(), torch.randn(53, 2).double()
    batch = torch.from_numpy(batches.codes(small))
    fast = module.fast_forward(x, entries_of(x), batch=batch, noise=noise).reconstruction
    torch.testing.assert_close(fast, module(x, batch=batch, noise=noise).reconstruction)
    with pytest.raises(ValueError, match="needs the batch"):
        module.fast_forward(x, entries_of(x), noise=noise)


def same_logs(ours, expected):
    """Equal but for the last two digits in binary: NumPy and PyTorch each round a logarithm."""
    rtol = 4 * torch.finfo(expected.dtype).eps
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("n_cells", [1, 7, 40])
def test_entries_are_the_counts(n_cells):
    """Else the list and the matrix would be two data sets."""
    x = minibatch()[0][:n_cells]
    entries, expected = entries_of(x), x.nonzero(as_tuple=True)
    assert torch.equal(entries.cells.long(), expected[0])
    assert torch.equal(entries.genes.long(), expected[1])
    assert torch.equal(entries.counts, x[expected])
    same_logs(entries.log_counts, x[expected].log1p())
    genes, cells = x.T.nonzero(as_tuple=True)
    assert torch.equal(entries.cells_by_gene.long(), cells)
    same_logs(entries.log_counts_by_gene, x[cells, genes].log1p())
    assert entries.cell_starts.tolist() == [int((x[:row] > 0).sum()) for row in range(n_cells)]
    assert entries.gene_starts.tolist() == [int((x[:, :gene] > 0).sum()) for gene in range(30)]


def test_the_product_with_log_counts():
    """Else the encoders would see other counts in training; the gradient, too."""
    x = minibatch()[0]
    weights = torch.randn(5, 30, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(40, 5, dtype=torch.float64)
    expected = torch.log1p(x) @ weights.T
    ours = log_counts_product(entries_of(x), weights)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, weights, upstream),
        torch.autograd.grad(expected, weights, upstream),
    )


def test_counts_without_entries():
    """Else a minibatch of empty cells would crash; its library is 0 and so is its loss."""
    x = torch.zeros(3, 30, dtype=torch.float64)
    _, logits, log_theta = minibatch()
    assert (fast(x, logits[:3], log_theta) == 0).all()


def test_weights_of_a_gene_stay_side_by_side(small):
    """Else a copy, a file or the optimiser would undo what makes the first layer fast."""
    module = NBVAE(12, 2)
    first = module.mean_encoder.layers[0].weight
    assert first.shape == (128, 12) and first.T.is_contiguous()
    module.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    assert module.mean_encoder.layers[0].weight.T.is_contiguous()
    x = torch.from_numpy(small.X.toarray())
    module.fast_forward(x, entries_of(x)).loss.backward()
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
            fast_loss = module.fast_forward(x, entries_of(x), noise=noise).loss
            loss = fast_loss if fused else module(x, noise=noise).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        results.append([weights.detach() for weights in module.parameters()])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
