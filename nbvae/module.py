"""The negative-binomial variational autoencoder: inference → generative → loss.

The story of a cell with n_genes counts x and library ℓ = Σ x:

    z ~ N(0, I)                 the latent state, n_latent numbers
    ρ = softmax(decoder(z))     the expected share of each gene
    x ~ NB(ℓρ, θ)               the counts; one inverse dispersion θ a gene

Training maximises the ELBO, E_q[log p(x | z, ℓ)] − KL(q(z | x) ‖ p(z)) (Kingma & Welling 2014;
for counts, Lopez et al. 2018).

Shapes: N cells in a minibatch, G genes, K latent dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nbvae.distributions import nb_log_prob
from nbvae.mlp import MLP


class InferenceOutput(NamedTuple):
    """The approximate posterior q(z | x) = N(qz_mean, diag exp qz_logvar) and a draw from it."""

    qz_mean: Tensor  # (N, K)
    qz_logvar: Tensor  # (N, K), the logarithm of the variance
    z: Tensor  # (N, K)


class GenerativeOutput(NamedTuple):
    """The parameters of p(x | z, ℓ), kept as logarithms."""

    log_px_scale: Tensor  # (N, G), log ρ
    log_px_mean: Tensor  # (N, G), log μ = log ℓ + log ρ
    log_theta: Tensor  # (G,)

    @property
    def px_scale(self) -> Tensor:
        """ρ, the expected share of each gene; rows sum to 1. (N, G)."""
        return self.log_px_scale.exp()

    @property
    def px_mean(self) -> Tensor:
        """μ = ℓρ, the expected count of each gene. (N, G)."""
        return self.log_px_mean.exp()

    @property
    def theta(self) -> Tensor:
        """θ, the inverse dispersion of each gene: the variance of a count is μ + μ²/θ. (G,)."""
        return self.log_theta.exp()


class LossOutput(NamedTuple):
    """The loss of a minibatch and the two terms that it is made of, in nats a cell."""

    loss: Tensor  # (), the mean of reconstruction + kl_weight · kl
    reconstruction: Tensor  # (N,), −log p(x | z, ℓ)
    kl: Tensor  # (N,), KL(q(z | x) ‖ p(z))


class NBVAE(nn.Module):
    """A variational autoencoder for the raw counts of single cells.

    Args:
        n_genes: G, the number of genes in a row of counts.
        n_latent: K, the length of z.
        n_hidden: width of the hidden layer of the three networks.

    """

    def __init__(self, n_genes: int, n_latent: int = 10, *, n_hidden: int = 128) -> None:
        super().__init__()
        self.n_genes = n_genes
        self.n_latent = n_latent

        # p(x | z, ℓ): the shares of the genes given z, and one inverse dispersion a gene
        self.decoder = MLP(n_latent, n_genes, n_hidden=n_hidden, link="log_softmax")
        self.log_theta = nn.Parameter(torch.randn(n_genes))

        # q(z | x): a normal distribution, its mean and its log-variance given the counts
        self.mean_encoder = MLP(n_genes, n_latent, n_hidden=n_hidden)
        self.logvar_encoder = MLP(n_genes, n_latent, n_hidden=n_hidden)

    def inference(self, x: Tensor, *, noise: Tensor | None = None) -> InferenceOutput:
        """Encode counts to q(z | x) and draw z from it.

        z = mean + sd · noise with noise ~ N(0, I): a draw from q through which gradients reach
        both encoders (the reparametrisation of Kingma & Welling 2014).

        Args:
            x: (N, G), raw counts.
            noise: (N, K), to fix the draw; fresh standard normal numbers when left out.

        Raises:
            ValueError: ``x`` does not have n_genes columns.

        """
        self._check_genes(x)
        x_log = torch.log1p(x)  # so that the few large counts do not drown the rest
        qz_mean = self.mean_encoder(x_log)  # (N, K)
        qz_logvar = self.logvar_encoder(x_log)  # (N, K)
        if noise is None:
            noise = torch.randn_like(qz_mean)
        z = qz_mean + (0.5 * qz_logvar).exp() * noise
        return InferenceOutput(qz_mean, qz_logvar, z)

    def generative(self, z: Tensor, library: Tensor) -> GenerativeOutput:
        """Decode a latent state to the distribution of the counts.

        Args:
            z: (N, K).
            library: (N, 1), total counts of each cell; 0 is allowed and expects zeros.

        """
        log_px_scale = self.decoder(z)  # (N, G)
        return GenerativeOutput(log_px_scale, library.log() + log_px_scale, self.log_theta)

    def loss(
        self,
        x: Tensor,
        inference: InferenceOutput,
        generative: GenerativeOutput,
        *,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Compute the negative ELBO of a minibatch.

        Args:
            x: (N, G), the counts that went into ``inference``.
            inference: what ``inference`` returned.
            generative: what ``generative`` returned.
            kl_weight: weight of the KL term; 1 is the ELBO.

        """
        log_prob = nb_log_prob(x, generative.log_px_mean, generative.log_theta)  # (N, G)
        reconstruction = -log_prob.sum(dim=-1)  # (N,)
        kl = kl_to_standard_normal(inference.qz_mean, inference.qz_logvar)  # (N,)
        return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)

    def forward(
        self, x: Tensor, *, kl_weight: float = 1.0, noise: Tensor | None = None
    ) -> LossOutput:
        """Run the three steps on a minibatch: inference → generative → loss.

        Args:
            x: (N, G), raw counts.
            kl_weight: weight of the KL term; 1 is the ELBO.
            noise: (N, K), to fix the draw of z.

        """
        inference = self.inference(x, noise=noise)
        generative = self.generative(inference.z, x.sum(dim=-1, keepdim=True))
        return self.loss(x, inference, generative, kl_weight=kl_weight)

    def _check_genes(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.n_genes:
            raise ValueError(
                f"This module models {self.n_genes} genes, so x must have shape "
                f"(cells, {self.n_genes}), but it has shape {tuple(x.shape)}. Give it the genes "
                f"it was built for, or build NBVAE(n_genes={x.shape[-1] if x.ndim else 0})."
            )


def kl_to_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, diag exp logvar) ‖ N(0, I)) in closed form, summed over the last axis.

    ½ Σ (mean² + variance − 1 − log variance) (Kingma & Welling 2014, appendix B).

    Args:
        mean: (..., K).
        logvar: (..., K), logarithms of variances.

    Returns:
        (...,), nats.

    """
    return 0.5 * (mean.square() + torch.expm1(logvar) - logvar).sum(dim=-1)
