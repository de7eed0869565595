"""The negative-binomial variational autoencoder: inference → generative → loss.

The story of a cell with n_genes counts x and library ℓ = Σ x:

    z ~ N(0, I)                 the latent state, n_latent numbers
    ρ = softmax(decoder(z))     the expected share of each gene
    x ~ NB(ℓρ, θ)               the counts; one inverse dispersion θ per gene

With covariates (which of two experiments a cell is from, say) the decoder is told them as well as
z, so that z need not say them. With size factors ℓ is a number that is known beforehand, and ρ, now
softplus(decoder(z)), is the expected count per unit of it: the genes then do not compete for a
total.

Training maximises the ELBO, E_q[log p(x | z, ℓ)] − KL(q(z | x) ‖ p(z)) (Kingma & Welling 2014;
for counts, Lopez et al. 2018).

Shapes: N cells in a minibatch, G genes, K latent dimensions, C columns of covariates.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import torch
from anndata import AnnData
from torch import Tensor, nn

from nbvae._arguments import one_of, whole_number
from nbvae.data.covariate import size_factors_of
from nbvae.data.covariates import Covariates, as_covariates, covariates_from
from nbvae.module.checks import (
    a_key,
    check_design,
    check_library,
    check_shape,
    may_encode,
    weights_type,
)
from nbvae.module.dispersion import first_log_theta, known_dispersion, log_theta_of_cells
from nbvae.module.initialisation import gene_sums, seeded, start
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.mlp import MLP
from nbvae.module.outputs import GenerativeOutput, InferenceOutput, LossOutput
from nbvae.module.saving import load, save


class NBVAE(nn.Module):
    """A variational autoencoder for the raw counts of single cells.

    Args:
        n_genes: G, the number of genes in a row of counts.
        n_latent: K, the length of z.
        n_hidden: width of the hidden layers of the networks.
        n_layers: how many hidden layers each network has.
        likelihood: "nb", "poisson" or "zinb" (zero-inflated NB), a name from ``LIKELIHOODS``.
        dispersion: "gene", one θ per gene; "gene-batch", one per gene and level of the first
            category among the covariates.
        covariates: from ``Covariates.of(adata, "batch", …)``; the decoder is told them.
        encode_covariates: tell the encoders as well.
        size_factor_key: a column of ``obs`` to take ℓ from, as ``total_counts`` over all genes;
            None: ℓ is a cell's total over the modelled genes.

    Attributes:
        genes: the names of the genes, in the order of the columns; None: it knows no names.
        layer: the layer of an AnnData in which it expects counts; None: ``X``.

    Raises:
        TypeError: a size is not a whole number, or ``covariates`` is not ``Covariates``.
        ValueError: a size is below 1, an unknown likelihood or dispersion, or one that needs
            covariates, as ``encode_covariates`` does, without any.

    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int = 10,
        *,
        n_hidden: int = 128,
        n_layers: int = 1,
        likelihood: str = "nb",
        dispersion: str = "gene",
        covariates: Covariates | None = None,
        encode_covariates: bool = False,
        size_factor_key: str | None = None,
    ) -> None:
        super().__init__()
        self.n_genes = n_genes = whole_number("n_genes", n_genes)
        self.n_latent = n_latent = whole_number("n_latent", n_latent)
        self.n_hidden = whole_number("n_hidden", n_hidden)
        self.n_layers = whole_number("n_layers", n_layers)
        network = partial(MLP, n_hidden=self.n_hidden, n_layers=self.n_layers)
        self.likelihood = LIKELIHOODS[one_of("likelihood", likelihood, LIKELIHOODS)]
        self.covariates = None if covariates is None else as_covariates(covariates)
        self.dispersion = known_dispersion(dispersion, self.likelihood, self.covariates)
        self.encode_covariates = may_encode(encode_covariates, self.covariates)
        self.size_factor_key = a_key(size_factor_key)
        self.genes: tuple[str, ...] | None = None
        self.layer: str | None = None
        n_columns = self.covariates.n_columns if self.covariates else 0

        # p(x | z, ℓ): the shares of the genes given z, and one inverse dispersion per gene
        n_decoded = n_latent + n_columns
        self.decoder = network(n_decoded, n_genes, link=self.decoder_link)
        self.log_theta = first_log_theta(n_genes, self.dispersion, self.likelihood, self.covariates)
        self.dropout_decoder = network(n_decoded, n_genes) if self.likelihood.has_dropout else None

        # q(z | x): a normal distribution, its mean and its log-variance given the counts
        n_encoded = n_genes + n_columns * self.encode_covariates
        self.mean_encoder = network(n_encoded, n_latent)
        self.logvar_encoder = network(n_encoded, n_latent)
        for encoder in (self.mean_encoder, self.logvar_encoder):
            encoder.store_by_input()  # a gene's weights side by side in memory

    @classmethod
    def for_counts(
        cls,
        adata: AnnData,
        n_latent: int = 10,
        *,
        layer: str | None = None,
        n_hidden: int = 128,
        n_layers: int = 1,
        likelihood: str = "nb",
        dispersion: str = "gene",
        covariates: Covariates | str | Sequence[str] | None = None,
        encode_covariates: bool = False,
        size_factor_key: str | None = None,
        seed: int | None = None,
    ) -> Self:
        """Build a module for these genes that starts from the best that can be said without z.

        The decoder's last bias is the logarithm of each gene's share of all counts, and θ is what
        its moments say, between 1 and 10. A module with random weights has to learn both first, at
        the same limited speed as everything else.

        The module remembers the genes' names, and the layer, and finds them in any AnnData.

        Args:
            adata: the raw counts that the module will be trained on, or a store of them.
            n_latent: as in ``NBVAE``, like all that follow but ``layer``.
            layer: the layer that holds the counts; ``X`` when left out.
            n_hidden: width of the hidden layers.
            n_layers: how many hidden layers.
            likelihood: "nb", "poisson" or "zinb".
            dispersion: "gene" or "gene-batch".
            covariates: what the decoder is told in addition to z: columns of ``obs``, as in
                ``["batch", "donor", "percent_mito"]``, or ``Covariates``.
            encode_covariates: tell the encoders as well.
            size_factor_key: the column of ``obs`` to take ℓ from.
            seed: of the weights that are drawn; None: PyTorch's global random numbers are used.

        Raises:
            CountsError, KeyError: as in ``count_matrix``.
            TypeError, ValueError: as in ``NBVAE``.

        """
        size_factor_key = a_key(size_factor_key)
        library = None if size_factor_key is None else size_factors_of(adata, size_factor_key)
        sums = gene_sums(adata, layer=layer, library=library)
        told = covariates_from(adata, covariates)
        with seeded(seed):
            module = cls(
                adata.n_vars,
                n_latent,
                n_hidden=n_hidden,
                n_layers=n_layers,
                likelihood=likelihood,
                dispersion=dispersion,
                covariates=told,
                encode_covariates=encode_covariates,
                size_factor_key=size_factor_key,
            )
        module.genes = tuple(map(str, adata.var_names))
        module.layer = None if layer is None else str(layer)
        bias, log_theta = module.decoder.output_layer.bias, module.log_theta
        start(bias, log_theta, sums, with_size_factors=library is not None)
        return module

    def save(self, path: str | Path) -> None:
        """Write all that the module is to one file, completely or not at all: see ``saving.py``."""
        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote: a module that is ready to use. No code in it is executed."""
        return load(cls, path)

    def inference(
        self, x: Tensor, *, covariates: Tensor | None = None, noise: Tensor | None = None
    ) -> InferenceOutput:
        """Encode counts to q(z | x) and draw z from it.

        Args:
            x: (N, G), raw counts.
            covariates: (N, C), rows of ``module.covariates.design(adata)``, for a module that has
                covariates.
            noise: (N, K), to fix the draw; fresh standard normal numbers when left out.

        Raises:
            ValueError: ``x`` does not have n_genes columns, or ``covariates`` do not fit.

        """
        self.check_input(x, covariates)
        x_log = torch.log1p(x.to(self.dtype))  # so that the few large counts do not drown the rest
        seen = self.with_covariates(x_log, covariates) if self.encode_covariates else x_log
        qz_mean = self.mean_encoder(seen)  # (N, K)
        qz_logvar = self.logvar_encoder(seen)  # (N, K)
        return InferenceOutput(qz_mean, qz_logvar, reparametrise(qz_mean, qz_logvar, noise))

    def generative(
        self, z: Tensor, library: Tensor, *, covariates: Tensor | None = None
    ) -> GenerativeOutput:
        """Decode a latent state to the distribution of the counts.

        Args:
            z: (N, K).
            library: (N, 1), ℓ of each cell; 0 is allowed and expects zeros.
            covariates: (N, C), rows of ``module.covariates.design(adata)``, for a module that has
                covariates.

        Raises:
            ValueError: ``covariates`` do not fit.

        """
        told = self.with_covariates(z.to(self.dtype), covariates)  # (N, K + C)
        log_px_scale = self.decoder(told)  # (N, G)
        dropout_logits = self.dropout_decoder(told) if self.dropout_decoder else None
        log_px_mean = library.to(self.dtype).log() + log_px_scale
        log_theta = log_theta_of_cells(self.log_theta, covariates, self.covariates)
        return GenerativeOutput(log_px_scale, log_px_mean, log_theta, dropout_logits)

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
        covariates: Tensor | None = None,
        library: Tensor | None = None,
        kl_weight: float = 1.0,
        noise: Tensor | None = None,
    ) -> LossOutput:
        """Run the three steps on a minibatch: inference → generative → loss.

        Args:
            x: (N, G), raw counts.
            covariates: (N, C), rows of ``module.covariates.design(adata)``, for a module that has
                covariates.
            library: (N, 1), the size factors, for a module that has a ``size_factor_key``.
            kl_weight: weight of the KL term; 1 is the ELBO.
            noise: (N, K), to fix the draw of z.

        """
        inference = self.inference(x, covariates=covariates, noise=noise)
        check_library(library, len(x), self.size_factor_key)
        library = x.sum(dim=-1, keepdim=True) if library is None else library  # (N, 1)
        generative = self.generative(inference.z, library, covariates=covariates)
        return self.loss(x, inference, generative, kl_weight=kl_weight)

    def with_covariates(self, values: Tensor, covariates: Tensor | None) -> Tensor:
        """Append its covariates to each cell's row. (N, …) → (N, … + C)."""
        check_design(covariates, self.covariates)
        if covariates is None:
            return values
        return torch.cat([values, covariates.to(values.dtype)], dim=-1)

    @property
    def decoder_link(self) -> str:
        """What turns the decoder's output into log ρ: shares sum to 1, rates need not."""
        return "log_softmax" if self.size_factor_key is None else "log_softplus"

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights: float32 or float64, others are refused."""
        return weights_type(self)

    def check_input(self, x: Tensor, covariates: Tensor | None) -> None:
        """Refuse what the module was not built for.

        Raises:
            TypeError: ``x`` is not a tensor.
            ValueError: ``x`` does not have n_genes columns, or ``covariates`` do not fit.

        """
        check_design(covariates, self.covariates)
        check_shape(x, self.n_genes)


def reparametrise(mean: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
    """Draw z = mean + sd · noise from N(mean, diag exp logvar), so that gradients reach both.

    Kingma & Welling 2014, section 2.4.

    Args:
        mean: (N, K).
        logvar: (N, K), logarithms of variances.
        noise: (N, K), to fix the draw; fresh standard normal numbers when left out.

    """
    noise = torch.randn_like(mean) if noise is None else noise
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
