"""Cells of another experiment: found by names, told from what the module has never seen."""

import logging

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import NBVAE, Covariates, Trainer, evaluation, map_query, with_new_levels
from nbvae.data.genes import with_genes

N_GENES = 120


def drawn(seed, kinds, n_cells, *, runs=(("old", 0.0),), library=700):
    """Cells of kinds, each with shares of its own; a run multiplies each gene by a factor."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    common = world.normal(size=N_GENES)
    own = {kind: world.normal(scale=0.7, size=N_GENES) for kind in "ABCD"}
    effects = {name: size * world.normal(size=N_GENES) for name, size in runs}
    kind = rng.choice(list(kinds), size=n_cells)
    run = rng.choice([name for name, _ in runs], size=n_cells)
    log_share = common + np.stack([own[k] for k in kind]) + np.stack([effects[r] for r in run])
    share = np.exp(log_share)
    share /= share.sum(axis=1, keepdims=True)
    sizes = library * rng.lognormal(sigma=0.4, size=n_cells)
    mean = sizes[:, None] * share
    counts = rng.poisson(mean * rng.gamma(5, 1 / 5, size=mean.shape)).astype(np.float32)
    counts[:, 0] += counts.sum(axis=1) == 0
    return AnnData(
        X=sparse.csr_matrix(counts),
        obs=pd.DataFrame(
            {"kind": kind, "run": run}, index=[f"cell-{seed}-{i}" for i in range(n_cells)]
        ),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(N_GENES)]),
    )


def train(adata, **arguments):
    module = NBVAE.for_counts(adata, 5, n_hidden=32, seed=0, **arguments)
    Trainer(max_epochs=40, device="cpu", progress=False).fit(module, adata)
    return module


@pytest.fixture(scope="module")
def module():
    return train(drawn(1, "ABC", 900))


@pytest.fixture(scope="module")
def known():
    return drawn(2, "ABC", 400)


@pytest.mark.slow
@pytest.mark.parametrize("library", [300, 700, 2000])
def test_a_kind_that_was_never_seen_is_noticed_and_known_kinds_are_not(module, known, library):
    """Else "of no kind here" would be a word without a meaning. Known: within sampling error."""
    n, level = 400, 0.05
    query = drawn(3, "ABCD", n, library=library)
    mapped = map_query(module, query, drawn(2, "ABC", 400, library=library))
    assert mapped.p_value.shape == mapped.misfit.shape == (n,) and mapped.filled == ()
    new = (query.obs["kind"] == "D").to_numpy()
    # of the known: Binomial, and the quantile itself comes from 400 cells
    error = np.sqrt(level * (1 - level) * (1 / (~new).sum() + 1 / 400))
    assert abs((mapped.p_value[~new] <= level).mean() - level) < 4 * error
    assert (mapped.p_value[new] <= level).mean() > {300: 0.5, 700: 0.9, 2000: 0.98}[library]


@pytest.mark.slow
def test_p_values_of_known_kinds_are_uniform(module, known):
    """Else 0.05 would not be 0.05."""
    mapped = map_query(module, drawn(4, "ABC", 800), known)
    assert (
        scipy.stats.kstest(mapped.p_value, "uniform").statistic < 1.63 * (1 / 400 + 1 / 800) ** 0.5
    )


@pytest.mark.slow
def test_the_misfit_does_not_follow_the_library(module, known):
    """Else large cells would be strangers, and small ones never."""
    query = drawn(5, "ABC", 800)
    library = np.asarray(query.X.sum(axis=1)).ravel()
    assert abs(scipy.stats.spearmanr(library, map_query(module, query, known).misfit)[0]) < 0.2


@pytest.mark.slow
def test_genes_are_found_by_name(module, known):
    """Else each count would meet the weights of another gene."""
    query = drawn(6, "ABC", 60)
    plain = map_query(module, query, known)
    more = AnnData(
        sparse.hstack([query.X[:, ::-1], sparse.csr_matrix(np.ones((60, 3), np.float32))]).tocsr(),
        obs=query.obs,
        var=pd.DataFrame(index=[*query.var_names[::-1], "X1", "X2", "X3"]),
    )
    for filled in (False, True):
        other = map_query(module, more, known, fill_missing=filled)
        np.testing.assert_allclose(other.latent.mean, plain.latent.mean, atol=1e-5)
        np.testing.assert_allclose(other.misfit, plain.misfit, atol=1e-3)
    expected = evaluation.encode(module, query)
    np.testing.assert_array_equal(plain.latent.mean, expected.mean)


@pytest.mark.slow
def test_missing_genes_are_refused_unless_asked_for_and_then_counted(module, known, caplog):
    """Else a gene that was not measured would be one without counts, and nobody would know."""
    query = drawn(7, "ABCD", 400)
    less = query[:, 30:].copy()
    with pytest.raises(ValueError, match=r"30 of the 120 genes.*fill_missing=True"):
        map_query(module, less, known)
    with caplog.at_level(logging.WARNING, "nbvae"):
        mapped = map_query(module, less, known, fill_missing=True)
    assert "30 of the module's 120 genes" in caplog.text and "'GENE0'" in caplog.text
    assert mapped.filled == tuple(f"GENE{i}" for i in range(30))
    blank = query.copy()
    blank.X = sparse.csr_matrix(query.X.toarray() * (np.arange(N_GENES) >= 30))
    latent = evaluation.encode(module, blank).mean
    np.testing.assert_allclose(mapped.latent.mean, latent, atol=1e-5)
    new = (query.obs["kind"] == "D").to_numpy()
    level, error = 0.05, np.sqrt(0.05 * 0.95 * (1 / (~new).sum() + 1 / 400))
    assert abs((mapped.p_value[~new] <= level).mean() - level) < 4 * error
    assert (mapped.p_value[new] <= level).mean() > 0.7


def test_with_genes_keeps_each_count_with_its_gene(small):
    """Else a filled table would be another table."""
    some = small[:, [7, 3, 5]].copy()
    some.layers["counts"] = some.X.copy()
    some.X = some.X.log1p()
    wanted = [f"GENE{i}" for i in range(9)]
    whole, missing = with_genes(some, wanted, layer="counts")
    assert list(whole.var_names) == wanted and whole.obs.equals(some.obs)
    assert missing == ("GENE0", "GENE1", "GENE2", "GENE4", "GENE6", "GENE8")
    expected = small.X.toarray()[:, :9].copy()
    expected[:, [0, 1, 2, 4, 6, 8]] = 0
    np.testing.assert_array_equal(whole.X.toarray(), expected)


# ---------------------------------------------------------------- what is refused


def untrained(adata, **arguments):
    return NBVAE.for_counts(adata, 2, n_hidden=8, seed=0, **arguments)


def test_what_can_not_be_mapped_is_refused(small):
    module = untrained(small)
    with pytest.raises(ValueError, match="19 known cells are too few"):
        map_query(module, small, small[:19].copy())
    with pytest.raises(TypeError, match="fill_missing must be True or False"):
        map_query(module, small, small, fill_missing="zeros")
    with pytest.raises(TypeError, match="AnnData"):
        map_query(module, small.X, small, fill_missing=True)
    strangers = small.copy()
    strangers.var_names = [f"ENSG{i}" for i in range(12)]
    with pytest.raises(ValueError, match="none of the 12 genes"):
        map_query(module, strangers, small, fill_missing=True)
    only = small[:, 4:8].copy()
    only.X = sparse.csr_matrix(only.X.toarray() * (np.arange(53) != 3)[:, None])
    with pytest.raises(ValueError, match="cell-3"):
        map_query(module, only, small, fill_missing=True)
    module.genes = None
    with pytest.raises(ValueError, match="knows no genes by name"):
        map_query(module, small, small)


def test_a_new_batch_is_refused_with_the_way_out(told):
    """Else its cells would be decoded as some other batch's."""
    module = untrained(told, covariates=["run", "percent_mito"])
    other = told.copy()
    other.obs["run"] = "newest"
    with pytest.raises(ValueError, match=r"'newest' of cell 'cell-0'.*with_new_levels"):
        map_query(module, other, told)


# ---------------------------------------------------------------- new levels


SETTINGS = {"max_epochs": 3, "device": "cpu", "progress": False}


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
@pytest.mark.parametrize("encode_covariates", [False, True])
def test_only_the_weights_of_new_levels_move(told, likelihood, encode_covariates):
    """Else the cells that the module knew would lie elsewhere afterwards."""
    covariates = Covariates.of(told, "run", "percent_mito", "group")
    arguments = {"covariates": covariates, "encode_covariates": encode_covariates}
    module = untrained(told, likelihood=likelihood, **arguments)
    before = evaluation.encode(module, told).mean, evaluation.elbo(module, told)
    other = told.copy()
    other.obs["run"] = np.where(np.arange(53) % 3, "newest", other.obs["run"])
    extended = with_new_levels(module, other, **SETTINGS)
    assert extended.covariates.columns[0].levels == ("new", "old", "newest")
    assert extended.covariates.columns[1:] == covariates.columns[1:]
    np.testing.assert_allclose(evaluation.encode(extended, told).mean, before[0], atol=1e-6)
    assert evaluation.elbo(module, told) == before[1]
    assert evaluation.elbo(extended, told) == pytest.approx(before[1], rel=1e-6)  # sums are longer
    n_moved = 0
    for (name, old), new in zip(module.named_parameters(), extended.parameters(), strict=True):
        if old.shape == new.shape:
            assert torch.equal(old, new), name
            continue
        n_known = old.shape[1] - 6
        kept = [*range(n_known + 2), *range(n_known + 3, old.shape[1] + 1)]
        assert torch.equal(new[:, kept], old), name
        start = old[:, n_known : n_known + 2].mean(dim=1)
        assert not torch.equal(new[:, n_known + 2], start), name
        n_moved += 1
    assert n_moved == 1 + (likelihood == "zinb") + 2 * encode_covariates
    assert all(weights.requires_grad for weights in extended.parameters())


def test_the_extended_module_is_a_module(told, tmp_path):
    """Else it could not be kept, trained on or extended again."""
    module = untrained(told, covariates=["run"]).double()
    other = told.copy()
    other.obs["run"] = "newest"
    extended = with_new_levels(module, other, **SETTINGS)
    extended.save(tmp_path / "module.pt")
    again = NBVAE.load(tmp_path / "module.pt")
    assert evaluation.elbo(again, other) == evaluation.elbo(extended, other)
    before = evaluation.elbo(again, other)
    Trainer(**SETTINGS).fit(again, other)
    assert evaluation.elbo(again, other) != before
    other.obs["run"] = "later"
    assert with_new_levels(extended, other, **SETTINGS).covariates.levels[-1] == "later"


def test_nothing_new_is_said(told):
    with pytest.raises(ValueError, match="no level that is new to the module in 'run'"):
        with_new_levels(untrained(told, covariates=["run"]), told)
    for arguments in ({}, {"covariates": ["percent_mito"]}):
        with pytest.raises(ValueError, match="without categories"):
            with_new_levels(untrained(told, **arguments), told)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_new_batch_is_explained_better(seed):
    """Else surgery would be for nothing: other cells of the batch would fit as badly as before."""
    runs = (("old", 0.0), ("older", 0.5), ("new", 0.5))
    module = train(drawn(10 + seed, "ABC", 900, runs=runs[:2]), covariates=["run"])
    query, more = (drawn(n + seed, "ABC", 1200, runs=runs) for n in (20, 30))
    query, more = (cells[cells.obs["run"] == "new"].copy() for cells in (query, more))
    as_old = more.copy()
    as_old.obs["run"] = "old"
    extended = with_new_levels(module, query, device="cpu", progress=False)
    before, after = evaluation.elbo(module, as_old), evaluation.elbo(extended, more)
    assert after.reconstruction < before.reconstruction - 1.5  # nats per cell; 3 to 4.5 were seen


def test_p_counts_the_known_cells_that_fit_as_badly():
    """Of n known cells and the one in question, so that it is never 0. They ask themselves."""
    known = drawn(4, "ABC", 150)
    mapped = map_query(NBVAE.for_counts(known, 5, n_hidden=32, seed=0), known, known)
    as_bad = [(mapped.misfit >= misfit).sum() for misfit in mapped.misfit]
    np.testing.assert_allclose(mapped.p_value, (np.array(as_bad) + 1) / 151, rtol=1e-12)
