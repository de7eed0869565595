"""The model: its networks, its two loss terms, its draw, against torch.distributions."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch.distributions import NegativeBinomial, Normal, kl_divergence
from torch.nn.functional import linear

from nbvae.module.nbvae import NBVAE, kl_to_standard_normal

N, G, K = 6, 20, 4


@pytest.fixture
def module():
    return NBVAE(G, K).double()


@pytest.fixture
def x():
    return torch.poisson(torch.rand(N, G, dtype=torch.float64) * 4)


@pytest.fixture
def noise():
    return torch.randn(N, K, dtype=torch.float64)


def network(state, name, x):
    """One of the three networks, written out: Linear → ReLU → Linear."""
    hidden = linear(x, state[f"{name}.layers.0.weight"], state[f"{name}.layers.0.bias"])
    return linear(
        hidden.clamp(min=0), state[f"{name}.layers.2.weight"], state[f"{name}.layers.2.bias"]
    )


def plainly(module, x, noise):
    """Reconstruction and KL with torch.distributions and nothing of nbvae but the weights."""
    state = module.state_dict()
    q = Normal(
        network(state, "mean_encoder", (x + 1).log()),
        network(state, "logvar_encoder", (x + 1).log()).exp().sqrt(),
    )
    px_scale = network(state, "decoder", q.mean + q.stddev * noise).softmax(dim=-1)
    px_mean = x.sum(dim=1, keepdim=True) * px_scale
    theta = state["log_theta"].exp()
    log_prob = NegativeBinomial(theta, probs=px_mean / (px_mean + theta)).log_prob(x)
    return -log_prob.sum(dim=1), kl_divergence(q, Normal(0.0, 1.0)).sum(dim=1)


# ---------------------------------------------------------------- architecture


def test_weights_are_the_drafts():
    """Else it is another model than the draft's: three networks of width 128 and one θ a gene."""
    shapes = {name: tuple(value.shape) for name, value in NBVAE(G, K).state_dict().items()}
    networks = {"decoder": (K, G), "mean_encoder": (G, K), "logvar_encoder": (G, K)}
    expected = {"log_theta": (G,)}
    for name, (n_input, n_output) in networks.items():
        expected |= {
            f"{name}.layers.0.weight": (128, n_input),
            f"{name}.layers.0.bias": (128,),
            f"{name}.layers.2.weight": (n_output, 128),
            f"{name}.layers.2.bias": (n_output,),
        }
    assert shapes == expected


def test_defaults_are_the_drafts():
    """Else a model built without arguments would not have ten latent dimensions."""
    assert NBVAE(G).n_latent == 10


def test_hidden_width_reaches_all_three_networks():
    """Else `n_hidden` would change some networks and not others."""
    state = NBVAE(G, K, n_hidden=7).state_dict()
    biases = [value for name, value in state.items() if name.endswith("layers.0.bias")]
    assert [tuple(bias.shape) for bias in biases] == [(7,)] * 3


def test_all_parameters_are_trained():
    """Else θ would stay at its random start: it must be a parameter, not a buffer."""
    module = NBVAE(G, K)
    assert {name for name, _ in module.named_parameters()} == set(module.state_dict())


def test_theta_starts_as_the_drafts():
    """Else all genes would start with the same θ, unlike in the draft."""
    start = NBVAE(5000, 1).log_theta.detach().numpy()
    assert scipy.stats.kstest(start, "norm").pvalue > 1e-4


# ---------------------------------------------------------------- inference


def test_inference_encodes_the_logarithm_of_the_counts(module, x, noise):
    """Else the encoders would see raw counts, or the two would be mixed up."""
    q, state = module.inference(x, noise=noise), module.state_dict()
    torch.testing.assert_close(q.qz_mean, network(state, "mean_encoder", (x + 1).log()))
    torch.testing.assert_close(q.qz_logvar, network(state, "logvar_encoder", (x + 1).log()))


def test_z_is_mean_plus_sd_times_noise(module, x, noise):
    """Else the log-variance would be used as a variance, or the variance as an sd."""
    q = module.inference(x, noise=noise)
    torch.testing.assert_close(q.z, q.qz_mean + torch.sqrt(q.qz_logvar.exp()) * noise)


def test_draws_have_the_mean_and_sd_of_q():
    """Else z would not be a draw from q(z | x), even with the noise it makes itself."""
    module, n = NBVAE(G, K), 20_000
    torch.nn.init.constant_(module.logvar_encoder.layers[2].bias, -1.5)
    q = module.inference(torch.ones(n, G))  # one cell, many draws
    mean, sd = q.qz_mean[0].detach(), (q.qz_logvar[0].detach().exp()).sqrt()
    assert (q.z.mean(dim=0) - mean).abs().max() < 5 * sd.max() / math.sqrt(n)
    assert (q.z.std(dim=0) / sd - 1).abs().max() < 5 / math.sqrt(2 * n)
    for k in range(K):
        standard = ((q.z[:, k] - mean[k]) / sd[k]).detach().numpy()
        assert scipy.stats.kstest(standard, "norm").pvalue > 1e-4


def test_each_draw_is_fresh(module, x):
    """Else training would meet the same noise in every epoch."""
    assert not torch.equal(module.inference(x).z, module.inference(x).z)


def test_gradients_reach_both_encoders_through_z(module, x, noise):
    """Else the reconstruction could not teach the encoders: a draw without the path back."""
    q = module.inference(x, noise=noise)
    d_mean, d_logvar = torch.autograd.grad(q.z.sum(), [q.qz_mean, q.qz_logvar])
    torch.testing.assert_close(d_mean, torch.ones_like(d_mean))
    torch.testing.assert_close(d_logvar, 0.5 * q.qz_logvar.exp().sqrt().detach() * noise)


# ---------------------------------------------------------------- generative


def test_shares_sum_to_one_and_means_are_library_times_share(module):
    """Else μ = ℓρ does not hold, and a model would have to learn the depth of each cell."""
    z, library = torch.randn(N, K).double(), torch.tensor([[1.0], [2], [10], [100], [1e4], [1e6]])
    px = module.generative(z, library.double())
    torch.testing.assert_close(px.px_scale.sum(dim=1), torch.ones(N).double())
    torch.testing.assert_close(px.px_scale, network(module.state_dict(), "decoder", z).softmax(1))
    torch.testing.assert_close(px.px_mean, library.double() * px.px_scale)
    torch.testing.assert_close(px.px_mean.sum(dim=1, keepdim=True), library.double())


def test_theta_is_the_exponential_of_log_theta(module):
    """Else the draft's mistake is back: the logarithm handed out as θ."""
    px = module.generative(torch.zeros(N, K).double(), torch.ones(N, 1).double())
    np.testing.assert_allclose(
        px.theta.detach().numpy(), np.exp(module.log_theta.detach().numpy()), rtol=1e-12
    )
    assert px.log_theta.shape == px.theta.shape == (G,)


def test_a_share_may_be_tiny():
    """Else a share that underflows in float32 would make the log-mean −inf."""
    module = NBVAE(2, K)
    torch.nn.init.zeros_(module.decoder.layers[2].weight)
    module.decoder.layers[2].bias.data = torch.tensor([0.0, -200.0])
    px = module.generative(torch.zeros(1, K), torch.ones(1, 1))
    torch.testing.assert_close(px.log_px_mean, torch.tensor([[0.0, -200.0]]))


# ---------------------------------------------------------------- loss


def test_kl_equals_pytorchs():
    """Else the closed form has a wrong sign, a missing ½ or a standard deviation in it."""
    mean, logvar = 3 * torch.randn(5, K).double(), 3 * torch.randn(5, K).double()
    expected = kl_divergence(Normal(mean, logvar.exp().sqrt()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_to_standard_normal(mean, logvar), expected)


def test_kl_equals_the_integral():
    """Else the formula agrees with another formula, and both are wrong."""
    mean, sd = 0.7, 0.4
    q, prior = scipy.stats.norm(mean, sd), scipy.stats.norm()
    expected, _ = scipy.integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - prior.logpdf(z)), mean - 12 * sd, mean + 12 * sd
    )
    kl = kl_to_standard_normal(torch.tensor([mean]).double(), 2 * torch.tensor([sd]).double().log())
    assert kl.item() == pytest.approx(expected, rel=1e-6)


def test_kl_of_the_prior_is_zero_and_keeps_small_differences():
    """Else the KL of a collapsed dimension would be rounding noise."""
    assert kl_to_standard_normal(torch.zeros(K), torch.zeros(K)).item() == 0
    logvar = torch.tensor([1e-3])  # ½ (eᵛ − 1 − v) = ¼ v² + …
    assert kl_to_standard_normal(torch.zeros(1), logvar).item() == pytest.approx(2.5e-7, rel=1e-3)


def test_loss_terms_equal_a_plain_recomputation(module, x, noise):
    """Else one of the terms is not what the model's equations say."""
    output, (reconstruction, kl) = module(x, noise=noise), plainly(module, x, noise)
    torch.testing.assert_close(output.reconstruction, reconstruction, rtol=1e-10, atol=0)
    torch.testing.assert_close(output.kl, kl, rtol=1e-10, atol=0)
    torch.testing.assert_close(output.loss, (reconstruction + kl).mean(), rtol=1e-10, atol=0)


def test_loss_in_single_precision_on_real_cells(blood):
    """Else rounding in float32, in which training runs, spoils the loss of real cells."""
    module, noise = NBVAE(765), torch.randn(len(blood), 10)
    output = module(blood, noise=noise)
    reconstruction, kl = plainly(module.double(), blood.double(), noise.double())
    torch.testing.assert_close(output.reconstruction.double(), reconstruction, rtol=1e-5, atol=0)
    torch.testing.assert_close(output.kl.double(), kl, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kl_weight", [0.0, 0.3, 1.0])
def test_kl_weight_scales_only_the_kl(module, x, noise, kl_weight):
    """Else the warm-up would weaken the reconstruction too, or report a weighted KL."""
    output = module(x, kl_weight=kl_weight, noise=noise)
    reconstruction, kl = plainly(module, x, noise)
    torch.testing.assert_close(output.loss, (reconstruction + kl_weight * kl).mean())
    torch.testing.assert_close(output.kl, kl)


def test_terms_are_of_single_cells(module, x, noise):
    """Else a cell's loss would depend on which other cells are in its minibatch."""
    together = module(x, noise=noise)
    for cell in range(N):
        alone = module(x[[cell]], noise=noise[[cell]])
        torch.testing.assert_close(alone.reconstruction[0], together.reconstruction[cell])
        torch.testing.assert_close(alone.kl[0], together.kl[cell])


def test_forward_chains_the_three_steps(module, x, noise):
    """Else calling the module would give another loss than its three public steps."""
    q = module.inference(x, noise=noise)
    px = module.generative(q.z, x.sum(dim=1, keepdim=True))
    for ours, theirs in zip(module(x, noise=noise), module.loss(x, q, px), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_reach_every_parameter(module, x):
    """Else a part of the model would never learn."""
    module(x).loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradients_equal_those_of_the_plain_recomputation(module, x, noise):
    """Else the loss is right and its slope is not."""
    module(x, noise=noise).loss.backward()
    for name in ("log_theta", "decoder.layers.2.bias", "logvar_encoder.layers.2.bias"):
        parameter = module.get_parameter(name)
        for i in (0, K - 1):
            value, step, losses = parameter.data[i].item(), 1e-5, []
            for moved in (value + step, value - step):
                parameter.data[i] = moved
                losses.append(sum(plainly(module, x, noise)).mean().item())
            parameter.data[i] = value
            slope = (losses[0] - losses[1]) / (2 * step)
            assert parameter.grad[i].item() == pytest.approx(slope, rel=1e-5, abs=1e-7), name


# ---------------------------------------------------------------- the edges


def test_an_empty_cell_costs_nothing_and_leaves_gradients_finite(x):
    """Else log 0 would reach the loss and turn every weight into NaN."""
    module, x = NBVAE(G, K), x.float()
    x[2] = 0
    output = module(x)
    output.loss.backward()
    assert output.reconstruction[2].item() == 0  # with library 0, zeros are certain
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


def test_a_rare_gene_is_not_biased():
    """Else something like + 1e-4 is back: the best mean for a rare gene would not be its own."""
    library, share, theta = 1.0, 1e-4, 2.0
    module = NBVAE(2, 1).double()
    torch.nn.init.constant_(module.log_theta, math.log(theta))
    torch.nn.init.zeros_(module.decoder.layers[2].weight)
    bias = module.decoder.layers[2].bias
    bias.data = torch.tensor([math.log(share), math.log1p(-share)]).double()
    counts = torch.arange(60.0, dtype=torch.float64)
    px = module.generative(torch.zeros(60, 1).double(), torch.full((60, 1), library).double())
    q = module.inference(torch.zeros(60, 2).double())
    slope = 0.0
    for gene, mean in ((0, library * share), (1, library * (1 - share))):
        x = torch.zeros(60, 2).double()
        x[:, gene] = counts  # the other gene's counts only add a constant to this gene's slope
        p = scipy.stats.nbinom.pmf(counts.numpy(), theta, theta / (theta + mean))
        weighted = (torch.from_numpy(p) * module.loss(x, q, px).reconstruction).sum()
        slope = slope + torch.autograd.grad(weighted, bias, retain_graph=True)[0]
    x = torch.zeros(60, 2).double()
    twice = module.loss(x, q, px).reconstruction[0]  # each sum also held the other gene at zero
    slope = slope - torch.autograd.grad(twice, bias)[0]
    assert slope.abs().max() < 1e-10


@pytest.mark.parametrize("shape", [(N, G + 1), (N, G - 1), (G,), (1, N, G)])
def test_other_genes_are_refused_in_words(shape):
    """Else a matrix of other genes would end in a message about shapes of weights."""
    with pytest.raises(ValueError, match=f"models {G} genes") as caught:
        NBVAE(G, K)(torch.ones(shape))
    assert str(shape) in str(caught.value)
    assert f"NBVAE(n_genes={shape[-1]})" in str(caught.value)


def test_outputs_are_named():
    """Else `px_rate` for `px_mean` could be written unnoticed, as with string keys."""
    px = NBVAE(G, K).generative(torch.zeros(1, K), torch.ones(1, 1))
    with pytest.raises(AttributeError):
        _ = px.px_rate
