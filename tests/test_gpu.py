"""What only a GPU can show: that nothing waits, and that its results are those of the CPU."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from nbvae import (
    NBVAE,
    CellTable,
    Covariates,
    Trainer,
    TrainingDivergedError,
    evaluation,
    expression,
    split_cells,
)
from nbvae.data import resident
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.static import static_loss
from nbvae.train import graph
from nbvae.train.device import DeviceEpochs
from nbvae.train.state import TrainingState

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # says that it is new
]
SETTINGS = {"device": "cuda", "progress": False}


@pytest.fixture
def never_recorded(monkeypatch):
    monkeypatch.setattr(graph, "RUNS_BEFORE", 10**9)


@pytest.fixture
def in_pieces(monkeypatch):
    """Let so few cells fit that they come piece by piece."""
    monkeypatch.setattr(resident, "free_memory", lambda _: 0)
    monkeypatch.setattr(resident, "MINIBATCHES_AT_A_TIME", 2)


def model(adata, **arguments):
    torch.manual_seed(0)
    return NBVAE.for_counts(adata, **arguments)


def fit(module, adata, **settings):
    trainer = Trainer(**SETTINGS | settings)
    trainer.fit(module, adata)
    return trainer


def epochs_of(module, adata):
    """Epochs of a module on 665 cells, five minibatches of 128 and one of 25."""
    settings = Trainer(**SETTINGS).settings
    table = CellTable.of(adata, module)
    state = TrainingState(module.to("cuda"), settings, {}, 1)
    return DeviceEpochs(state, table, 665, np.arange(665, 700))


def run_epoch(epochs, seed=0):
    order = np.random.default_rng(seed).permutation(665)
    return epochs.train(order, [(1.0, 1e-3)] * 6, seed)


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------- the step


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_no_step_waits(sample, likelihood, recorded, request):
    """Else the GPU would idle: PyTorch itself refuses each wait here."""
    if not recorded:
        request.getfixturevalue("never_recorded")
    covariates = Covariates.of(sample, "cell_type")
    epochs = epochs_of(model(sample, likelihood=likelihood, covariates=covariates), sample)
    run_epoch(epochs)  # the first one records
    assert (epochs.full_step.graph is not None) is recorded
    strictly(epochs)


def test_cells_that_come_in_pieces_are_not_waited_for(sample, in_pieces):
    """Else the GPU would idle while the next piece is taken together."""
    epochs = epochs_of(model(sample), sample)
    run_epoch(epochs)
    strictly(epochs)


def strictly(epochs):
    order = np.arange(665)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with epochs._on_stream():
            epochs.prepare(order, [(1.0, 1e-3)] * 6, 0)
            epochs.run_steps(order)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert epochs.read_terms().isfinite().all()


def test_a_wait_would_be_noticed():
    """Else the two tests above would prove nothing."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(2, device="cuda").nonzero()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_replayed_step_is_a_step(sample, likelihood, monkeypatch):
    """Else the recording would train something else than what was written."""
    modules, sums = [], []
    for runs_before in (graph.RUNS_BEFORE, 10**9):
        monkeypatch.setattr(graph, "RUNS_BEFORE", runs_before)
        modules.append(model(sample, likelihood=likelihood))
        epochs = epochs_of(modules[-1], sample)
        sums.append([run_epoch(epochs, seed) for seed in range(3)])
    assert torch.equal(torch.stack(sums[0]), torch.stack(sums[1]))
    assert equal(*modules)


def test_pieces_do_not_change_the_result(sample, request):
    """Else cells that do not fit would give another model."""
    modules = []
    for fixture in (None, "in_pieces"):
        if fixture:
            request.getfixturevalue(fixture)
        modules.append(model(sample))
        epochs = epochs_of(modules[-1], sample)
        for seed in range(2):
            run_epoch(epochs, seed)
    assert equal(*modules)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_step_is_that_of_the_cpu(sample, likelihood):
    """Else the GPU would train another model: loss and gradients in float64, to 1e-10."""
    noise = torch.randn(64, 10, dtype=torch.float64)
    x = torch.from_numpy(sample.X[:64].toarray()).double()
    results = []
    for device, loss in (("cpu", NBVAE.__call__), ("cuda", static_loss)):
        module = model(sample, likelihood=likelihood).double().to(device)
        output = loss(module, x.to(device), noise=noise.to(device), kl_weight=0.5)
        output.loss.backward()
        slopes = [w.grad for w in module.parameters()]
        results.append([value.detach().cpu() for value in (*output, *slopes)])
    for ours, expected in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10 * scale)


# ---------------------------------------------------------------- a run


def test_a_run_ends_where_one_on_a_cpu_does(sample):
    """Else a reader with a GPU would get a worse model. The README's example, four seeds."""
    ends = {"cpu": [], "cuda": []}
    for device, found in ends.items():
        for seed in range(4):
            torch.manual_seed(seed)
            module = NBVAE.for_counts(sample)
            trainer = fit(module, sample, device=device, stratify_by="cell_type")
            found.append(trainer.history.held_out_neg_elbo.min())
    print(ends)
    spread = np.std(ends["cpu"], ddof=1)
    assert abs(np.mean(ends["cuda"]) - np.mean(ends["cpu"])) < 3 * spread


def test_a_run_is_repeated_bit_for_bit(sample):
    """Else no result of a GPU could be reproduced."""
    modules = [model(sample) for _ in range(2)]
    histories = [fit(module, sample, max_epochs=5).history for module in modules]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert equal(*modules)


@pytest.mark.parametrize("epochs", [1, 4])
def test_a_resumed_run_ends_with_the_very_weights(sample, tmp_path, monkeypatch, epochs):
    """Else a run on a borrowed GPU could not be trusted after a disconnection."""
    expected, module = model(sample), NBVAE(765)
    settings = {**SETTINGS, "max_epochs": 6}
    history = Trainer(**settings).fit(expected, sample)
    cut_after(epochs, monkeypatch, lambda: fit_to(tmp_path, model(sample), sample, settings))
    again = fit_to(tmp_path, module, sample, settings)
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    assert equal(module, expected)


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_elsewhere(sample, tmp_path, monkeypatch, first, then):
    """Else a run from a GPU could not be finished on a laptop."""
    settings = {**SETTINGS, "max_epochs": 6}
    before = settings | {"device": first}
    cut_after(3, monkeypatch, lambda: fit_to(tmp_path, model(sample), sample, before))
    history = fit_to(tmp_path, model(sample), sample, settings | {"device": then})
    assert len(history) == 6 and history.held_out_neg_elbo.is_monotonic_decreasing


def fit_to(folder, module, adata, settings):
    return Trainer(**settings).fit(module, adata, checkpoint=folder / "run.pt")


def cut_after(epochs, monkeypatch, run):
    """Let training die in the epoch after that, as when the power goes."""
    whole = Trainer._train_epoch

    def dying(self, state, *others):
        if state.epoch == epochs:
            raise SystemExit("power cut")
        return whole(self, state, *others)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_train_epoch", dying)
        run()


def test_divergence_is_noticed(sample):
    """Else NaNs would be handed out; the module keeps finite weights."""
    module = model(sample)
    with pytest.raises(TrainingDivergedError, match=r"In epoch 1, minibatch [23], the .* became"):
        fit(module, sample, learning_rate=1e30, schedule="constant")
    assert all(weights.isfinite().all() for weights in module.parameters())


def test_other_modules_train_on_a_gpu(sample):
    """Else a chapter's own module would stop at a GPU."""

    class Own(NBVAE):
        def loss(self, *arguments, **options):
            return super().loss(*arguments, **options)

    trainer = fit(Own(765), sample, max_epochs=2)
    assert trainer.history.train_neg_elbo.is_monotonic_decreasing


def test_a_loss_that_the_caller_keeps_does_no_harm(sample):
    """Else a notebook that has looked at a loss could not train: its graph is on another stream."""
    module = model(sample).to("cuda")
    kept = module(torch.from_numpy(sample.X[:64].toarray()).cuda())
    fit(module, sample, max_epochs=2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # as on a CPU
        kept.loss.backward()
    other = model(sample)
    fit(other, sample, max_epochs=2)
    assert equal(module, other)


def test_memory_comes_back(sample):
    """Else the second model in a notebook would find no room for its cells."""
    fit(model(sample), sample, max_epochs=3)
    before = torch.cuda.memory_allocated()
    fit(model(sample), sample, max_epochs=3)
    assert torch.cuda.memory_allocated() <= before + 2**20


def test_a_saved_module_is_loaded_without_a_gpu(sample, tmp_path):
    """Else a model from Colab could not be opened on a laptop."""
    module, other = model(sample), NBVAE(765)
    trainer = fit(module, sample, max_epochs=2)
    trainer.save(tmp_path / "model.pt", module)
    Trainer.load(tmp_path / "model.pt", other)
    assert equal(module.to("cpu"), other)


# ---------------------------------------------------------------- what a trained module says


@pytest.fixture
def same_noise(monkeypatch):
    """Let the noise of z be the CPU's, so that the results can be compared number by number."""

    def randn_like(values):
        return torch.randn(values.shape, dtype=values.dtype).to(values.device)

    monkeypatch.setattr(torch, "randn_like", randn_like)


@pytest.fixture
def twins(sample, request):
    """A trained module on the CPU, and the same on the GPU."""
    covariates = Covariates.of(sample, "cell_type") if request.param else None
    module = model(sample, covariates=covariates)
    fit(module, sample, device="cpu", max_epochs=5)
    return module, copy.deepcopy(module).to("cuda")


def groups(adata):
    largest = adata.obs["cell_type"].value_counts().index[:2]
    return [(adata.obs["cell_type"] == name).to_numpy() for name in largest]


FUNCTIONS = {
    "elbo": lambda m, a: evaluation.elbo(m, a, n_samples=2),
    "bound": lambda m, a: evaluation.importance_weighted_bound(m, a, n_samples=5),
    "encode": lambda m, a: np.stack(evaluation.encode(m, a)),
    "denoised": lambda m, a: expression.denoised(m, a, n_samples=3),
    "denoised_all": lambda m, a: expression.denoised(m, a, n_samples=2, covariates="all"),
    "de": lambda m, a: (
        expression.differential_expression(m, a, *groups(a), covariates="own", n_samples=1500)
        .sort_index()[["lfc_mean", "lfc_std", "scale1", "scale2"]]
        .to_numpy()
    ),
}


@pytest.mark.parametrize("twins", [False, True], indirect=True)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_module_says_the_same_on_a_gpu(sample, same_noise, twins, name):
    """Else results would depend on where they were computed, or a function fail on a GPU."""
    expected, found = (np.asarray(FUNCTIONS[name](module, sample)) for module in twins)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_replicates_on_a_gpu_are_alike(sample, likelihood):
    """Else predictive checks would fail there: as many counts, as many zeros."""
    module = model(sample, likelihood=likelihood)
    fit(module, sample, max_epochs=5)
    on_gpu = expression.posterior_predictive(module, sample, n_samples=2)
    on_cpu = expression.posterior_predictive(module.to("cpu"), sample, n_samples=2)
    assert on_gpu.mean() == pytest.approx(on_cpu.mean(), rel=0.02)
    assert (on_gpu == 0).mean() == pytest.approx((on_cpu == 0).mean(), rel=0.01)


def test_the_split_does_not_depend_on_the_device(sample):
    """Else a model from a GPU could not be compared on its held-out cells."""
    trainer = fit(model(sample), sample, max_epochs=1)
    np.testing.assert_array_equal(trainer.held_out_cells, split_cells(sample, 0.1, 0)[1])
