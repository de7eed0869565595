"""What the three steps of a module hand to each other.

Shapes: N cells in a minibatch, G genes, K latent dimensions.
"""

from typing import NamedTuple

from torch import Tensor


class InferenceOutput(NamedTuple):
    """The approximate posterior q(z | x) = N(qz_mean, diag exp qz_logvar) and a draw from it."""

    qz_mean: Tensor  # (N, K)
    qz_logvar: Tensor  # (N, K), the logarithm of the variance
    z: Tensor  # (N, K)


class GenerativeOutput(NamedTuple):
    """The parameters of p(x | z, ℓ), kept as logarithms."""

    log_px_scale: Tensor  # (N, G), log ρ
    log_px_mean: Tensor  # (N, G), log μ = log ℓ + log ρ
    log_theta: Tensor | None  # (G,), or (N, G) with one θ per batch; None for the Poisson
    dropout_logits: Tensor | None = None  # (N, G); only with zero inflation

    @property
    def px_scale(self) -> Tensor:
        """ρ, the expected share of each gene; rows sum to 1 without size factors. (N, G)."""
        return self.log_px_scale.exp()

    @property
    def px_mean(self) -> Tensor:
        """μ = ℓρ, the expected count of each gene. (N, G)."""
        return self.log_px_mean.exp()

    @property
    def theta(self) -> Tensor:
        """θ, the inverse dispersion of each gene: the variance of a count is μ + μ²/θ.

        (G,), or (N, G) with dispersion per gene and batch.

        Raises:
            ValueError: the likelihood is the Poisson distribution, which has none.

        """
        if self.log_theta is None:
            raise ValueError("The Poisson distribution has no theta.")
        return self.log_theta.exp()


class LossOutput(NamedTuple):
    """The loss of a minibatch and the two terms that it is made of, in nats per cell."""

    loss: Tensor  # (), the mean of reconstruction + kl_weight · kl
    reconstruction: Tensor  # (N,), −log p(x | z, ℓ)
    kl: Tensor  # (N,), KL(q(z | x) ‖ p(z))
