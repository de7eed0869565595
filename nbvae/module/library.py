"""A module that does not read the library ℓ off the counts: ℓ is latent, as z is.

A cell's total is itself a count: it says how deeply the cell was sequenced, with an error. So let
log ℓ be drawn, in the cells of batch j, with the mean and the variance that log totals have there:

    log ℓ ~ N(m_j, s_j²)

and let a network give the mean and the variance of a normal q(log ℓ | x), as Lopez et al. 2018 do
(scvi-tools: ``use_observed_lib_size=False``). The ELBO then bounds log p(x); with ℓ given it bounds
log p(x | ℓ), so that the two can't be compared.

Written as u = (log ℓ − m_j)/s_j, ℓ has the prior of a coordinate of z, N(0, 1), and a KL divergence
does not change when an axis is shifted and stretched. So u is one more coordinate of z, the last,
and all that the package says of z is right for it: the KL, both bounds, draws.
"""

from typing import Any, Self

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from nbvae.data.minibatches import CellTable
from nbvae.module.mlp import MLP
from nbvae.module.nbvae import NBVAE, reparametrise
from nbvae.module.outputs import GenerativeOutput, InferenceOutput


class ModelledLibrary(NBVAE):
    """An ``NBVAE`` whose library is latent.

    The z of ``inference`` and ``generative`` has n_latent + 1 columns, the last of them u.
    ``evaluation.encode`` leaves u out. The inferred ℓ of each cell is the row sum of the means that
    ``expression.likelihood_parameters`` returns.

    Args:
        n_genes: as in ``NBVAE``, like all that follow.
        n_latent: without u.
        arguments: all others of ``NBVAE`` but ``size_factor_key``. The batches are the levels of
            the first category among ``covariates``; without any, all cells are one batch.

    Attributes:
        library_log_mean: (1, n_batches), m_j.
        library_log_sd: (1, n_batches), s_j.

    Raises:
        TypeError, ValueError: as in ``NBVAE``; or there is a ``size_factor_key``.

    """

    library_log_mean: Tensor
    library_log_sd: Tensor
    _batches: tuple[str, ...]
    _batch_columns: slice | None

    def __init__(self, n_genes: int, n_latent: int = 10, **arguments: Any) -> None:
        super().__init__(n_genes, n_latent, **arguments)
        if self.size_factor_key is not None:
            raise ValueError(
                "A library that is modelled can't be given: leave size_factor_key out."
            )
        self._batches, self._batch_columns = ("all",), None
        if self.covariates is not None and self.covariates.categories:
            self._batches = self.covariates.categories[0].levels
            self._batch_columns = self.covariates.batch_columns
        self.register_buffer("library_log_mean", torch.zeros(1, len(self._batches)))
        self.register_buffer("library_log_sd", torch.ones(1, len(self._batches)))

        # q(log ℓ | x): its mean and its log-variance
        n_encoded = self.mean_encoder.input_layer.in_features
        self.library_encoder = MLP(n_encoded, 2, n_hidden=self.n_hidden)
        self.library_encoder.store_by_input()

    @classmethod
    def for_counts(cls, adata: AnnData, n_latent: int = 10, **arguments: Any) -> Self:
        """Build a module as ``NBVAE.for_counts`` does; m_j and s_j are those of these cells.

        Args:
            adata: as there.
            n_latent: as there.
            arguments: as there.

        Raises:
            CountsError, KeyError, TypeError: as there.
            ValueError: as there; or all cells of a batch have the same total.

        """
        module = super().for_counts(adata, n_latent, **arguments)
        module.measure_library(adata)
        bias = module.library_encoder.output_layer.bias
        with torch.no_grad():
            bias[0], bias[1] = (
                module.library_log_mean.mean(),
                2 * module.library_log_sd.mean().log(),
            )
        return module

    @property
    def n_drawn(self) -> int:
        """How many coordinates of a cell are drawn: those of z, and u."""
        return self.n_latent + 1

    @torch.no_grad()
    def measure_library(self, adata: AnnData, *, known: int = 0) -> None:
        """Take m_j and s_j of all but the first ``known`` batches from the totals of some cells."""
        table = CellTable.of(adata, self)
        log_totals = np.log(table.library(np.arange(table.n_cells)))
        batch = np.zeros(table.n_cells, dtype=int)
        if self._batch_columns is not None and table.design is not None:
            batch = table.design[:, self._batch_columns].argmax(axis=1)
        for j, name in list(enumerate(self._batches))[known:]:
            some = log_totals[batch == j]
            if len(set(some)) < 2:
                raise ValueError(
                    f"The cells of batch {name!r} do not differ in their totals, so that there is "
                    "no distribution to learn: join it with another, or take NBVAE."
                )
            self.library_log_mean[0, j], self.library_log_sd[0, j] = some.mean(), some.std()

    def inference(
        self, x: Tensor, *, covariates: Tensor | None = None, noise: Tensor | None = None
    ) -> InferenceOutput:
        """Encode counts to q(z, u | x) and draw both; see ``NBVAE``. ``noise`` is (N, K + 1)."""
        not_drawn = x.new_zeros(len(x), self.n_latent)  # z is drawn below, with u
        q = super().inference(x, covariates=covariates, noise=not_drawn)
        x_log = torch.log1p(x.to(self.dtype))
        seen = self.with_covariates(x_log, covariates) if self.encode_covariates else x_log
        log_mean, logvar = self.library_encoder(seen).split(1, dim=-1)  # (N, 1) each, of log ℓ
        m, s = self._prior(covariates)
        qz_mean = torch.cat([q.qz_mean, (log_mean - m) / s], dim=-1)  # (N, K + 1)
        qz_logvar = torch.cat([q.qz_logvar, logvar - 2 * s.log()], dim=-1)
        return InferenceOutput(qz_mean, qz_logvar, reparametrise(qz_mean, qz_logvar, noise))

    def generative(
        self, z: Tensor, library: Tensor, *, covariates: Tensor | None = None
    ) -> GenerativeOutput:
        """Decode z and u, (N, K + 1); ℓ is what u says, whatever ``library`` is. See ``NBVAE``."""
        m, s = self._prior(covariates)
        modelled = (m + s * z[:, -1:].to(self.dtype)).exp()  # (N, 1)
        return super().generative(z[:, :-1], modelled, covariates=covariates)

    def _prior(self, covariates: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return m_j and s_j of each cell, (N, 1), or of all, (1, 1)."""
        if self._batch_columns is None or covariates is None:
            return self.library_log_mean, self.library_log_sd
        batch = covariates[:, self._batch_columns].to(self.dtype)
        return batch @ self.library_log_mean.T, batch @ self.library_log_sd.T
