"""Counts in a layer, or somewhere else than in X."""

import pytest
from outcomes import Case, Error, cases, check
from world import FUNCTIONS, SIZES

from nbvae import NBVAE, CellTable, CountsError, count_matrix, evaluation


def in_raw(world, *, more_genes=False):
    adata = world.logged.copy()
    adata.raw = world.adata.copy()
    return adata[:, :5].copy() if more_genes else adata


def without_x(world):
    adata = world.layered.copy()
    adata.X = None
    return adata


INPUTS = {  # module, AnnData, options → outcome
    "the module's layer": lambda w: (w.in_layer, w.layered, {}),
    "the module's layer, named": lambda w: (w.in_layer, w.layered, {"layer": "counts"}),
    "the module's layer, genes reversed": lambda w: (w.in_layer, w.layered[:, ::-1], {}),
    "the module's layer, X empty": lambda w: (w.in_layer, without_x(w), {}),
    "a layer is named": lambda w: (w.module, w.layered, {"layer": "counts"}),
    "X is named": lambda w: (w.module, w.adata, {"layer": "X"}),
    "X instead of the module's layer": lambda w: (w.in_layer, w.adata, {"layer": "X"}),
}
WRONG = {
    "counts in a layer": (lambda w: (w.module, w.layered, {}), CountsError, "pass layer='counts'"),
    "counts in raw": (
        lambda w: (w.module, in_raw(w), {}),
        CountsError,
        "pass adata.raw.to_adata()",
    ),
    "the layer is missing": (lambda w: (w.in_layer, w.adata, {}), KeyError, "pass layer='X'"),
    "an unknown layer": (lambda w: (w.module, w.layered, {"layer": "raw"}), KeyError, "'counts'"),
    "a number for a layer": (lambda w: (w.module, w.layered, {"layer": 0}), TypeError, "layer"),
    "a list for a layer": (
        lambda w: (w.module, w.layered, {"layer": ["counts"]}),
        TypeError,
        "layer",
    ),
    "X empty": (lambda w: (w.module, without_x(w), {}), CountsError, "pass layer='counts'"),
    "X named, not counts": (
        lambda w: (w.in_layer, w.layered, {"layer": "X"}),
        CountsError,
        "pass layer='counts'",
    ),
}


def attempt(function, make):
    def run(world):
        module, adata, options = make(world)
        return FUNCTIONS[function](module, adata, **options)

    return run


TABLE = [
    *(
        Case(f"{function}, {name}", attempt(function, make), lambda w, f=function: w.clean(f))
        for function in FUNCTIONS
        for name, make in INPUTS.items()
    ),
    *(
        Case(f"{function}, {name}", attempt(function, make), Error(kind, word))
        for function in FUNCTIONS
        for name, (make, kind, word) in WRONG.items()
    ),
]


@cases(TABLE)
def test_one_door(case, world):
    check(case, world)


def test_a_module_remembers_where_its_counts_are(world):
    module = NBVAE.for_counts(world.layered, layer="counts", **SIZES)
    assert module.layer == "counts"
    assert NBVAE.for_counts(world.adata, **SIZES).layer is None
    with pytest.raises(CountsError, match="pass layer='counts'"):
        NBVAE.for_counts(world.layered)


def test_a_table_has_its_counts_already(world):
    table = CellTable.of(world.layered, world.in_layer)
    assert evaluation.elbo(world.in_layer, table) == world.clean("elbo")
    with pytest.raises(ValueError, match="layer"):
        evaluation.elbo(world.in_layer, table, layer="counts")


def test_raw_with_more_genes_is_cut_to_these(world):
    """The way out is one that can be copied."""
    adata = in_raw(world, more_genes=True)
    with pytest.raises(CountsError) as refused:
        count_matrix(adata)
    assert "adata.raw.to_adata()[:, adata.var_names].copy()" in str(refused.value)
    found = count_matrix(adata.raw.to_adata()[:, adata.var_names].copy())
    assert (found != world.adata.X[:, :5]).nnz == 0


def test_a_layer_may_be_called_x(world):
    adata = world.logged.copy()
    adata.layers["X"] = world.adata.X.copy()
    assert (count_matrix(adata, layer="X") != world.adata.X).nnz == 0
