"""The negative-binomial variational autoencoder: inference → generative → loss.

The story of a cell with n_genes counts x and library ℓ = Σ x:

    z ~ N(0, I)                 the latent state, n_latent numbers
    ρ = softmax(decoder(z))     the expected share of each gene
    x ~ NB(ℓρ, θ)               the counts; one inverse dispersion θ a gene

With batches (two experiments, say) the decoder is told the cell's batch beside z, so that z need
not say it.

Training maximises the ELBO, E_q[log p(x | z, ℓ)] − KL(q(z | x) ‖ p(z)) (Kingma & Welling 2014;
for counts, Lopez et al. 2018).

Shapes: N cells in a minibatch, G genes, K latent dimensions.
"""

from typing import NamedTuple

import torch
from anndata import AnnData
from torch import Tensor, nn
from torch.nn.functional import one_hot

from nbvae._messages import shown
from nbvae.counts import Batches, count_matrix
from nbvae.entries import Entries, log_counts_product
from nbvae.fast import nb_reconstruction
from nbvae.likelihoods import LIKELIHOODS
from nbvae.marginal import shares, theta_by_moments
from nbvae.mlp import LINKS, MLP


class InferenceOutput(NamedTuple):
    """The approximate posterior q(z | x) = N(qz_mean, diag exp qz_logvar) and a draw from it."""

    qz_mean: Tensor  # (N, K)
    qz_logvar: Tensor  # (N, K), the logarithm of the variance
    z: Tensor  # (N, K)


class GenerativeOutput(NamedTuple):
    """The parameters of p(x | z, ℓ), kept as logarithms."""

    log_px_scale: Tensor  # (N, G), log ρ
    log_px_mean: Tensor  # (N, G), log μ = log ℓ + log ρ
    log_theta: Tensor | None  # (G,); None for the Poisson distribution
    dropout_logits: Tensor | None = None  # (N, G); only with zero inflation

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
        n_hidden: width of the hidden layer of the networks.
        likelihood: "nb", "poisson" or "zinb" (zero-inflated NB), a name from ``LIKELIHOODS``.
        batches: from ``Batches.of(adata, key)``, tells the decoder each cell's batch.
        encode_batch: tell the encoders, too.

    Raises:
        ValueError: an unknown likelihood, or ``encode_batch`` without ``batches``.

    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int = 10,
        *,
        n_hidden: int = 128,
        likelihood: str = "nb",
        batches: Batches | None = None,
        encode_batch: bool = False,
    ) -> None:
        super().__init__()
        _check_arguments(likelihood, batches, encode_batch)
        self.n_genes = n_genes
        self.n_latent = n_latent
        self.likelihood = LIKELIHOODS[likelihood]
        self.batches = batches
        self.encode_batch = encode_batch
        n_batches = len(batches.levels) if batches else 0

        # p(x | z, ℓ): the shares of the genes given z, and one inverse dispersion a gene
        self.decoder = MLP(n_latent + n_batches, n_genes, n_hidden=n_hidden, link="log_softmax")
        self.log_theta = nn.Parameter(torch.randn(n_genes)) if self.likelihood.has_theta else None
        self.dropout_decoder = (
            MLP(n_latent + n_batches, n_genes, n_hidden=n_hidden)
            if self.likelihood.has_dropout
            else None
        )

        # q(z | x): a normal distribution, its mean and its log-variance given the counts
        n_encoded = n_genes + n_batches * encode_batch
        self.mean_encoder = MLP(n_encoded, n_latent, n_hidden=n_hidden)
        self.logvar_encoder = MLP(n_encoded, n_latent, n_hidden=n_hidden)
        for encoder in (self.mean_encoder, self.logvar_encoder):
            first = encoder.layers[0].weight  # (n_hidden, n_encoded)
            first.data = first.data.T.contiguous().T  # a gene's weights side by side in memory

    @classmethod
    def for_counts(cls, adata: AnnData, **arguments: object) -> "NBVAE":
        """Build a module that starts from the best that can be said without z.

        The decoder's last bias is the logarithm of each gene's share of all counts, and θ is what
        its moments say, within 1 and 10. A module with random weights has to learn both first, at
        the same speed limit as all else.

        Args:
            adata: the raw counts that the module will be trained on.
            arguments: those of ``NBVAE`` but ``n_genes``.

        Raises:
            CountsError: the matrix does not hold raw counts.

        """
        module = cls(adata.n_vars, **arguments)
        counts = count_matrix(adata)
        with torch.no_grad():
            module.decoder.layers[-1].bias.copy_(torch.from_numpy(shares(counts)).log())
            if module.log_theta is not None:
                module.log_theta.copy_(torch.from_numpy(theta_by_moments(counts)).log())
        return module

    def inference(
        self, x: Tensor, *, batch: Tensor | None = None, noise: Tensor | None = None
    ) -> InferenceOutput:
        """Encode counts to q(z | x) and draw z from it.

        Args:
            x: (N, G), raw counts.
            batch: (N,), the code of each cell's batch, for a module that has batches.
            noise: (N, K), to fix the draw; fresh standard normal numbers when left out.

        Raises:
            ValueError: ``x`` does not have n_genes columns, or ``batch`` does not fit.

        """
        self._check_genes(x)
        x_log = torch.log1p(x)  # so that the few large counts do not drown the rest
        seen = self._with_batch(x_log, batch) if self.encode_batch else x_log
        qz_mean = self.mean_encoder(seen)  # (N, K)
        qz_logvar = self.logvar_encoder(seen)  # (N, K)
        return InferenceOutput(qz_mean, qz_logvar, reparametrise(qz_mean, qz_logvar, noise))

    def generative(
        self, z: Tensor, library: Tensor, *, batch: Tensor | None = None
    ) -> GenerativeOutput:
        """Decode a latent state to the distribution of the counts.

        Args:
            z: (N, K).
            library: (N, 1), total counts of each cell; 0 is allowed and expects zeros.
            batch: (N,), the code of each cell's batch, for a module that has batches.

        Raises:
            ValueError: ``batch`` does not fit.

        """
        z = self._with_batch(z, batch)
        log_px_scale = self.decoder(z)  # (N, G)
        dropout_logits = self.dropout_decoder(z) if self.dropout_decoder else None
        log_px_mean = library.log() + log_px_scale
        return GenerativeOutput(log_px_scale, log_px_mean, self.log_theta, dropout_logits)

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
        log_prob = self.likelihood.log_prob(x, generative)  # (N, G)
        reconstruction = -log_prob.sum(dim=-1)  # (N,)
        kl = kl_to_standard_normal(inference.qz_mean, inference.qz_logvar)  # (N,)
        return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)

    def forward(
        self,
        x: Tensor,
        *,
        batch: Tensor | None = None,
        kl_weight: float = 1.0,
        noise: Tensor | None = None,
    ) -> LossOutput:
        """Run the three steps on a minibatch: inference → generative → loss.

        Args:
            x: (N, G), raw counts.
            batch: (N,), the code of each cell's batch, for a module that has batches.
            kl_weight: weight of the KL term; 1 is the ELBO.
            noise: (N, K), to fix the draw of z.

        """
        inference = self.inference(x, batch=batch, noise=noise)
        generative = self.generative(inference.z, x.sum(dim=-1, keepdim=True), batch=batch)
        return self.loss(x, inference, generative, kl_weight=kl_weight)

    def fast_forward(
        self,
        x: Tensor,
        entries: Entries,
        *,
        batch: Tensor | None = None,
        kl_weight: float = 1.0,
        noise: Tensor | None = None,
    ) -> LossOutput:
        """Compute what ``forward`` computes, with the same gradients, in less time.

        The shortcut knows the negative binomial and the steps as they are written here. With
        another likelihood, or in a subclass that changes a step, it is ``forward``.

        Args:
            x: (N, G), raw counts.
            entries: ``Entries.of`` the same counts.
            batch: as in ``forward``.
            kl_weight: as in ``forward``.
            noise: as in ``forward``.

        """
        if not self._has_shortcut():
            return self(x, batch=batch, kl_weight=kl_weight, noise=noise)
        self._check_genes(x)
        self._check_batch(batch)
        heads = (self.mean_encoder, self.logvar_encoder)
        qz_mean, qz_logvar = (self._encode(encoder, entries, batch) for encoder in heads)
        z = reparametrise(qz_mean, qz_logvar, noise)
        logits = self.decoder.layers(self._with_batch(z, batch))  # (N, G)
        reconstruction = nb_reconstruction(x, entries, logits, self.log_theta)  # (N,)
        kl = kl_to_standard_normal(qz_mean, qz_logvar)  # (N,)
        return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)

    def _has_shortcut(self) -> bool:
        steps = ("forward", "inference", "generative", "loss")
        return (
            self.likelihood is LIKELIHOODS["nb"]
            and self.decoder.link is LINKS["log_softmax"]
            and all(getattr(type(self), step) is getattr(NBVAE, step) for step in steps)
        )

    def _encode(self, encoder: MLP, entries: Entries, batch: Tensor | None) -> Tensor:
        """Run an encoder on log1p(x), whose first layer sees mostly zeros. (N, K)."""
        first = encoder.layers[0]
        if self.encode_batch:
            of_genes, of_batches = first.weight.split([self.n_genes, len(self.batches.levels)], 1)
            hidden = log_counts_product(entries, of_genes) + of_batches.T[batch]
        else:  # without a split, whose gradient would be copied
            hidden = log_counts_product(entries, first.weight)
        hidden = hidden + first.bias
        return encoder.layers[1:](hidden)

    def _check_genes(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.n_genes:
            raise ValueError(
                f"This module models {self.n_genes} genes, so x must have shape "
                f"(cells, {self.n_genes}), but it has shape {tuple(x.shape)}. Give it the genes "
                f"it was built for, or build NBVAE(n_genes={x.shape[-1] if x.ndim else 0})."
            )

    def _with_batch(self, values: Tensor, batch: Tensor | None) -> Tensor:
        """Append to each row which batch it is from, as zeros and a one."""
        self._check_batch(batch)
        if batch is None:
            return values
        indicator = one_hot(batch, len(self.batches.levels)).to(values.dtype)
        return torch.cat([values, indicator], dim=-1)

    def _check_batch(self, batch: Tensor | None) -> None:
        if (self.batches is None) != (batch is None):
            raise ValueError(
                "This module was built without batches, but batch was given."
                if self.batches is None
                else f"This module needs the batch of each cell: pass batch="
                f"module.batches.codes(adata), from obs[{self.batches.key!r}], as a tensor."
            )


def _check_arguments(likelihood: str, batches: Batches | None, encode_batch: bool) -> None:
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"Unknown likelihood {likelihood!r}. Use one of {shown(LIKELIHOODS)}.")
    if encode_batch and batches is None:
        raise ValueError("encode_batch=True needs batches: pass batches=Batches.of(adata, key).")


def reparametrise(mean: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
    """Draw z = mean + sd · noise from N(mean, diag exp logvar), so that gradients reach both.

    Kingma & Welling 2014, section 2.4.

    Args:
        mean: (N, K).
        logvar: (N, K), logarithms of variances.
        noise: (N, K), to fix the draw; fresh standard normal numbers when left out.

    """
    if noise is None:
        noise = torch.randn_like(mean)
    return mean + (0.5 * logvar).exp() * noise


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
