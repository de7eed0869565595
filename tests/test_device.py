"""Epochs on a device, here on the CPU: the cells that it is told, and the results of the loop."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from nbvae import NBVAE, CellTable, Covariates, Trainer, TrainingDivergedError
from nbvae.data import resident
from nbvae.data.resident import CellSupply, ResidentCells, count_type, n_bytes
from nbvae.evaluation import elbo
from nbvae.train import device
from nbvae.train.device import DeviceEpochs
from nbvae.train.state import TrainingState
from tests.test_static import Strict

CPU = torch.device("cpu")
MOST_OPERATORS = 235  # of a whole step with the gathering, views apart
SETTINGS = {"max_epochs": 4, "batch_size": 13, "device": "cpu", "progress": False}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let the CPU run the epochs that a GPU does; what is recorded there is just called here."""
    monkeypatch.setattr(device, "DEVICES", ("cpu",))


@pytest.fixture
def in_pieces(monkeypatch):
    """Let two minibatches at a time fit."""
    monkeypatch.setattr(resident, "free_memory", lambda _: 0)
    monkeypatch.setattr(resident, "MINIBATCHES_AT_A_TIME", 2)


@pytest.fixture
def in_doubles(monkeypatch):
    """Let all numbers be doubles, and the noise of z what the loop draws for each minibatch."""
    of = CellTable.of.__func__

    def doubles(cls, *arguments, **options):
        table = of(cls, *arguments, **options)
        others = {
            name: None if values is None else values.astype(float)
            for name, values in (("design", table.design), ("size_factors", table.size_factors))
        }
        return table._replace(counts=table.counts.astype(float), **others)

    def draw_noise(self, seed):
        torch.manual_seed(seed)
        for noise in self.noise.split(self.batch_size):
            noise.copy_(torch.randn(noise.shape, dtype=torch.float64))

    monkeypatch.setattr(CellTable, "of", classmethod(doubles))
    monkeypatch.setattr(DeviceEpochs, "draw_noise", draw_noise)


def model(**arguments):
    torch.manual_seed(0)
    return NBVAE(12, 2, n_hidden=16, **arguments)


def fit(adata, module, **settings):
    trainer = Trainer(**SETTINGS | settings)
    return trainer, trainer.fit(module, adata)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


def random_table(largest, *, n_cells=50, n_genes=40, with_design=False):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, largest + 1, (n_cells, n_genes)) * (rng.random((n_cells, 1)) < 0.5)
    counts *= rng.random((n_cells, n_genes)) < rng.random((n_cells, 1))
    counts[0], counts[1] = 0, largest  # nothing and everything
    design = rng.random((n_cells, 3)).astype(np.float32) if with_design else None
    sizes = rng.random((n_cells, 1)).astype(np.float32) if with_design else None
    return CellTable(sparse.csr_matrix(counts.astype(np.float32)), design, size_factors=sizes)


# ---------------------------------------------------------------- cells on a device


@pytest.mark.parametrize("largest", [1, 255, 256, 32767, 32768, 2**24 - 1])
def test_gathered_cells_are_those_of_scipy(largest):
    """Else a GPU would train on other counts; cells without and with all counts, repeats."""
    table = random_table(largest)
    cells = ResidentCells(table, table.n_cells, CPU)
    cells.load(table)
    for rows in ([0], [1, 0, 1, 49], list(range(50)), [49, 48]):
        x, covariates, sizes = cells.minibatch(torch.tensor(rows))
        np.testing.assert_array_equal(x.numpy(), table.counts[rows].toarray())
        assert covariates is sizes is None and x.dtype == torch.float32 and x.is_contiguous()


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(255, torch.uint8), (256, torch.int16), (32767, torch.int16), (32768, torch.int32)],
)
def test_counts_take_the_least_memory(largest, expected):
    """Else half as many cells would fit, or counts would wrap around."""
    table = random_table(largest)
    assert count_type(table) == expected
    cells = ResidentCells(table, table.n_cells, CPU)
    whole = sum(t.nbytes for t in (cells.starts, cells.lengths, cells.genes, cells.counts))
    assert n_bytes(table) == whole - len(cells.within) * (4 + expected.itemsize)


@pytest.mark.parametrize("with_design", [False, True])
@pytest.mark.parametrize("order", [np.arange(50)[::-1].copy(), np.arange(3), np.arange(26)])
def test_a_supply_in_pieces_brings_the_same_cells(in_pieces, order, with_design):
    """Else data that do not fit would be trained on in another order, or in part."""
    table = random_table(9, with_design=with_design)
    supply = CellSupply(table, 13, CPU)
    assert not supply.all_there and supply.n_cells == 26
    rows, found, sizes = torch.from_numpy(supply.rows(order)), [], []
    for piece in supply.pieces(order):
        x, covariates, factors = supply.cells.minibatch(rows[piece.start : piece.stop])
        found.append(x)
        sizes.append(len(piece))
        if with_design:
            some = order[piece.start : piece.stop]
            np.testing.assert_array_equal(covariates.numpy(), table.design[some])
            np.testing.assert_array_equal(factors.numpy(), table.size_factors[some])
    np.testing.assert_array_equal(torch.cat(found).numpy(), table.counts[order].toarray())
    assert all(size % 13 == 0 for size in sizes[:-1])


def test_a_longer_piece_leaves_nothing_behind(in_pieces):
    """Else the counts of an earlier piece would come back in a cell of a later one."""
    table = random_table(9)
    supply = CellSupply(table, 13, CPU)
    by_length = np.argsort(np.diff(table.counts.indptr))[::-1].copy()  # the longest first
    for piece in supply.pieces(by_length):
        x, _, _ = supply.cells.minibatch(torch.arange(len(piece)))
    expected = table.counts[by_length[piece.start : piece.stop]].toarray()
    np.testing.assert_array_equal(x.numpy(), expected)


def test_gathering_never_waits():
    """Else each minibatch would hold up the device. "meta" is a device without memory."""
    table = random_table(9, with_design=True)
    cells = ResidentCells(table, table.n_cells, torch.device("meta"))
    rows = torch.zeros(13, dtype=torch.int64, device="meta")
    with Strict():
        x, covariates, sizes = cells.minibatch(rows)
    assert x.shape == (13, 40) and covariates.shape == (13, 3) and sizes.shape == (13, 1)


# ---------------------------------------------------------------- epochs


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zinb"])
@pytest.mark.parametrize("size_factor_key", [None, "depth"])
@pytest.mark.parametrize("keys", [(), ("group",), ("run", "percent_mito", "group")], ids=len)
def test_it_trains_as_the_loop_does(
    told, request, in_doubles, likelihood, keys, size_factor_key, pieces
):
    """Else a GPU would end with another model than a CPU. Same order and noise, float64, 1e-10."""
    arguments = {"likelihood": likelihood, "size_factor_key": size_factor_key}
    if keys:
        arguments |= {"covariates": Covariates.of(told, *keys), "encode_covariates": True}
    settings = {"kl_warmup_epochs": 2, "max_epochs": 3}
    expected = model(**arguments).double()
    _, history = fit(told, expected, **settings)
    request.getfixturevalue("as_on_a_gpu")
    if pieces:
        request.getfixturevalue("in_pieces")
    module = model(**arguments).double()
    _, ours = fit(told, module, **settings)
    pd.testing.assert_frame_equal(ours, history, rtol=1e-10)
    for name, weights in expected.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], weights, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("holdout_fraction", [0, 0.1])
@pytest.mark.parametrize("batch_size", [1, 16, 48, 1000])
def test_any_size_of_minibatch(small, as_on_a_gpu, batch_size, holdout_fraction):
    """Else a set that fills no minibatch, or has no smaller last one, would fail."""
    settings = {"batch_size": batch_size, "holdout_fraction": holdout_fraction}
    _, history = fit(small, model(), **settings)
    assert len(history) == 4 and history.train_neg_elbo.notna().all()
    assert history.held_out_neg_elbo.notna().all() == (holdout_fraction > 0)


def test_held_out_cells_are_evaluated_as_elbo_does(small, as_on_a_gpu):
    """Else the history of a run on a GPU could not be compared with anything."""
    module = model()
    trainer, history = fit(small, module, seed=3)
    last = elbo(module, small, indices=trainer.held_out_cells, seed=3)
    row = history.loc[trainer.best_epoch]
    assert row.held_out_neg_elbo == pytest.approx(last.neg_elbo, rel=1e-6)
    assert row.held_out_kl == pytest.approx(last.kl, rel=1e-5)


def test_a_run_is_repeated_bit_for_bit_and_leaves_random_numbers_alone(small, as_on_a_gpu):
    """Else no result of a GPU could be reproduced."""
    state = torch.get_rng_state()
    modules = [NBVAE.for_counts(small, 2) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    state = torch.get_rng_state()
    histories = [fit(small, module)[1] for module in modules]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert same(*modules) and torch.equal(torch.get_rng_state(), state)


def test_other_seeds_and_epochs_have_other_noise(small, as_on_a_gpu, monkeypatch):
    """Else z would be drawn alike in each epoch."""
    seen, drawn = [], DeviceEpochs.draw_noise

    def draw_noise(self, seed):
        drawn(self, seed)
        seen.append(self.noise.clone())

    monkeypatch.setattr(DeviceEpochs, "draw_noise", draw_noise)
    for seed in (0, 1):
        fit(small, model(), seed=seed)
    assert len(seen) == 8
    assert all(not torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])
    assert abs(torch.stack(seen).std() - 1) < 0.1


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_resumed_run_ends_with_the_very_weights(
    small, tmp_path, as_on_a_gpu, monkeypatch, epochs
):
    """Else a run on a borrowed GPU could not be trusted after a disconnection."""
    expected, module = model(), model()
    _, history = fit(small, expected)
    whole = Trainer._train_epoch

    def dying(self, run, *others):
        if run.epoch == epochs:
            raise SystemExit("power cut")
        return whole(self, run, *others)

    path = tmp_path / "run.pt"
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_train_epoch", dying)
        Trainer(**SETTINGS).fit(module, small, checkpoint=path)
    resumed = NBVAE(12, 2, n_hidden=16)
    again = Trainer(**SETTINGS).fit(resumed, small, checkpoint=path)
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    assert same(resumed, expected)


def test_a_run_may_go_on_without_a_gpu(small, tmp_path, monkeypatch, request):
    """Else a rate or a counter left on the device would break the CPU's optimizer."""
    path = tmp_path / "run.pt"
    whole = DeviceEpochs.train

    def dying(self, *arguments):
        if self.state.epoch == 2:
            raise SystemExit("power cut")
        return whole(self, *arguments)

    monkeypatch.setattr(DeviceEpochs, "train", dying)
    request.getfixturevalue("as_on_a_gpu")
    with pytest.raises(SystemExit):
        Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    monkeypatch.setattr(device, "DEVICES", ())
    assert len(Trainer(**SETTINGS).fit(model(), small, checkpoint=path)) == 4


def test_patience_and_interrupts(small, as_on_a_gpu, monkeypatch):
    """Else a GPU would train to the end whatever happens, or lose the best weights."""
    trainer, history = fit(small, model(), learning_rate=0.5, patience=1, max_epochs=50)
    assert trainer.stopped == "patience" and len(history) < 50
    assert history.held_out_neg_elbo.idxmin() == trainer.best_epoch
    step = DeviceEpochs._step

    def ctrl_c(self, n_cells):
        if self.state.epoch == 2:
            raise KeyboardInterrupt
        step(self, n_cells)

    monkeypatch.setattr(DeviceEpochs, "_step", ctrl_c)
    module = model()
    trainer, history = fit(small, module)
    assert trainer.stopped == "interrupted" and len(history) == 2
    found = elbo(module, small, indices=trainer.held_out_cells).neg_elbo
    assert found == pytest.approx(history.held_out_neg_elbo.min(), rel=1e-6)


@pytest.mark.parametrize("culprit", ["log_theta", "mean_encoder.layers.2.bias"])
@pytest.mark.parametrize("at", [0, 2, 5])
def test_divergence_names_the_same_minibatch_as_the_loop(small, monkeypatch, culprit, at):
    """Else all that a GPU could say is that an epoch went wrong."""

    def message(devices):
        monkeypatch.setattr(device, "DEVICES", devices)
        update, steps = TrainingState.update_weights, []

        def spoil(self, rate):
            update(self, rate)
            if len(steps) == at:
                dict(self.module.named_parameters())[culprit].data.fill_(torch.nan)
            steps.append(rate)

        with monkeypatch.context() as patch, pytest.raises(TrainingDivergedError) as caught:
            patch.setattr(TrainingState, "update_weights", spoil)
            fit(small, module := model(), max_epochs=2)
        assert all(weights.isfinite().all() for weights in module.parameters())
        return str(caught.value)

    assert message(("cpu",)) == message(())


def test_a_last_update_that_goes_wrong_is_noticed(small, as_on_a_gpu, monkeypatch):
    """Else NaNs would become the best weights: no step after it could show them."""
    update = TrainingState.update_weights

    def spoil(self, rate):
        update(self, rate)
        self.module.log_theta.data[3] = torch.inf

    monkeypatch.setattr(TrainingState, "update_weights", spoil)
    with pytest.raises(TrainingDivergedError, match="minibatch 1, the weights became"):
        fit(small, model(), batch_size=1000)


def test_a_step_is_few_operators_and_none_that_waits(small, as_on_a_gpu, monkeypatch):
    """Else a GPU would idle between them; Adam, which waits on a CPU alone, is left out."""
    module = model()
    state = TrainingState(module, Trainer(**SETTINGS).settings, {}, 1)
    epochs = DeviceEpochs(state, CellTable.of(small), 52, np.arange(52, 53))
    monkeypatch.setattr(state, "update_weights", lambda rate: None)
    epochs.prepare(np.arange(52), [(1.0, 0.01)] * 4, 0)
    with Strict() as strict:
        epochs.run_steps(np.arange(52))
    assert epochs.steps_done.item() == 4
    print(strict.n_operators / 4)
    assert strict.n_operators / 4 <= MOST_OPERATORS


def test_other_modules_take_the_loop(small, as_on_a_gpu, monkeypatch):
    """Else a module that the package does not know would be trained as an NBVAE, or not at all."""

    class Own(NBVAE):
        def loss(self, *arguments, **options):
            return super().loss(*arguments, **options)

    monkeypatch.setattr(DeviceEpochs, "train", None)
    fit(small, Own(12, 2))
