"""Arguments of another kind than was meant."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from outcomes import Case, Error, cases, check
from torch import nn
from world import FUNCTIONS, SIZES

from nbvae import MLP, NBVAE, CellTable, Covariates, count_matrix, evaluation, expression, from_scvi
from nbvae.data.covariate import Category, Number

NOT_ANNDATA = {
    "an array": (lambda w: w.adata.X.toarray(), "AnnData(counts)"),
    "a sparse matrix": (lambda w: w.adata.X, "AnnData(counts)"),
    "a DataFrame": (lambda w: w.adata.to_df(), "AnnData(counts)"),
    "a tensor": (lambda w: torch.ones(3, 8), "AnnData(counts)"),
    "a path": (lambda w: Path("cells.h5ad"), "read_counts"),
    "a string": (lambda w: "cells.h5ad", "read_counts"),
    "nothing": (lambda w: None, "NoneType"),
    "a module": (lambda w: w.module, "The module comes first"),
    "a list": (lambda w: [[1, 2], [3, 4]], "list"),
}
TAKES_ANNDATA = {
    **{
        name: lambda w, a, f=f: f(w.module, a)
        for name, f in FUNCTIONS.items()
        if name != "add_latent"
    },
    "add_latent": lambda w, a: evaluation.add_latent(w.module, a),
    "for_counts": lambda w, a: NBVAE.for_counts(a),
    "count_matrix": lambda w, a: count_matrix(a),
    "CellTable.of": lambda w, a: CellTable.of(a, w.module),
    "Covariates.of": lambda w, a: Covariates.of(a, "donor"),
    "design": lambda w, a: w.covariates.design(a),
}
NOT_A_SIZE = {
    "a float": (8.0, TypeError),
    "a fraction": (2.5, TypeError),
    "NaN": (float("nan"), TypeError),
    "a numpy float": (np.float64(8), TypeError),
    "a string": ("8", TypeError),
    "nothing": (None, TypeError),
    "a list": ([8], TypeError),
    "True": (True, TypeError),
    "numpy's True": (np.True_, TypeError),
    "negative": (-8, ValueError),
    "zero": (0, ValueError),
    "numpy, negative": (np.int64(-8), ValueError),
}
A_SIZE = {
    "int64": np.int64(8),
    "uint8": np.uint8(8),
    "an array of one": np.array(8),
    "a tensor of one": torch.tensor(8),
}
SIZED = {
    "n_genes": lambda n: NBVAE(n_genes=n),
    "n_latent": lambda n: NBVAE(8, n_latent=n),
    "n_hidden": lambda n: NBVAE(8, n_hidden=n),
    "n_layers": lambda n: NBVAE(8, n_layers=n),
    "layers": lambda n: MLP(8, 8, n_layers=n),
    "n_input": lambda n: MLP(n, 8),
    "n_output": lambda n: MLP(8, n),
}
SAMPLED = {
    "elbo": lambda w, n: evaluation.elbo(w.module, w.adata, n_samples=n),
    "bound": lambda w, n: evaluation.importance_weighted_bound(w.module, w.adata, n_samples=n),
    "denoised": lambda w, n: expression.denoised(w.module, w.adata, n_samples=n),
    "posterior": lambda w, n: expression.posterior_predictive(w.module, w.adata, n_samples=n),
}
NOT_COVARIATES = {
    "a column's name": ("donor", "Covariates.of(adata, 'donor')"),
    "labels": (["d1", "d2"], "Covariates.of"),
    "a number": (3, "Covariates.of"),
    "a tuple": (("donor", ("d1", "d2")), "Covariates.of"),
    "a Series": (pd.Series(["d1", "d2"]), "Covariates.of"),
    "True": (True, "Covariates.of"),
}
NOT_NAMED = {
    "a missing column": (["donor", "run"], KeyError, "no column 'run'"),
    "a missing name": ("run", KeyError, "no column 'run'"),
    "no names": ([], ValueError, "none"),
    "one twice": (["donor", "donor"], ValueError, "each once"),
    "a number": (3, TypeError, "['batch', 'donor']"),
    "numbers": ([0, 1], TypeError, "['batch', 'donor']"),
    "a Series": (pd.Series(["d1", "d2"]), TypeError, "pandas.Series"),
    "True": (True, TypeError, "bool"),
}
NAMED = {"a string": "donor", "a list": ["donor"], "a tuple": ("donor",)}
NOT_A_KEY = {
    "a number": (3, TypeError, "size_factor_key"),
    "a list": (["donor"], TypeError, "size_factor_key"),
    "the numbers": (np.ones(30), TypeError, "size_factor_key"),
    "no column": ("depth", KeyError, "no column 'depth'"),
    "text": ("donor", ValueError, "must hold numbers"),
}
TABLE = [
    *(
        Case(
            f"{function}, {name} for an AnnData",
            lambda w, f=f, make=make: f(w, make(w)),
            Error(TypeError, word),
        )
        for function, f in TAKES_ANNDATA.items()
        for name, (make, word) in NOT_ANNDATA.items()
    ),
    *(
        Case(f"{size} is {name}", lambda w, f=f, value=value: f(value), Error(kind, size))
        for size, f in SIZED.items()
        for name, (value, kind) in NOT_A_SIZE.items()
    ),
    *(
        Case(
            f"{size} is {name}",
            lambda w, f=f, value=value: str(f(value)),
            lambda w, f=f: str(f(8)),
        )
        for size, f in SIZED.items()
        for name, value in A_SIZE.items()
    ),
    *(
        Case(
            f"{function}, n_samples is {name}",
            lambda w, f=f, value=value: f(w, value),
            Error(kind, "n_samples"),
        )
        for function, f in SAMPLED.items()
        for name, (value, kind) in NOT_A_SIZE.items()
    ),
    *(
        Case(
            f"{function}, n_samples is {name}",
            lambda w, f=f, value=value: f(w, value),
            lambda w, f=f: f(w, 8),
        )
        for function, f in SAMPLED.items()
        for name, value in A_SIZE.items()
    ),
    *(
        Case(
            f"covariates is {name}",
            lambda w, value=value: NBVAE(8, covariates=value),
            Error(TypeError, word),
        )
        for name, (value, word) in NOT_COVARIATES.items()
    ),
    *(
        Case(
            f"size_factor_key is {name}",
            lambda w, value=value: NBVAE.for_counts(w.adata, size_factor_key=value),
            Error(kind, word),
        )
        for name, (value, kind, word) in NOT_A_KEY.items()
    ),
    Case(
        "from_scvi of an NBVAE",
        lambda w: from_scvi(w.module),
        Error(TypeError, "scvi.model.SCVI, not nbvae.NBVAE"),
    ),
    Case("from_scvi of None", lambda w: from_scvi(None), Error(TypeError, "NoneType")),
    Case("no likelihood", lambda w: NBVAE(8, likelihood="normal"), Error(ValueError, "'normal'")),
    Case(
        "likelihood is a class", lambda w: NBVAE(8, likelihood=dict), Error(TypeError, "likelihood")
    ),
    Case("likelihood is a list", lambda w: NBVAE(8, likelihood=["nb"]), Error(TypeError, "'nb'")),
    Case(
        "encode without",
        lambda w: NBVAE(8, encode_covariates=True),
        Error(ValueError, "covariates"),
    ),
    Case(
        "encode is a word",
        lambda w: NBVAE(8, covariates=w.covariates, encode_covariates="no"),
        Error(TypeError, "'no'"),
    ),
    Case(
        "levels twice",
        lambda w: NBVAE(8, covariates=Covariates((Category("donor", ("a", "a")),))),
        Error(ValueError, "'a'"),
    ),
    Case(
        "no levels",
        lambda w: NBVAE(8, covariates=Covariates((Category("donor", ()),))),
        Error(ValueError, "none"),
    ),
    Case("no columns", lambda w: NBVAE(8, covariates=Covariates(())), Error(ValueError, "none")),
    Case(
        "no spread",
        lambda w: NBVAE(8, covariates=Covariates((Number("age", 30.0, 0.0),))),
        Error(ValueError, "'age'"),
    ),
    *(
        Case(
            f"for_counts, covariates are {name}",
            lambda w, value=value: NBVAE.for_counts(w.adata, covariates=value, **SIZES),
            Error(kind, word),
        )
        for name, (value, kind, word) in NOT_NAMED.items()
    ),
    *(
        Case(
            f"for_counts, covariates named by {name}",
            lambda w, value=value: NBVAE.for_counts(w.adata, covariates=value, **SIZES).covariates,
            lambda w: w.covariates,
        )
        for name, value in NAMED.items()
    ),
    Case(
        "levels of numpy",
        lambda w: (
            NBVAE(
                8,
                covariates=Covariates(
                    [Category(np.str_("donor"), list(np.array(["d1", "d2", "d3"])))]
                ),
            ).covariates
        ),
        lambda w: w.covariates,
    ),
    Case(
        "a gene of none", lambda w: NBVAE.for_counts(w.adata[:, []]), Error(ValueError, "0 genes")
    ),
    Case("a table of none", lambda w: NBVAE.for_counts(w.adata[[]]), Error(ValueError, "0 cells")),
    Case(
        "a view",
        lambda w: NBVAE.for_counts(w.adata[:20, ::-1], **SIZES).decoder.output_layer.bias.detach(),
        lambda w: NBVAE.for_counts(
            w.adata[:20, ::-1].copy(), **SIZES
        ).decoder.output_layer.bias.detach(),
    ),
    *(
        Case(
            f"{function} in {dtype}",
            lambda w, f=f, dtype=dtype: f(copy_in(w.module, dtype), w.adata),
            Error(ValueError, f"{dtype}".removeprefix("torch.")),
        )
        for function, f in FUNCTIONS.items()
        for dtype in (torch.float16, torch.bfloat16)
    ),
]
CALLS = {
    "an array": (lambda w: w.adata.X.toarray(), TypeError, "torch.as_tensor"),
    "an AnnData": (lambda w: w.adata, TypeError, "evaluation.encode"),
    "nothing": (lambda w: None, TypeError, "NoneType"),
    "one cell without its axis": (lambda w: torch.ones(8), ValueError, "(8,)"),
    "too few columns": (lambda w: torch.ones(3, 7), ValueError, "(3, 7)"),
    "a number": (lambda w: torch.tensor(3.0), ValueError, "()"),
}


def copy_in(module, dtype):
    other = NBVAE(module.n_genes, **SIZES)
    other.load_state_dict(module.state_dict())
    return other.to(dtype)


@cases(TABLE)
def test_arguments(case, world):
    check(case, world)


@pytest.mark.parametrize("name", CALLS)
def test_what_a_module_is_called_with(name, world):
    make, kind, word = CALLS[name]
    check(Case(name, lambda w: w.module(make(w)), Error(kind, word)), world)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64, torch.uint8])
def test_counts_of_any_type(dtype, world):
    x, noise = torch.from_numpy(world.adata.X.toarray()), torch.zeros(30, 2)
    expected = world.module(x, noise=noise).loss
    found = world.module(x.to(dtype), noise=noise).loss
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "posterior_predictive"])
def test_double_is_as_good(function, world):
    """Up to rounding, and to the draws of z, which are others in float64."""
    double = copy_in(world.module, torch.float64)
    found = FUNCTIONS[function](double, world.adata)
    assert np.isfinite(np.asarray(found, dtype=float)).all()
    if function in ("encode", "add_latent"):
        np.testing.assert_allclose(found, world.clean(function), rtol=1e-4, atol=1e-5)


CLUSTERS = {
    "lengths differ": ((lambda z, y: (z[1:], y)), "29 cells"),
    "NaN": ((lambda z, y: (np.where(np.arange(30)[:, None] == 4, np.nan, z), y)), "row 4"),
    "one label": ((lambda z, y: (z, ["a"] * 30)), "1 different"),
    "a label for each": ((lambda z, y: (z, range(30))), "30 different"),
    "fewer cells than clusters": ((lambda z, y: (z[:6], y[:6])), "only 6"),
    "one dimension": ((lambda z, y: (z[:, 0], y)), "(30,)"),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters(name, world):
    change, word = CLUSTERS[name]
    z, y = change(world.clean("encode"), world.adata.obs["donor"].to_numpy())
    check(
        Case(
            name, lambda w: evaluation.cluster_agreement(z, np.asarray(y)), Error(ValueError, word)
        ),
        world,
    )


def test_another_module_may_have_a_layer_of_its_own(world):
    """`layer` and `genes` are common names in other people's networks."""

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 1)
            self.genes = 8

        def forward(self, x, *, kl_weight=1.0):
            from nbvae import LossOutput

            terms = self.layer(x).squeeze(1)
            return LossOutput(terms.mean(), terms, 0 * terms)

    assert np.isfinite(evaluation.elbo(Other(), world.adata).neg_elbo)
