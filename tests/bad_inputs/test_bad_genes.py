"""Columns: found by name, or missed by name."""

import copy

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, concat
from outcomes import Case, Error, cases, check, same
from scipy import sparse
from world import FUNCTIONS, N_GENES

from nbvae import NBVAE, CellTable, CountsError, evaluation, expression

pytestmark = [  # anndata warns where names occur twice, or are categories; here that is meant
    pytest.mark.filterwarnings("ignore:.*names are not unique"),
    pytest.mark.filterwarnings(r"ignore:\s*AnnData expects .var.index to contain strings"),
]

CELLTABLE_ONLY = ("elbo", "bound", "encode")  # these take a table that was made before


def renamed(adata, names):
    other = adata.copy()
    other.var_names = names
    return other


def with_others(adata, names, first=False):
    """Columns of other genes, with many counts, after or before those of the module."""
    n = len(names)
    more = AnnData(
        sparse.csr_matrix(np.full((adata.n_obs, n), 50, dtype=np.float32)),
        obs=pd.DataFrame(index=adata.obs_names),
        var=pd.DataFrame(index=names),
    )
    parts = [more, adata] if first else [adata, more]
    both = concat(parts, axis="var")
    both.obs = adata.obs.copy()
    return both


def only_in_raw(adata):
    other = adata.copy()
    other.raw = adata.copy()
    return other[:, :3].copy()


def with_ids(adata, kind=object):
    other = renamed(adata, [f"ENSG{i}" for i in range(adata.n_vars)])
    other.var["symbol"] = adata.var_names.to_numpy().astype(kind)
    return other


def with_category(adata):
    other = with_ids(adata)
    other.var["symbol"] = other.var["symbol"].astype("category")
    return other


def empty_but_for_others(adata):
    other = adata.copy()
    counts = other.X.toarray()
    counts[4] = 0
    other.X = sparse.csr_matrix(counts)
    return with_others(other, ["X1"])


def stored_as(make):
    def change(adata):
        other = adata[:, ::-1].copy()
        other.X = make(other.X)
        return other

    return change


RIGHT = {
    "reversed": lambda a: a[:, ::-1].copy(),
    "shuffled": lambda a: a[:, [3, 1, 7, 0, 2, 6, 5, 4]].copy(),
    "a view": lambda a: a[:, ::-1],
    "a view of a view": lambda a: a[:, ::-1][:, [3, 1, 7, 0, 2, 6, 5, 4]],
    "by a list of names": lambda a: a[:, sorted(a.var_names, reverse=True)],
    "dense": stored_as(lambda x: x.toarray()),
    "by columns": stored_as(lambda x: x.tocsc()),
    "float64": stored_as(lambda x: x.astype(np.float64)),
    "int32": stored_as(lambda x: x.astype(np.int32)),
    "other genes after": lambda a: with_others(a, ["X1", "X2"]),
    "other genes before": lambda a: with_others(a, ["X1", "X2"], first=True),
    "others twice": lambda a: with_others(a, ["X1", "X1"]),
    "others between": lambda a: with_others(a, ["X1", "X2"])[:, [8, 3, 1, 9, 7, 0, 2, 6, 5, 4]],
    "names of numpy": lambda a: renamed(a, np.array(a.var_names, dtype=np.str_))[:, ::-1].copy(),
    "names as categories": lambda a: renamed(a, pd.CategoricalIndex(a.var_names))[:, ::-1].copy(),
}
WRONG = {
    "one missing": (lambda a: a[:, a.var_names != "GENE3"].copy(), ValueError, "'GENE3'"),
    "one renamed": (lambda a: a.copy()[:, 1:], ValueError, "'GENE0'"),
    "all but one missing": (lambda a: a[:, :1].copy(), ValueError, "7 of the 8"),
    "other names": (
        lambda a: renamed(a, [f"A{i}" for i in range(8)]),
        ValueError,
        "adata.var_names = list(module.genes)",
    ),
    "other case": (lambda a: renamed(a, a.var_names.str.lower()), ValueError, "'gene0'"),
    "numbers for names": (lambda a: AnnData(a.X, obs=a.obs), ValueError, "'0', '1'"),
    "names in a column": (with_ids, ValueError, "adata.var_names = adata.var['symbol']"),
    "names in a category": (with_category, ValueError, "adata.var['symbol']"),
    "all in raw": (only_in_raw, ValueError, "adata.raw.to_adata()"),
    "no columns": (lambda a: a[:, []].copy(), ValueError, "none of the 8"),
    "no cells": (lambda a: a[[]].copy(), (CountsError, ValueError), "0 cells"),
    "no cells, reversed": (lambda a: a[[]][:, ::-1], CountsError, "0 cells"),
    "a name twice": (lambda a: a[:, [0, *range(8)]].copy(), ValueError, "'GENE0'"),
    "a name twice, one missing": (
        lambda a: renamed(a, ["GENE0", "GENE0", *a.var_names[2:]]),
        ValueError,
        "'GENE1'",
    ),
    "a cell without counts": (empty_but_for_others, CountsError, "'cell-4'"),
}
TABLE = [
    *(
        Case(
            f"{function}, {name}",
            lambda w, f=function, change=change: FUNCTIONS[f](w.module, change(w.adata)),
            lambda w, f=function: w.clean(f),
        )
        for function in FUNCTIONS
        for name, change in RIGHT.items()
    ),
    *(
        Case(
            f"{function}, {name}",
            lambda w, f=function, change=change: FUNCTIONS[f](w.module, change(w.adata)),
            Error(kind, word),
        )
        for function in FUNCTIONS
        for name, (change, kind, word) in WRONG.items()
    ),
    *(
        Case(
            f"{function}, a module without names",
            lambda w, f=function: FUNCTIONS[f](w.unnamed, renamed(w.adata, list("abcdefgh"))),
            lambda w, f=function: w.clean(f),
        )
        for function in FUNCTIONS
    ),
    *(
        Case(
            f"{function}, a table of another order",
            lambda w, f=function: FUNCTIONS[f](w.module, CellTable.of(w.adata[:, ::-1])),
            Error(ValueError, "CellTable.of(adata, module)"),
        )
        for function in CELLTABLE_ONLY
    ),
    *(
        Case(
            f"{function}, a table of the module",
            lambda w, f=function: FUNCTIONS[f](w.module, CellTable.of(w.adata[:, ::-1], w.module)),
            lambda w, f=function: w.clean(f),
        )
        for function in CELLTABLE_ONLY
    ),
]
GENES = {  # of a table whose columns are reversed, beside one that the module does not model
    "a name": ("GENE2", [2]),
    "names": (["GENE2", "GENE7"], [2, 7]),
    "an Index": (pd.Index(["GENE7", "GENE2"]), [7, 2]),
    "numbers": ([0, 1, 7], [7, 6, 0]),
    "from the end": ([-2], [0]),
    "a slice": (slice(0, 3), [7, 6, 5]),
    "a mask": ([True, False, False, False, False, False, False, True, False], [7, 0]),
    "a mask by name": (
        pd.Series([True] + [False] * 8, index=[*(f"GENE{i}" for i in range(8)), "X1"]),
        [0],
    ),
}
NO_GENES = {
    "another gene": ("X1", KeyError, "'X1'"),
    "another gene by number": ([8], KeyError, "'X1'"),
    "unknown": ("GENE9", KeyError, "'GENE9'"),
    "too far": ([9], ValueError, "9"),
    "a float": ([1.0], ValueError, "genes"),
    "none": ([], ValueError, "genes"),
    "a short mask": ([True] * 8, ValueError, "genes"),
}


@cases(TABLE)
def test_columns_are_found_by_name(case, world):
    check(case, world)


@pytest.fixture
def beside(world):
    return with_others(world.adata[:, ::-1], ["X1"])


@pytest.mark.parametrize("name", GENES)
def test_genes_are_chosen_as_the_table_counts_them(name, world, beside):
    genes, columns = GENES[name]
    shares = expression.denoised(world.module, beside, genes=genes, n_samples=2)
    np.testing.assert_array_equal(shares, world.clean("denoised")[:, columns])


@pytest.mark.parametrize("name", NO_GENES)
def test_genes_that_are_not_modelled(name, world, beside):
    genes, kind, word = NO_GENES[name]
    check(
        Case(name, lambda w: expression.denoised(w.module, beside, genes=genes), Error(kind, word)),
        world,
    )


def test_results_stand_as_the_table_does(world):
    """Else `adata.layers["denoised"] = …` would give each gene the numbers of another."""
    shares = expression.denoised(world.module, world.adata[:, ::-1], n_samples=2)
    same(shares[:, ::-1], expression.denoised(world.module, world.adata, n_samples=2))
    drawn = expression.posterior_predictive(world.module, world.adata[:, ::-1])
    same(drawn[..., ::-1], expression.posterior_predictive(world.module, world.adata))


def test_differences_are_of_the_gene_that_is_named(world):
    def table(adata):
        found = expression.differential_expression(
            world.module, adata, slice(0, 9), slice(9, 20), n_samples=50
        )
        return found.loc[sorted(found.index)]

    a, b = table(world.adata), table(with_others(world.adata[:, ::-1], ["X1"]))
    pd.testing.assert_frame_equal(a, b)
    assert list(a.index) == [f"GENE{i}" for i in range(N_GENES)]


def test_names_that_occur_twice_are_right_as_long_as_nothing_moves(world):
    twice = renamed(world.adata, ["GENE0", "GENE0", *world.adata.var_names[2:]])
    module = copy.deepcopy(world.module)
    module.genes = tuple(twice.var_names)
    assert evaluation.elbo(module, twice) == world.clean("elbo")
    with pytest.raises(ValueError, match=r"'GENE0'.*var_names_make_unique"):
        evaluation.elbo(module, twice[:, ::-1].copy())


def test_the_ways_out_are_ways_out(world):
    by_id = with_ids(world.adata[:, ::-1].copy())
    by_id.var_names = by_id.var["symbol"]
    assert evaluation.elbo(world.module, by_id) == world.clean("elbo")
    nameless = AnnData(world.adata.X)
    nameless.var_names = list(world.module.genes)
    assert evaluation.elbo(world.module, nameless) == world.clean("elbo")
    few = only_in_raw(world.adata)
    assert evaluation.elbo(world.module, few.raw.to_adata()) == world.clean("elbo")


@pytest.mark.parametrize("kind", [tuple, list, np.array, pd.Index, pd.Series])
def test_names_may_be_told_later(kind, world):
    module = copy.deepcopy(world.unnamed)
    module.genes = kind(list(world.adata.var_names))
    assert evaluation.elbo(module, world.adata[:, ::-1].copy()) == world.clean("elbo")
    module.genes = kind(list(world.adata.var_names[:7]))
    with pytest.raises(ValueError, match="7 names, but it models 8 genes"):
        evaluation.elbo(module, world.adata)


def test_a_module_knows_the_genes_that_it_was_made_for(world):
    assert world.module.genes == tuple(world.adata.var_names)
    assert NBVAE(4).genes is None
