"""One small table and the modules that the cases share; nothing is trained."""

import copy

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import NBVAE, Covariates, Trainer, evaluation, expression

N_CELLS, N_GENES = 30, 8
SIZES = dict(n_latent=2, n_hidden=8)


class World:
    """A clean table, modules of it, and every function that takes cells."""

    def __init__(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(3, (N_CELLS, N_GENES)).astype(np.float32)
        counts[:, :2] += 1  # no cell is empty
        self.adata = AnnData(
            X=sparse.csr_matrix(counts),
            obs=pd.DataFrame(
                {"donor": np.array(["d1", "d2", "d3"])[rng.integers(3, size=N_CELLS)]},
                index=[f"cell-{i}" for i in range(N_CELLS)],
            ),
            var=pd.DataFrame(index=[f"GENE{i}" for i in range(N_GENES)]),
        )
        self.logged = self.adata.copy()
        self.logged.X = self.logged.X.log1p()
        self.layered = self.logged.copy()
        self.layered.layers["counts"] = self.adata.X.copy()
        torch.manual_seed(0)
        self.module = NBVAE.for_counts(self.adata, **SIZES)
        self.in_layer = copy.deepcopy(self.module)
        self.in_layer.layer = "counts"
        self.unnamed = copy.deepcopy(self.module)
        self.unnamed.genes = None
        self.covariates = Covariates.of(self.adata, "donor")
        self.told = NBVAE.for_counts(self.adata, covariates=self.covariates, **SIZES)
        self._clean = {}

    def clean(self, name):
        """What a function says of the clean table."""
        if name not in self._clean:
            self._clean[name] = FUNCTIONS[name](self.module, self.adata)
        return self._clean[name]


def by_gene(values, module, adata):
    """Columns in the order of the AnnData, brought into the module's by their names."""
    known = [gene for gene in adata.var_names if module.genes is None or gene in module.genes]
    return pd.DataFrame(values, columns=known)[list(module.genes or known)].to_numpy()


def denoised(module, adata, **options):
    return by_gene(expression.denoised(module, adata, n_samples=2, **options), module, adata)


def replicates(module, adata, **options):
    return by_gene(expression.posterior_predictive(module, adata, **options)[0], module, adata)


def latent(module, adata, **options):
    written = adata.copy() if adata.n_obs else adata
    evaluation.add_latent(module, written, **options)
    return written.obsm["X_nbvae"]


def fit(module, adata, **options):
    trained = copy.deepcopy(module)
    Trainer(max_epochs=1, batch_size=16).fit(trained, adata, **options)
    return torch.cat([weights.flatten() for weights in trained.cpu().state_dict().values()])


FUNCTIONS = {
    "elbo": evaluation.elbo,
    "bound": lambda m, a, **k: evaluation.importance_weighted_bound(m, a, n_samples=2, **k),
    "encode": lambda m, a, **k: evaluation.encode(m, a, **k).mean,
    "add_latent": latent,
    "denoised": denoised,
    "posterior_predictive": replicates,
    "fit": fit,
}
