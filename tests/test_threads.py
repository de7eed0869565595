"""The number of threads: chosen for a step, the caller's own comes back, and the reader's word."""

import numpy as np
import pytest
import torch

from nbvae import NBVAE, CellTable, Trainer, evaluation, expression, use_threads
from nbvae.threads import processors

QUICK = {"max_epochs": 2, "batch_size": 16, "device": "cpu"}


@pytest.fixture(params=[1, 3])
def callers(request):
    """What somebody else has set PyTorch to, as scanpy's first parallel step does."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Watched(NBVAE):
    """Notes with how many threads it is computed."""

    def __init__(self, *args, stop=None, **options):
        super().__init__(*args, **options)
        self.seen, self.stop = set(), stop

    def inference(self, *args, **options):
        self.seen.add(torch.get_num_threads())
        if self.stop is not None and self.training:
            raise self.stop
        return super().inference(*args, **options)


def watched(**options):
    torch.manual_seed(0)
    return Watched(12, 2, n_hidden=16, **options)


CALLS = {
    "fit": lambda m, a: Trainer(**QUICK).fit(m, a),
    "elbo": evaluation.elbo,
    "elbo of a table": lambda m, a: evaluation.elbo(m, CellTable.of(a, m)),
    "importance_weighted_bound": lambda m, a: evaluation.importance_weighted_bound(
        m, a, n_samples=2
    ),
    "encode": evaluation.encode,
    "add_latent": evaluation.add_latent,
    "denoised": lambda m, a: expression.denoised(m, a, n_samples=1),
    "posterior_predictive": expression.posterior_predictive,
    "differential_expression": lambda m, a: expression.differential_expression(
        m, a, np.arange(20), np.arange(20, 53), n_samples=20
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_each_function_computes_with_one_thread(small, callers, call):
    """Else its time would depend on who set the number before, and on who else computes."""
    module = watched()
    call(module, small)
    assert module.seen == {1}
    assert torch.get_num_threads() == callers


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_block_around_it_decides(small, call):
    """Else a reader with a large module and an idle machine could not have more."""
    module, before = watched(), torch.get_num_threads()
    torch.set_num_threads(3)  # more than this machine may have: the block may ask for as many
    try:
        with use_threads(2):
            call(module, small)
            assert torch.get_num_threads() == 2
        assert module.seen == {2}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_setting_decides_for_training_and_its_evaluation(small, callers):
    """Else half of the run would be computed otherwise."""
    module = watched()
    threads = max(1, callers - 1)
    Trainer(**QUICK, threads=threads).fit(module, small)
    assert module.seen == {threads}
    assert torch.get_num_threads() == callers


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), ValueError("broken"), SystemExit()])
def test_the_callers_number_comes_back_whatever_happens(small, callers, stop):
    """Else Ctrl-C would leave the rest of a notebook with one thread."""
    try:
        Trainer(**QUICK).fit(watched(stop=stop), small)
    except (ValueError, SystemExit) as error:
        assert error is stop
    assert torch.get_num_threads() == callers
    with use_threads():  # and the next one is not taken for one inside
        assert torch.get_num_threads() == 1


def test_weights_do_not_depend_on_who_set_the_number_before(sample):
    """Else the same script would give other bits after a step of scanpy."""
    before, runs = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            module = NBVAE.for_counts(sample, n_hidden=16, seed=0)
            Trainer(max_epochs=1, device="cpu").fit(module, sample)
            runs.append([*module.state_dict().values(), evaluation.encode(module, sample).mean])
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        for value, other in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(value, other)


def test_more_threads_than_processors_are_refused_before_anything_happens(small):
    """Else they would wait for each other, which is what the setting is there to prevent."""
    too_many = max(processors(), torch.get_num_threads()) + 1
    trainer = Trainer(**QUICK, threads=too_many)
    with pytest.raises(ValueError, match=f"threads={too_many}, but this machine has"):
        trainer.fit(watched(), small)
    assert trainer.history is None


@pytest.mark.parametrize("block", [1, 2])
def test_k_means_computes_with_as_many(monkeypatch, block):
    """Else scikit-learn's threads would wait for each other: 33 s instead of 2 on the sample."""
    from sklearn import cluster
    from threadpoolctl import threadpool_info

    seen = []

    class Watching(cluster.KMeans):
        def fit_predict(self, *args, **options):
            seen.extend(pool["num_threads"] for pool in threadpool_info())
            return super().fit_predict(*args, **options)

    monkeypatch.setattr(cluster, "KMeans", Watching)
    points = np.random.default_rng(0).normal(size=(40, 3))
    with use_threads(block):
        evaluation.cluster_agreement(points, np.arange(40) % 3, n_clusters=3)
    assert set(seen) <= {1, block} and block in seen
