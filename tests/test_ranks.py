"""Two processes train one module: the same steps, one end, and none waits for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import run_on_ranks
import torch

import nbvae
from nbvae import NBVAE, ModelledLibrary, RankError, Trainer, write_store
from nbvae.data.minibatches import CellTable
from nbvae.module.fast import loss_of
from nbvae.train import environment, ranks, shared
from nbvae.train.settings import TrainerSettings
from nbvae.train.shared import SharedEpochs
from nbvae.train.state import TrainingState


class Ranks:
    """Starts ranks, through a process that has imported what they need."""

    def __init__(self):
        path = {"PYTHONPATH": str(Path(nbvae.__file__).parents[1])}  # the package that is tested
        self.server = subprocess.Popen(
            [sys.executable, run_on_ranks.__file__],
            env=os.environ | path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, **order):
        print(json.dumps(order), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def end_of(self, folder, n_ranks, **asked):
        """Run ranks as torchrun would: their exit codes, and what they said of errors."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        told = {"WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        folder.mkdir(exist_ok=True)
        processes = [
            self.order(
                folder=str(folder),
                environment=told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                asked=asked,
            )
            for rank in range(n_ranks)
        ]
        codes = [self.order(ended=process) for process in processes]
        return codes, [(folder / f"{rank}.err").read_text() for rank in range(n_ranks)]

    def result(self, folder, n_ranks, **asked):
        """Run to the end: what each rank ended with."""
        codes, said = self.end_of(folder, n_ranks, **asked)
        assert codes == [0] * n_ranks, said
        return [torch.load(folder / f"{rank}.pt") for rank in range(n_ranks)]


@pytest.fixture(scope="module")
def run():
    ranks = Ranks()
    with ranks.server:
        yield ranks
        ranks.server.stdin.close()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory):
    """What one process ends with, in doubles."""
    return run.result(tmp_path_factory.mktemp("alone"), 1, doubles=True)[0]


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    """What two processes end with."""
    return run.result(tmp_path_factory.mktemp("undisturbed"), 2)


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_more_ranks_end_where_one_does(run, alone, tmp_path, n_ranks):
    """Else a result would depend on the machine: 4 epochs, uneven parts, float64."""
    together = run.result(tmp_path / "together", n_ranks, doubles=True)
    for one in together:
        assert same(one["weights"], together[0]["weights"])
        for name, weights in alone["weights"].items():
            torch.testing.assert_close(one["weights"][name], weights, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(one["history"], alone["history"], rtol=1e-9)


@pytest.mark.slow
def test_ranks_read_one_store(run, tmp_path):
    """Else a store would need one process."""
    store = str(write_store(tmp_path / "cells.zarr", run_on_ranks.cells()).path)
    asked = {"store": store, "doubles": True}
    one, *two = [*run.result(tmp_path / "1", 1, **asked), *run.result(tmp_path / "2", 2, **asked)]
    for name, weights in one["weights"].items():
        for other in two:
            torch.testing.assert_close(other["weights"][name], weights, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_ends_the_others_and_a_new_start_ends_the_same(
    run, undisturbed, tmp_path, killed
):
    """Else hours would be lost with one machine, or the others would wait for it for ever."""
    checkpoint = str(tmp_path / "run.pt")
    codes, said = run.end_of(tmp_path / "first", 2, is_killed=killed, checkpoint=checkpoint)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] > 0
    assert "Another process of this run has ended" in said[1 - killed]
    again = run.result(tmp_path / "again", 2, checkpoint=checkpoint)
    for one in again:
        assert same(one["weights"], undisturbed[0]["weights"])
        assert one["history"] == undisturbed[0]["history"]


@pytest.mark.slow
@pytest.mark.parametrize("fails", [0, 1])
def test_an_error_of_one_rank_ends_all(run, tmp_path, fails):
    """Else the others would wait for one that has given up."""
    codes, said = run.end_of(tmp_path / "run", 2, fails=fails)
    assert min(codes) > 0
    assert "OSError: the disk of this machine is gone" in said[fails]
    assert "RankError: Another process of this run has ended" in said[1 - fails]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_is_said_by_all(run, tmp_path):
    """Else one rank would stop and the other add up NaN."""
    codes, said = run.end_of(tmp_path / "run", 2, breaks=1)
    assert min(codes) > 0
    for words in said:
        assert "TrainingDivergedError: In epoch 3, minibatch 1, the reconstruction became" in words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"other_cells_on": 1}, "differ in counts"),
        ({"other_counts_on": 1}, "differ in counts"),
        ({"settings_on": {"1": {"learning_rate": 0.02}}}, "differ in settings"),
    ],
    ids=["fewer cells", "another count", "another rate"],
)
def test_ranks_that_do_not_train_the_same_are_told(run, tmp_path, asked, words):
    """Else two data sets would be trained on as one, or two models end as one of them."""
    codes, said = run.end_of(tmp_path / "run", 2, **asked)
    assert min(codes) > 0
    assert all(words in said_by_one for said_by_one in said)


@pytest.mark.slow
def test_ctrl_c_between_epochs_ends_all(run, tmp_path):
    """Else one rank would return a model, and the others wait for minutes."""
    codes, said = run.end_of(tmp_path / "run", 2, interrupted=0)
    assert min(codes) > 0
    assert "RankError: Interrupted. Started again" in said[0]
    assert "RankError: Another process of this run has ended" in said[1]


@pytest.mark.slow
def test_only_the_first_rank_writes_and_where_it_can_not_all_are_told(run, tmp_path):
    """Else a folder that one machine lacks would end a run that does not need it there."""
    there, missing = str(tmp_path / "run.pt"), str(tmp_path / "none" / "run.pt")
    run.result(tmp_path / "one", 2, checkpoints={"0": there, "1": missing})
    assert Path(there).exists()
    codes, said = run.end_of(tmp_path / "other", 2, checkpoints={"0": missing, "1": there})
    assert min(codes) > 0
    assert "make it first" in said[0] and "Another process of this run has ended" in said[1]


@pytest.mark.slow
def test_all_ranks_stop_early_together(run, tmp_path):
    """Else one would wait in an epoch that the others leave out."""
    settings = {"max_epochs": 40, "patience": 2, "learning_rate": 0.1, "schedule": "constant"}
    one, other = run.result(tmp_path / "run", 2, settings=settings)
    assert one["stopped"] == other["stopped"] == "patience"
    assert len(one["history"]) == len(other["history"]) < 40


# ---------------------------------------------------------------- without other processes


class Together:
    """Ranks in one process: each computes its part in turn; ``sum_over_ranks`` notes it."""

    def __init__(self, n_ranks, monkeypatch):
        self.n_ranks, self.noted = n_ranks, []
        monkeypatch.setattr(ranks, "size", lambda: n_ranks)
        monkeypatch.setattr(ranks, "sum_over_ranks", lambda v: self.noted.append(v.clone()))
        self.monkeypatch = monkeypatch

    def gradients(self, adata, batch, make):
        """The sum over ranks of what each adds for one minibatch."""
        for rank in range(self.n_ranks):
            self.monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
            module = make()
            settings = TrainerSettings(device="cpu")
            table = CellTable.of(adata)
            state = TrainingState(module, settings, {}, 1)
            torch.manual_seed(5)
            epochs = SharedEpochs(state, module, table, np.arange(3))
            (minibatch,) = table.minibatches(np.arange(batch), batch)
            epochs._step(minibatch, 0, 0.7, 0.0)
        return torch.stack(self.noted).sum(dim=0)


def model():
    torch.manual_seed(0)
    return NBVAE(12, 2, n_hidden=16).double()


def with_library():
    torch.manual_seed(0)
    return ModelledLibrary(12, 2, n_hidden=16).double()


@pytest.mark.parametrize("make", [model, with_library])
@pytest.mark.parametrize("n_ranks", [2, 3, 8])
@pytest.mark.parametrize("batch", [1, 5, 16, 53])
def test_the_parts_add_up_to_the_gradient_of_the_whole(small, monkeypatch, n_ranks, batch, make):
    """Else more ranks would be another algorithm. Also where a rank has no cell at all."""
    added = Together(n_ranks, monkeypatch).gradients(small, batch, make)
    module = make()
    (minibatch,) = CellTable.of(small).minibatches(np.arange(batch), batch)
    torch.manual_seed(5)
    output = loss_of(module, minibatch, kl_weight=0.7)  # draws its noise itself
    output.loss.backward()
    terms = [output.reconstruction.sum(), output.kl.sum()]
    whole = torch.cat([*(w.grad.flatten() for w in module.parameters()), torch.stack(terms)])
    torch.testing.assert_close(added, whole, rtol=1e-12, atol=1e-12)


def test_weights_that_are_frozen_get_no_gradient(small, monkeypatch):
    """Else a prior of θ would move what shall stay, on several ranks only."""

    def frozen():
        module = model()
        module.log_theta.requires_grad_(False)
        return module

    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 0)
    monkeypatch.setattr(ranks, "sum_over_ranks", lambda _: None)
    module = frozen()
    state = TrainingState(module, TrainerSettings(device="cpu", theta_prior=0.5), {}, 9)
    before = module.log_theta.clone()
    table = CellTable.of(small)
    (minibatch,) = table.minibatches(np.arange(9), 9)
    SharedEpochs(state, module, table, np.arange(3))._step(minibatch, 0, 1.0, 0.1)
    assert torch.equal(module.log_theta, before)


def test_ranks_compare_all_that_a_run_is_made_of(told, monkeypatch):
    """Else what differs, a count or a learning rate, would be trained on without a word."""
    compared = {}
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 0)
    monkeypatch.setattr(ranks, "join", lambda device: device)
    monkeypatch.setattr(ranks, "agree", compared.__setitem__)
    monkeypatch.setattr(ranks, "sum_over_ranks", lambda _: None)

    def what_is_compared(adata, **settings):
        compared.clear()
        keys = {"covariates": ["run"], "size_factor_key": "depth"}
        module = NBVAE.for_counts(told, 2, n_hidden=16, seed=0, **keys)
        arguments = {"max_epochs": 1, "stratify_by": "group", "device": "cpu"} | settings
        Trainer(**arguments).fit(module, adata)
        return dict(compared)

    expected = what_is_compared(told)
    changed = told.copy()
    changed.X.data[0] += 1
    assert differing(expected, what_is_compared(changed)) == {"counts"}
    assert differing(expected, what_is_compared(told, learning_rate=0.02)) == {"settings"}
    assert differing(expected, what_is_compared(told, threads=2)) == set()
    for column, part in {"run": "covariates", "depth": "library"}.items():
        changed = told.copy()
        changed.obs[column] = told.obs[column].to_numpy()[::-1]
        assert differing(expected, what_is_compared(changed)) == {part}
    changed.obs = told.obs.assign(group=told.obs["group"].to_numpy()[::-1])
    assert {"labels"} <= differing(expected, what_is_compared(changed))


def differing(one, other):
    return {what for what in one if one[what] != other[what]}


def test_the_score_of_the_first_rank_decides_for_all(small, monkeypatch):
    """Else processors that round otherwise could stop in different epochs, and wait."""
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    of_first = torch.tensor([30.0, 28.0, 2.0], dtype=torch.float64)
    monkeypatch.setattr(ranks, "sum_over_ranks", lambda values: values.add_(of_first))
    module = model()
    state = TrainingState(module, TrainerSettings(device="cpu"), {}, 1)
    epochs = SharedEpochs(state, module, CellTable.of(small), np.arange(3))
    assert epochs.evaluate() == (30.0, 28.0, 2.0)


def test_more_processes_than_gpus_are_told(monkeypatch):
    """Else CUDA would say that an ordinal is invalid."""
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "local_rank", lambda: 1)
    monkeypatch.setattr(environment, "_devices", lambda: ["cpu", "cuda", "cuda:0"])
    with pytest.raises(ValueError, match="as many processes as there are GPUs"):
        environment.pick_device("auto")


def test_those_who_do_not_come_are_told_of(monkeypatch):
    """Else an error of PyTorch's would name a port."""
    monkeypatch.setattr(ranks, "size", lambda: 2)

    def nobody(*_, **__):
        raise RuntimeError("connect() timed out")

    monkeypatch.setattr(ranks.dist, "init_process_group", nobody)
    with pytest.raises(RankError, match="2 processes of this run did not meet within 5 minutes"):
        ranks.join(torch.device("cpu"))


def test_a_process_that_nobody_started_with_others_is_alone(monkeypatch):
    """Else a leftover word in the environment would make it wait for others."""
    for name in ranks.TOLD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (ranks.size(), ranks.rank(), ranks.first()) == (1, 0, True)


def test_another_module_is_refused(small, monkeypatch):
    """Else its noise would be another one on each rank."""
    monkeypatch.setattr(ranks, "size", lambda: 2)
    module = torch.nn.Linear(2, 2)
    state = TrainingState(module, TrainerSettings(), {}, 1)
    with pytest.raises(TypeError, match="not Linear"):
        shared.epochs_on_ranks(state, CellTable.of(small), np.arange(3), np.arange(3))


def test_ctrl_c_on_one_rank_is_an_error(small, monkeypatch):
    """Else one would return a model, and the others wait for it."""
    monkeypatch.setattr(ranks, "size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    monkeypatch.setattr(ranks, "join", lambda device: device)
    monkeypatch.setattr(ranks, "start_alike", lambda *_: None)
    monkeypatch.setattr(ranks, "agree", lambda *_: None)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ranks, "sum_over_ranks", interrupted)
    with pytest.raises(RankError, match=r"Interrupted\. Started again"):
        Trainer(max_epochs=2, device="cpu").fit(NBVAE(12, 2), small)
