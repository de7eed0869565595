"""A store gives what the same cells in memory give, in pieces."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import nbvae
from nbvae import (
    NBVAE,
    CheckpointError,
    CountsError,
    Covariates,
    Trainer,
    evaluation,
    expression,
    open_store,
    write_store,
)
from nbvae.data import minibatches, order
from nbvae.data.minibatches import CellTable
from nbvae.data.resident import CellSupply
from nbvae.data.store import cells as store_cells
from nbvae.data.store.cells import StoredCounts

SETTINGS = {"max_epochs": 4, "batch_size": 8, "device": "cpu"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 4 cells, windows of 16: of 53 cells each path is taken."""
    monkeypatch.setattr(store_cells, "BLOCK", 4)
    monkeypatch.setattr(order, "WINDOW", 16)
    monkeypatch.setattr(
        minibatches,
        "block_shuffle",
        lambda cells, window, rng: order.block_shuffle(cells, window, rng, block=4),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Where the small store is written, once for all tests."""
    return tmp_path_factory.mktemp("written") / "cells.zarr"


@pytest.fixture
def store(small, written, tmp_path):
    """A copy, so that a test may change it."""
    if not written.exists():
        write_store(written, small)
    return open_store(shutil.copytree(written, tmp_path / "cells.zarr"))


def model(adata, **arguments):
    return NBVAE.for_counts(adata, 2, n_hidden=16, seed=0, **arguments)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_holds_the_same_counts_and_what_is_known_of_cells_and_genes(small, store):
    """Else a store would be another data set."""
    adata = store[:]
    assert sorted(adata.obs_names) == sorted(small.obs_names)
    assert list(adata.var_names) == list(small.var_names)
    back = adata[small.obs_names]
    np.testing.assert_array_equal(back.X.toarray(), small.X.toarray())
    assert list(back.obs["group"]) == list(small.obs["group"])
    assert "53 cells × 12 genes" in repr(store)


@pytest.mark.parametrize("rows", [[5], [52, 0, 7], list(range(3, 20)), slice(40, 47)])
def test_cells_are_read_in_the_order_asked_for(small, store, rows):
    """Else a minibatch would have other cells than its labels."""
    part = store[rows]
    np.testing.assert_array_equal(part.X.toarray(), store[:][rows].X.toarray())
    assert list(part.obs_names) == list(store.obs_names[rows])


def test_a_choice_of_cells_and_genes_is_that_of_anndata(store):
    """Else a reader of AnnData would get something else."""
    store.obsm["X_z"] = np.arange(106.0).reshape(53, 2)
    part = store[store.obs["group"] == "b", ["GENE3", "GENE1"]]
    whole = store[:][store.obs["group"] == "b", ["GENE3", "GENE1"]]
    np.testing.assert_array_equal(part.X.toarray(), whole.X.toarray())
    np.testing.assert_array_equal(part.obsm["X_z"], whole.obsm["X_z"])


def test_pieces_are_the_store(store):
    """Else some cells would be left out of what is computed piece by piece."""
    names = [name for piece in store.pieces(10) for name in piece.obs_names]
    assert names == list(store.obs_names)


def test_anndata_reads_it_without_this_package(small, store):
    """Else counts would be locked in."""
    import anndata

    adata = anndata.read_zarr(store.path)[small.obs_names]
    np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray())


def test_a_module_starts_where_it_would_in_memory(small, store):
    """Else a store would need another number of epochs."""
    assert same(model(store), model(small))


def test_with_size_factors_it_is_the_same(small, tmp_path):
    """Else a store would ignore the column, or start from other rates."""
    small.obs["depth"] = np.linspace(20, 90, 53)
    store = write_store(tmp_path / "s.zarr", small)
    module = model(store, size_factor_key="depth")
    for ours, theirs in zip(
        module.state_dict().values(),
        model(small, size_factor_key="depth").state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    assert evaluation.elbo(module, store) == evaluation.elbo(module, store[:])
    tables = [CellTable.of(cells, module) for cells in (store, store[:])]
    np.testing.assert_array_equal(*(t.library(np.arange(9, 44)) for t in tables))


@pytest.mark.parametrize("genes", ["all", "some, in another order"])
def test_minibatches_are_those_of_the_same_cells_in_memory(small, store, genes):
    """Else it would be trained on other counts, or with other covariates."""
    some = small if genes == "all" else small[:, ["GENE7", "GENE0", "GENE3"]].copy()
    module = model(some, covariates=Covariates.of(store, "group"))
    on_disk, there = (CellTable.of(cells, module) for cells in (store, store[:]))
    cells = on_disk.shuffled(np.arange(53), 8, np.random.default_rng(1))
    cells = np.append(cells, cells[:5])  # a cell may come twice
    pairs = zip(on_disk.minibatches(cells, 8), there.minibatches(cells, 8), strict=True)
    for one, other in pairs:
        assert torch.equal(one.x, other.x) and torch.equal(one.covariates, other.covariates)
        assert all(map(torch.equal, one.sparse, other.sparse))
    np.testing.assert_array_equal(on_disk.library(cells), there.library(cells))
    assert on_disk.counts.shape == there.counts.shape


def test_training_meets_each_cell_once_an_epoch_and_never_many_together(store, monkeypatch):
    """Else memory would hold what was put on a disk not to be held."""
    read, read_rows = StoredCounts.__getitem__, []

    def noted(self, rows):
        read_rows.append(np.asarray(rows))
        return read(self, rows)

    monkeypatch.setattr(StoredCounts, "__getitem__", noted)
    trainer = Trainer(**SETTINGS | {"max_epochs": 1, "holdout_fraction": 0.1})
    trainer.fit(model(store), store)
    assert max(map(len, read_rows)) <= 512
    assert sorted(np.concatenate(read_rows)) == list(range(53))  # those held out once, too


@pytest.mark.slow
def test_it_learns_as_from_memory(seed, read_only_sample, tmp_path):
    """Else the order of the disk would cost quality. Two orders are two seeds of one run."""
    store = write_store(tmp_path / "sample.zarr", read_only_sample, seed=seed)
    ends = []
    for cells in (store, read_only_sample):
        module = model(cells)
        Trainer(max_epochs=12, device="cpu", seed=seed).fit(module, cells)
        ends.append(evaluation.elbo(module, read_only_sample).neg_elbo)
    assert ends[0] == pytest.approx(ends[1], abs=4)  # seeds differ by about 1; untrained: 60 more


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_resumed_run_ends_with_the_very_weights(store, tmp_path, monkeypatch, epochs):
    """Else hours on an atlas would be lost with a power cut."""
    expected, module = model(store), model(store)
    history = Trainer(**SETTINGS).fit(expected, store)
    whole = Trainer._train_epoch

    def dying(self, run, *others):
        if run.epoch == epochs:
            raise SystemExit("power cut")
        return whole(self, run, *others)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_train_epoch", dying)
        Trainer(**SETTINGS).fit(model(store), store, checkpoint=tmp_path / "run.pt")
    ours = Trainer(**SETTINGS).fit(module, open_store(store.path), checkpoint=tmp_path / "run.pt")
    assert same(module, expected)
    pd.testing.assert_frame_equal(ours, history)


def test_a_run_is_not_resumed_on_another_store(small, store, tmp_path):
    """Else two data sets would be mixed in one run; the cells' order counts, too."""
    Trainer(**SETTINGS).fit(model(store), store, checkpoint=tmp_path / "run.pt")
    other = write_store(tmp_path / "other.zarr", small, seed=1)
    with pytest.raises(CheckpointError, match="on other counts"):
        Trainer(**SETTINGS).fit(model(store), other, checkpoint=tmp_path / "run.pt")


def test_held_out_cells_are_neighbours(store):
    """Else evaluating a tenth of the cells would read nearly all blocks."""
    trainer = Trainer(**SETTINGS | {"holdout_fraction": 0.2})
    trainer.fit(model(store), store)
    steps = np.diff(trainer.held_out_cells)
    assert len(trainer.held_out_cells) == 11 and (steps != 1).sum() <= 1
    other = Trainer(**SETTINGS | {"holdout_fraction": 0.2, "seed": 1})
    other.fit(model(store), store)
    assert set(other.held_out_cells) != set(trainer.held_out_cells)


def test_each_group_gives_its_share(store):
    """Else a store would ignore stratify_by."""
    trainer = Trainer(**SETTINGS | {"holdout_fraction": 0.25, "stratify_by": "group"})
    trainer.fit(model(store), store)
    held_out = store.obs["group"].iloc[trainer.held_out_cells].value_counts()
    assert held_out.to_dict() == {"a": 6, "b": 4, "c": 3}  # of 24, 18 and 11; Hamilton's method


@pytest.mark.parametrize("with_covariates", [False, True])
def test_what_a_module_says_is_what_it_says_of_cells_in_memory(store, tmp_path, with_covariates):
    """Else results would depend on where the counts are."""
    covariates = Covariates.of(store, "group") if with_covariates else None
    module, there = model(store, covariates=covariates), store[:]
    assert evaluation.elbo(module, store) == evaluation.elbo(module, there)
    bound = evaluation.importance_weighted_bound
    assert bound(module, store, n_samples=3) == bound(module, there, n_samples=3)
    latent = evaluation.encode(module, there)
    for ours in (
        evaluation.encode(module, store),
        evaluation.encode(module, store, out=tmp_path / "latent.npy"),
    ):
        np.testing.assert_array_equal(ours.mean, latent.mean)
        np.testing.assert_array_equal(ours.sd, latent.sd)
    np.testing.assert_array_equal(np.load(tmp_path / "latent.npy"), np.stack(latent))
    expected = expression.denoised(module, there, n_samples=2)
    ours = expression.denoised(module, store, n_samples=2, out=tmp_path / "denoised.npy")
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "denoised.npy"), expected)
    one_gene = expression.denoised(module, store, n_samples=2, genes=["GENE5"])
    np.testing.assert_array_equal(one_gene[:, 0], expected[:, 5])
    for rule in ("groups", "pairs"):
        settings = {"groupby": "group", "rule": rule, "covariates": "own", "n_samples": 200}
        tables = [
            expression.differential_expression(module, cells, "a", "b", **settings)
            for cells in (store, there)
        ]
        pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
def test_the_latent_state_goes_where_scanpy_looks(store, sc):
    """Else neighbours and UMAP would need a detour."""
    module = model(store)
    evaluation.add_latent(module, store)
    sc.pp.neighbors(store, use_rep="X_nbvae", n_neighbors=5)
    assert store.obsp["connectivities"].shape == (53, 53)
    assert store[:3].obsm["X_nbvae"].shape == (3, 2)


def test_tables_of_cells_and_genes_are_not_made_in_memory(store):
    """Else a machine would run out of memory after hours."""
    module = model(store)
    with pytest.raises(ValueError, match=r"53 × 12 numbers.*out="):
        expression.denoised(module, store)
    with pytest.raises(ValueError, match=r"store\[:1000\]"):
        expression.posterior_predictive(module, store)
    assert expression.posterior_predictive(module, store[:5]).shape == (1, 5, 12)


def test_cells_of_a_store_are_mapped(store):
    """Else a query, or the known cells, would have to be read whole without a word."""
    module, known = model(store), store[np.arange(30)]
    expected = nbvae.map_query(module, store[:], known)
    ours = nbvae.map_query(module, store, known)
    np.testing.assert_array_equal(ours.p_value, expected.p_value)
    with pytest.raises(ValueError, match=r"store\[trainer\.held_out_cells\]"):
        nbvae.map_query(module, store, store)


def test_a_file_for_results_needs_a_folder(store, tmp_path):
    """Else the way out of one error would be another."""
    with pytest.raises(FileNotFoundError, match="make it first"):
        evaluation.encode(model(store), store, out=tmp_path / "none" / "latent.npy")


def test_a_gpu_gets_pieces(store):
    """Else a card would be asked to hold what the host can't."""
    table = CellTable.of(store)
    supply = CellSupply(table, 8, torch.device("cpu"))
    assert not supply.all_there and supply.n_cells == 16
    cells = table.shuffled(np.arange(53), 8, np.random.default_rng(0))
    rows, there = torch.from_numpy(supply.rows(cells)), store[:].X.toarray()
    for piece in supply.pieces(cells):
        x, *_ = supply.cells.minibatch(rows[piece.start : piece.stop])
        np.testing.assert_array_equal(x.numpy(), there[cells[piece.start : piece.stop]])


# ---------------------------------------------------------------- what can go wrong


def test_counts_are_not_taken_for_a_matrix_in_memory(store):
    """Else a function that wants all counts would say that there are none."""
    with pytest.raises(CountsError, match=r"store\[cells\]"):
        nbvae.count_matrix(store)


def test_a_layer_can_not_be_named_afterwards(store):
    """Else the wish would be ignored."""
    with pytest.raises(ValueError, match="no layers"):
        Trainer(**SETTINGS).fit(model(store), store, layer="counts")
    with pytest.raises(ValueError, match="no layers"):
        NBVAE.for_counts(store, layer="counts")


def test_a_cell_without_counts_of_the_modelled_genes_is_named(small, store):
    """Else its library would be 0, and the loss infinite."""
    module = model(small[:, ["GENE9"]][np.asarray(small[:, "GENE9"].X.sum(1)).ravel() > 0].copy())
    empty = small.obs_names[small[:, "GENE9"].X.toarray().ravel() == 0]
    with pytest.raises(CountsError, match="In the genes of the module") as error:
        evaluation.elbo(module, store)
    assert any(repr(name) in str(error.value) for name in empty)


def test_another_folder_is_no_store(tmp_path, store):
    """Else zarr's own words would have to be understood."""
    with pytest.raises(FileNotFoundError, match="no store"):
        open_store(tmp_path / "none.zarr")
    (tmp_path / "other").mkdir()
    with pytest.raises(CountsError, match="not a store"):
        open_store(tmp_path / "other")
    shutil.rmtree(store.path / "uns")
    with pytest.raises(CountsError, match="not a store"):
        open_store(store.path)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_changed_byte_is_noticed(store, part):
    """Else a disk's error would become another count."""
    (file,) = (store.path / "X" / part / "c").iterdir()
    content = bytearray(file.read_bytes())
    content[20] ^= 4
    file.write_bytes(content)
    with pytest.raises(CountsError, match="damaged"):
        open_store(store.path)[:]


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_missing_file_is_noticed(store, part):
    """Else zarr would read zeros: cells without counts, and no word of it."""
    shutil.rmtree(store.path / "X" / part / "c")
    with pytest.raises(CountsError, match="damaged"):
        open_store(store.path)[:]
