"""Training: split, warm-up, early stopping, interruption, divergence, saving and loading."""

import inspect
import io
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from nbvae import NBVAE, CheckpointError, Trainer, TrainingDivergedError
from nbvae.data.counts import CountsError
from nbvae.data.split import split_cells
from nbvae.evaluation import elbo
from nbvae.train.environment import pick_device
from nbvae.train.settings import TrainerSettings

HISTORY_COLUMNS = [
    "kl_weight",
    "train_neg_elbo",
    "train_reconstruction",
    "train_kl",
    "held_out_neg_elbo",
    "held_out_reconstruction",
    "held_out_kl",
]


def trainer(**settings):
    """Short runs on the CPU; each test names what it is about."""
    quick = {"max_epochs": 3, "batch_size": 16, "kl_warmup_epochs": 2, "device": "cpu"}
    quick |= {"schedule": "constant"}
    if settings.get("holdout_fraction") != 0:
        quick |= {"patience": 20}
    return Trainer(**quick | settings)


def model(seed=0):
    torch.manual_seed(seed)
    return NBVAE(12, 2, n_hidden=16)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_weights(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


class Output(NamedTuple):
    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class Poisson(nn.Module):
    """One Poisson mean a gene and no latent state: all that the trainer may know of a module.

    It keeps a record of each call, and what ``misbehave(output, call)`` does to the training calls.
    """

    def __init__(self, misbehave=None):
        super().__init__()
        self.log_mean = nn.Parameter(torch.zeros(12))
        self.misbehave = misbehave
        self.training_calls, self.evaluation_calls, self.kl_weights = [], [], []

    def forward(self, x, *, kl_weight=1.0):
        (self.training_calls if self.training else self.evaluation_calls).append(x)
        reconstruction = nn.functional.poisson_nll_loss(
            self.log_mean.expand_as(x), x, full=True, reduction="none"
        ).sum(dim=1)
        kl = 0.01 * self.log_mean.square().sum().expand(len(x))
        output = Output((reconstruction + kl_weight * kl).mean(), reconstruction, kl)
        if not self.training:
            return output
        self.kl_weights.append(kl_weight)
        return self.misbehave(output, len(self.training_calls)) if self.misbehave else output


def interrupt_at(call):
    def misbehave(output, this_call):
        if this_call == call:
            raise KeyboardInterrupt
        return output

    return misbehave


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_epochs", 0, "at least 1"),
        ("max_epochs", 2.5, "whole number"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", "128", "whole number"),
        ("kl_warmup_epochs", -1, "at least 0"),
        ("patience", 0, "at least 1"),
        ("patience", 1.5, "whole number"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", -1e-3, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("holdout_fraction", -0.1, "at least 0 and below 1"),
        ("holdout_fraction", 1, "at least 0 and below 1"),
        ("holdout_fraction", float("nan"), "at least 0 and below 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(name, value, words):
    """Else a slip would show up as a crash or as bad results, an hour later."""
    with pytest.raises(ValueError, match=words) as caught:
        Trainer(**{name: value})
    assert name in str(caught.value)
    assert repr(value).strip("'") in str(caught.value)


def test_a_warm_up_longer_than_the_run_is_refused():
    """Else training would end before the loss is the ELBO, and no weights would be the best."""
    words = r"kl_warmup_epochs \(10\) is more than max_epochs \(5\)"
    with pytest.raises(ValueError, match=words):
        Trainer(max_epochs=5, kl_warmup_epochs=10)
    assert Trainer(max_epochs=5, kl_warmup_epochs=5).settings.kl_warmup_epochs == 5
    with pytest.raises(ValueError, match=r"kl_warmup_epochs \(11\) is more than max_epochs \(10\)"):
        Trainer(kl_warmup_epochs=11).settings.epochs_for(100_000)


def test_an_unknown_setting_is_refused():
    """Else `lr=1e-3` would be ignored."""
    with pytest.raises(TypeError, match="lr"):
        Trainer(lr=1e-3)


def test_settings_are_frozen():
    """Else settings could change after they were checked."""
    with pytest.raises(AttributeError):
        Trainer().settings.max_epochs = 0


@pytest.mark.parametrize(("n_cells", "epochs"), [(1, 300), (630, 60), (2430, 16), (61721, 10)])
def test_default_number_of_epochs(n_cells, epochs):
    """Else small data would get too few steps, or large data too many: 300, but 10 epochs."""
    assert TrainerSettings().epochs_for(n_cells) == epochs


def test_one_cycle_rises_in_a_line_and_falls_as_a_cosine():
    """Else training would start with steps that are too long, or end before it settles."""
    rate = TrainerSettings(learning_rate=0.4).learning_rate_at
    assert [rate(share) for share in (0, 0.025, 0.05)] == pytest.approx([0, 0.2, 0.4])
    falling = [0.05 + 0.95 * share for share in (1 / 3, 1 / 2, 2 / 3, 1)]
    assert [rate(share) for share in falling] == pytest.approx([0.3, 0.2, 0.1, 0])
    constant = TrainerSettings(learning_rate=0.4, schedule="constant").learning_rate_at
    assert {constant(share) for share in (0, 0.3, 1)} == {0.4}


def test_limits_are_allowed():
    """Else the checks would refuse what they promise to accept."""
    settings = {"max_epochs": 1, "batch_size": 1, "kl_warmup_epochs": 0, "patience": None}
    assert Trainer(**settings, holdout_fraction=0).settings.patience is None
    assert Trainer(patience=1).settings.patience == 1


# ---------------------------------------------------------------- the split


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("stratify_by", [None, "group"])
def test_the_split_is_complete_disjoint_and_of_the_right_size(small, fraction, stratify_by):
    """Else cells would be lost, or counted as held out and trained on."""
    train, held_out = split_cells(small, fraction, 0, stratify_by)
    assert len(held_out) == int(np.floor(fraction * 53 + 0.5))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(53))
    assert (np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.77])
@pytest.mark.parametrize("seed", range(5))
def test_each_group_gives_its_share_up_to_one_cell(small, fraction, seed):
    """Else a small group could be held out whole, or not at all."""
    _, held_out = split_cells(small, fraction, seed, "group")
    for group, size in small.obs["group"].value_counts().items():
        share = (small.obs["group"].iloc[held_out] == group).sum()
        assert abs(share - fraction * size) <= 1, group


def test_a_small_group_is_rounded_fairly(sample):
    """Else, as once, none of eight naive T cells is held out and two of sixteen others are."""
    for seed in range(5):
        _, held_out = split_cells(sample, 0.1, seed, "cell_type")
        for cell_type, size in sample.obs["cell_type"].value_counts().items():
            given = (sample.obs["cell_type"].iloc[held_out] == cell_type).sum()
            assert given in (np.floor(0.1 * size), np.ceil(0.1 * size)), cell_type
            assert given > 0 or size < 5, cell_type
        assert len(held_out) == 70


def test_equal_remainders_are_not_decided_by_name(small):
    """Else, of many groups of one size, those late in the alphabet would never be held out."""
    pairs = small[:52].copy()
    pairs.obs["pair"] = [f"pair-{i // 2:02}" for i in range(52)]
    held = [pairs.obs["pair"].iloc[split_cells(pairs, 0.1, seed, "pair")[1]] for seed in range(60)]
    assert set(np.concatenate(held)) == set(pairs.obs["pair"])


def test_stratifying_matters(small):
    """Else the test above would pass without stratification."""
    shares = [
        (small.obs["group"].iloc[split_cells(small, 0.25, seed)[1]] == "c").sum()
        for seed in range(20)
    ]
    assert max(abs(share - 0.25 * 11) for share in shares) > 1


@pytest.mark.parametrize("stratify_by", [None, "group"])
def test_the_split_depends_on_the_seed_only(small, stratify_by):
    """Else two runs with the same seed would be judged on different cells."""
    once, again = (split_cells(small, 0.25, 3, stratify_by) for _ in range(2))
    other = split_cells(small, 0.25, 4, stratify_by)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[1], other[1])


def test_every_cell_has_the_same_chance(small):
    """Else the first or last cells of a group would be held out more often."""
    times = np.zeros(53)
    for seed in range(2000):
        times[split_cells(small, 0.25, seed, "group")[1]] += 1
    share = times / 2000  # its standard error is 0.01
    assert np.abs(share[:24].mean() - 0.25) < 0.02
    for cells in (slice(0, 24), slice(24, 42), slice(42, 53)):
        assert np.ptp(share[cells]) < 0.07  # about 7 standard errors between two extreme cells


def test_missing_labels_are_a_group(small):
    """Else cells without a label would break the split."""
    small.obs["label"] = pd.Categorical(
        small.obs["group"].where(small.obs["group"] != "b"), categories=["a", "c"]
    )
    train, held_out = split_cells(small, 0.25, 0, "label")
    assert len(train) + len(held_out) == 53
    labelled = (small.obs["group"] != "b").to_numpy()
    assert labelled[train].sum() + labelled[held_out].sum() == 35
    assert (~labelled)[held_out].sum() in (4, 5)  # a quarter of 18


def test_nothing_held_out(small):
    """Else a fraction of 0 would hold out a cell, or fail."""
    train, held_out = split_cells(small, 0, 0)
    assert len(train) == 53
    assert len(held_out) == 0


def test_an_unknown_column_is_named(small):
    """Else pandas would report a key and not where it was looked for."""
    with pytest.raises(KeyError, match="obs has no column 'cell_type'"):
        trainer(stratify_by="cell_type").fit(model(), small)


@pytest.mark.parametrize(("n_cells", "fraction"), [(1, 0.1), (4, 0.1), (4, 0.95)])
def test_too_few_cells_to_split(small, n_cells, fraction):
    """Else training or judging would run on no cells."""
    with pytest.raises(ValueError, match=f"{n_cells} cells can't be split.*holdout_fraction=0"):
        split_cells(small[:n_cells], fraction, 0)


def test_held_out_cells_never_reach_the_module_in_training(small):
    """Else the held-out ELBO would be one of cells that were learned."""
    x = torch.from_numpy(small.X.toarray())
    x[:, 0] = torch.arange(53) + 100.0  # a mark that tells the cells apart
    small.X = x.numpy()
    module, t = Poisson(), trainer(stratify_by="group", holdout_fraction=0.3)
    t.fit(module, small)
    trained_on = torch.cat(module.training_calls)[:, 0].long() - 100
    judged_on = torch.cat(module.evaluation_calls)[:, 0].long() - 100
    assert set(trained_on.tolist()) == set(t.train_cells)
    assert set(judged_on.tolist()) == set(t.held_out_cells)
    assert set(t.train_cells).isdisjoint(t.held_out_cells)


# ---------------------------------------------------------------- an epoch


def marks(calls):
    return [tuple(x[:, 0].long().tolist()) for x in calls]


def test_each_epoch_meets_each_cell_once_in_a_new_order(small):
    """Else some cells would count more, or the order would be learned."""
    x = small.X.toarray()
    x[:, 0] = np.arange(53) + 1
    small.X = x
    module = Poisson()
    trainer(holdout_fraction=0, batch_size=20).fit(module, small)
    epochs = [module.training_calls[i : i + 3] for i in (0, 3, 6)]
    orders = [sum(marks(epoch), ()) for epoch in epochs]
    assert all(sorted(order) == list(range(1, 54)) for order in orders)
    assert len(set(orders)) == 3
    assert [len(x) for x in module.training_calls] == [20, 20, 13] * 3


def test_a_last_minibatch_of_one_cell(small):
    """Else 53 cells in minibatches of 26 would fail or lose the last cell."""
    module = Poisson()
    trainer(holdout_fraction=0, batch_size=26, max_epochs=2).fit(module, small)
    assert [len(x) for x in module.training_calls] == [26, 26, 1] * 2
    trainer(holdout_fraction=0, batch_size=26, max_epochs=2).fit(model(), small)


def test_the_first_step_is_adams(small):
    """Else another optimiser or learning rate is at work: Adam's first step has length lr."""
    module = Poisson()
    trainer(max_epochs=1, kl_warmup_epochs=0, batch_size=99, learning_rate=0.03).fit(module, small)
    torch.testing.assert_close(module.log_mean.detach().abs(), torch.full((12,), 0.03))


def test_training_finds_the_maximum_likelihood(small):
    """Else the steps do not lead downhill: a Poisson mean's best value is the average count."""
    module = Poisson()
    settings = {"max_epochs": 200, "learning_rate": 0.05, "batch_size": 99}
    trainer(**settings, holdout_fraction=0).fit(module, small)
    # the small penalty that stands for a KL draws the means to 1, by about a hundredth
    average = small.X.toarray().mean(axis=0)
    np.testing.assert_allclose(module.log_mean.exp().detach().numpy(), average, rtol=0.02)


def test_kl_weight_rises_in_a_line_to_one(small):
    """Else the warm-up would jump, end early or late, or never reach the ELBO."""
    module, t = Poisson(), trainer(max_epochs=4, holdout_fraction=0, batch_size=27)
    history = t.fit(module, small)
    np.testing.assert_allclose(
        module.kl_weights, [27 / 53 / 2, 1 / 2, (1 + 27 / 53) / 2, 1, 1, 1, 1, 1], rtol=0.02
    )
    np.testing.assert_allclose(history["kl_weight"], [0.5, 1, 1, 1])


def test_without_warm_up_the_kl_counts_from_the_start(small):
    """Else `kl_warmup_epochs=0` would divide by zero or leave the KL out."""
    module = Poisson()
    trainer(kl_warmup_epochs=0).fit(module, small)
    assert set(module.kl_weights) == {1.0}


# ---------------------------------------------------------------- history


def test_history_has_one_row_an_epoch(small):
    """Else a figure of it would show other numbers than its labels say."""
    t = trainer(max_epochs=5)
    assert t.history is None
    history = t.fit(model(), small)
    assert history is t.history
    assert list(history.columns) == HISTORY_COLUMNS
    assert list(history.index) == [1, 2, 3, 4, 5]
    assert history.index.name == "epoch"
    assert set(map(str, history.dtypes)) == {"float64"}
    for cells in ("train", "held_out"):
        np.testing.assert_allclose(
            history[f"{cells}_neg_elbo"],
            history[f"{cells}_reconstruction"] + history[f"{cells}_kl"],
        )
    assert t.stopped == "max_epochs"


def test_history_of_training_cells_is_a_mean_over_cells(small):
    """Else the smaller last minibatch would count as much as the others."""
    module, seen = Poisson(), []

    def remember(output, call):
        seen.append(output.reconstruction.detach())
        return output

    module.misbehave = remember
    history = trainer(max_epochs=1, kl_warmup_epochs=0, holdout_fraction=0).fit(module, small)
    expected = torch.cat(seen).double().mean().item()
    assert history["train_reconstruction"].item() == pytest.approx(expected, rel=1e-6)


def test_history_of_held_out_cells_is_their_elbo_after_the_epoch(small):
    """Else the curve would show the module before the epoch, or the training cells."""
    t, module = trainer(max_epochs=1, kl_warmup_epochs=0), model()
    history = t.fit(module, small)
    expected = elbo(module, small, indices=t.held_out_cells, seed=t.settings.seed)
    assert history["held_out_neg_elbo"].item() == expected.neg_elbo
    assert history["held_out_reconstruction"].item() == expected.reconstruction
    assert history["held_out_kl"].item() == expected.kl


def test_without_held_out_cells_the_last_weights_stay(small):
    """Else training on all cells would stop at random or return the first weights."""
    module, t = Poisson(), trainer(max_epochs=6, holdout_fraction=0)
    history = t.fit(module, small)
    assert history.filter(like="held_out").isna().all(axis=None)
    assert history.filter(like="train").notna().all(axis=None)
    assert (len(history), t.best_epoch, t.stopped) == (6, 6, "max_epochs")
    assert len(t.train_cells) == 53
    again = Poisson()  # five epochs give other weights, so the six were not cut short
    trainer(max_epochs=5, holdout_fraction=0).fit(again, small)
    assert not torch.equal(again.log_mean, module.log_mean)


# ---------------------------------------------------------------- reproducible


def test_same_seed_same_weights_bit_for_bit(small):
    """Else a result of the book could not be had again."""
    runs = []
    for noise in (1, 2):
        module = model()
        torch.manual_seed(noise)  # the caller's random numbers must not matter
        np.random.seed(noise)
        history = trainer(seed=7, stratify_by="group").fit(module, small)
        runs.append((weights(module), history))
    assert same_weights(runs[0][0], runs[1][0])
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1], check_exact=True)


def test_another_seed_gives_another_run(small):
    """Else the seed would be ignored."""
    modules = [model(), model()]
    for seed, module in enumerate(modules):
        trainer(seed=seed).fit(module, small)
    assert not same_weights(*map(weights, modules))


def test_the_callers_random_numbers_go_on_undisturbed(small):
    """Else adding a training run to a chapter would change all that follows."""
    module = model()
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    trainer().fit(module, small)
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_a_second_fit_goes_on_from_the_weights_of_the_first(small):
    """Else a trained module could not be trained further."""
    module, t = Poisson(), trainer(holdout_fraction=0)
    t.fit(module, small)
    before = module.log_mean.detach().clone()
    history = t.fit(module, small)
    assert (module.log_mean.detach() - before).abs().max() < 1
    assert len(history) == 3


# ---------------------------------------------------------------- early stopping


@pytest.fixture
def overfitted(small):
    """A run on few cells with large steps, which early stopping has to end."""
    module = model()
    t = trainer(max_epochs=200, patience=4, learning_rate=0.05, holdout_fraction=0.3)
    t.fit(module, small)
    return module, t


def test_early_stopping_waits_for_its_patience(overfitted):
    """Else training would end at the first bad epoch, or never."""
    _, t = overfitted
    assert t.stopped == "patience"
    assert len(t.history) == t.best_epoch + 4 < 200


def test_early_stopping_brings_back_the_best_weights(overfitted, small):
    """Else the module would be the overfitted one of the last epoch."""
    module, t = overfitted
    after_warm_up = t.history["held_out_neg_elbo"].loc[2:]
    assert after_warm_up.idxmin() == t.best_epoch
    now = elbo(module, small, indices=t.held_out_cells, seed=t.settings.seed)
    assert now.neg_elbo == t.history["held_out_neg_elbo"].loc[t.best_epoch]
    assert now.neg_elbo < t.history["held_out_neg_elbo"].iloc[-1]


class Scripted(Poisson):
    """Learns as usual, but its held-out scores are read from a list."""

    def __init__(self, scores):
        super().__init__()
        self.scores = iter(scores)

    def forward(self, x, *, kl_weight=1.0):
        output = super().forward(x, kl_weight=kl_weight)
        if self.training:
            return output
        score = torch.full((len(x),), float(next(self.scores)))
        return output._replace(reconstruction=score, kl=torch.zeros(len(x)))


@pytest.mark.parametrize(
    ("scores", "settings", "best", "n_epochs", "stopped"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 5, "max_epochs"),
        ([5, 4, 3, 4, 5], {}, 3, 5, "max_epochs"),
        ([5, 4, 3, 4, 5], {"patience": None}, 3, 5, "max_epochs"),
        ([5, 4, 3, 4, 5], {"patience": 1}, 3, 4, "patience"),
        ([5, 4, 3, 4, 5], {"patience": 2}, 3, 5, "patience"),
        ([5, 3, 4, 2, 5], {"patience": 2}, 4, 5, "max_epochs"),  # a better epoch in time
        ([5, 3, 3, 3, 5], {"patience": 2}, 2, 4, "patience"),  # as good is not better
        ([1, 5, 4, 5, 6], {"patience": 2}, 3, 5, "patience"),  # epoch 1 is warm-up
        ([1, 2, 3, 4, 5], {"kl_warmup_epochs": 3, "patience": 1}, 3, 4, "patience"),
        ([1, 2, 3, 4, 5], {"kl_warmup_epochs": 0, "patience": 1}, 1, 2, "patience"),
        ([5, 4, np.nan, 3, 5], {"patience": 2}, 4, 5, "max_epochs"),  # NaN is never better
    ],
)
def test_which_epoch_wins_and_when_training_stops(small, scores, settings, best, n_epochs, stopped):
    """Else warm-up epochs, ties or NaN could win, or patience would be one epoch off."""
    module, t = Scripted(scores), trainer(max_epochs=5, **settings)
    history = t.fit(module, small)
    assert (t.best_epoch, len(history), t.stopped) == (best, n_epochs, stopped)
    np.testing.assert_array_equal(history["held_out_neg_elbo"], scores[:n_epochs])


def test_the_best_weights_are_those_at_the_end_of_the_best_epoch(small):
    """Else the weights kept aside would go on changing with the module's."""
    module = Scripted([5, 4, 3, 4, 5])
    trainer(max_epochs=5).fit(module, small)
    three = Scripted([5, 4, 3])
    trainer(max_epochs=3).fit(three, small)
    assert torch.equal(module.log_mean, three.log_mean)
    five = Scripted([5, 4, 3, 2, 1])
    trainer(max_epochs=5).fit(five, small)
    assert not torch.equal(module.log_mean, five.log_mean)


# ---------------------------------------------------------------- interruption


def test_an_interrupted_first_epoch_keeps_what_was_learned(small):
    """Else Ctrl-C in a long first epoch would throw the steps away, or fail for want of rows."""
    module, t = Poisson(interrupt_at(3)), trainer()  # two steps, then Ctrl-C
    history = t.fit(module, small)
    assert t.stopped == "interrupted"
    assert len(history) == 0 and list(history.columns) == HISTORY_COLUMNS
    assert set(map(str, history.dtypes)) == {"float64"}
    assert history.index.dtype == "int64"
    assert (module.log_mean != 0).any()


def test_an_interrupted_warm_up_keeps_its_complete_epochs(small):
    """Else the module would fall back to its first weights: no epoch has been compared yet."""
    runs = []
    for call in (8, 7):  # 48 training cells, three steps per epoch: both are in the third epoch
        module, t = Poisson(interrupt_at(call)), trainer(max_epochs=20, kl_warmup_epochs=9)
        t.fit(module, small)
        assert (t.stopped, t.best_epoch, len(t.history)) == ("interrupted", 2, 2)
        runs.append(module.log_mean)
    assert torch.equal(*runs)
    assert (runs[0] != 0).any()


def test_interrupted_later_the_best_weights_come_back(small):
    """Else the half epoch that was interrupted would be in the weights."""
    module, t = Poisson(interrupt_at(14)), trainer(max_epochs=20)
    t.fit(module, small)  # three steps per epoch: four epochs are complete
    assert (t.stopped, len(t.history)) == ("interrupted", 4)
    assert t.best_epoch == t.history["held_out_neg_elbo"].loc[2:].idxmin()
    now = elbo(module, small, indices=t.held_out_cells, seed=0)
    assert now.neg_elbo == t.history["held_out_neg_elbo"].loc[t.best_epoch]


def test_after_an_interruption_random_numbers_are_the_callers(small):
    """Else Ctrl-C would leave the seed of the run behind."""
    before = torch.random.get_rng_state()
    trainer().fit(Poisson(interrupt_at(2)), small)
    assert torch.equal(torch.random.get_rng_state(), before)


# ---------------------------------------------------------------- divergence


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("term", ["reconstruction", "kl"])
def test_divergence_names_the_term_the_epoch_and_the_minibatch(small, term, bad):
    """Else NaN would spread through the weights and the cause would be lost."""

    def misbehave(output, call):
        if call != 5:
            return output
        broken = getattr(output, term).clone()
        broken[-1] = bad
        return output._replace(**{term: broken, "loss": output.loss + bad})

    module, t = Poisson(misbehave), trainer(max_epochs=20)  # three minibatches an epoch
    with pytest.raises(TrainingDivergedError, match=f"epoch 2, minibatch 2, the {term} ") as caught:
        t.fit(module, small)
    assert "learning_rate" in str(caught.value)
    assert len(t.history) == 1
    one_epoch = Poisson(interrupt_at(4))
    trainer(max_epochs=20).fit(one_epoch, small)
    assert torch.equal(module.log_mean, one_epoch.log_mean)


def test_divergence_of_the_loss_alone(small):
    """Else a loss that is broken while its terms are not would be called nothing."""

    def misbehave(output, call):
        return output._replace(loss=output.loss * float("nan"))

    with pytest.raises(TrainingDivergedError, match="epoch 1, minibatch 1, the loss became"):
        trainer().fit(Poisson(misbehave), small)


def test_a_learning_rate_that_explodes_leaves_the_best_weights(small):
    """Else a diverged run would leave a module of NaN."""
    module, t = model(), trainer(max_epochs=50, learning_rate=1e30, kl_warmup_epochs=0)
    with pytest.raises(TrainingDivergedError):
        t.fit(module, small)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_weights_that_break_in_the_very_last_step_do_not_stay(small):
    """Else a gradient of NaN in the last minibatch would slip through the check of the loss."""

    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, upstream):
            return upstream * float("nan")

    def misbehave(output, call):
        return output._replace(loss=Root.apply(output.loss)) if call == 12 else output

    for holdout_fraction in (0, 0.1):
        module = Poisson(misbehave)
        t = trainer(holdout_fraction=holdout_fraction, batch_size=14)  # four steps per epoch
        with pytest.raises(TrainingDivergedError, match="epoch 3, minibatch 4, the weights"):
            t.fit(module, small)
        assert torch.isfinite(module.log_mean).all()


# ---------------------------------------------------------------- any module, any counts


def test_the_trainer_knows_only_loss_reconstruction_and_kl(small):
    """Else another model than NBVAE could not be trained."""
    history = trainer(max_epochs=20).fit(Poisson(), small)
    assert history["held_out_neg_elbo"].iloc[-1] < history["held_out_neg_elbo"].iloc[0]


def test_training_lowers_the_held_out_loss_on_real_cells(sample):
    """Else the parts are right and the whole does not learn."""
    module = NBVAE(765)
    t = Trainer(max_epochs=8, kl_warmup_epochs=2, stratify_by="cell_type", device="cpu")
    before = elbo(module, sample).neg_elbo
    history = t.fit(module, sample)
    assert history["held_out_neg_elbo"].iloc[-1] < history["held_out_neg_elbo"].iloc[0] < before
    assert history["held_out_neg_elbo"].iloc[-1] < 1100  # untrained 3,000 and more
    assert len(t.held_out_cells) == 70


def test_counts_come_from_the_layer(small):
    """Else the normalised X would be trained on."""
    small.layers["counts"] = small.X.copy()
    small.X = small.X * 0.3
    with pytest.raises(CountsError, match="layer='counts'"):
        trainer().fit(Poisson(), small)
    module = Poisson()
    trainer(holdout_fraction=0, max_epochs=2).fit(module, small, layer="counts")
    total = sum(x.sum().item() for x in module.training_calls)
    assert total == pytest.approx(2 * small.layers["counts"].sum())


def test_other_genes_are_refused(small):
    """Else the message would be about the shapes of two matrices."""
    module = NBVAE(7)
    before = weights(module)
    with pytest.raises(ValueError, match="models 7 genes"):
        trainer().fit(module, small)
    assert same_weights(weights(module), before)


def test_fit_does_not_change_the_counts(small):
    """Else training would leave something behind in the user's data."""
    before = small.copy()
    trainer(stratify_by="group").fit(model(), small)
    np.testing.assert_array_equal(small.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(small.obs, before.obs)


def test_auto_takes_a_gpu_if_there_is_one(small):
    """Else a GPU would stand idle, or a machine without one would fail."""
    t = trainer(device="auto")
    module = model()
    t.fit(module, small)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(module.parameters()).device.type == expected
    assert np.isfinite(t.history["held_out_neg_elbo"]).all()


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, False, "cuda"), (False, True, "cpu"), (False, False, "cpu")],
)
def test_auto_never_takes_a_device_that_lacks_operators(monkeypatch, cuda, mps, expected):
    """Else training on a Mac would end in the first step with an operator that is not there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto").type == expected
    if mps:
        assert pick_device("mps").type == "mps"


# ---------------------------------------------------------------- the progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [
        (io.StringIO, None, False),
        (Terminal, None, True),
        (io.StringIO, True, True),
        (Terminal, False, False),
    ],
)
def test_the_bar_is_shown_in_a_terminal_or_on_request(small, monkeypatch, stream, progress, shown):
    """Else logs and notebooks would fill with bars, or a long run would show nothing."""
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    trainer(progress=progress).fit(Poisson(), small)
    text = stderr.getvalue()
    assert ("Training" in text and "held out" in text and "3/3" in text) is shown
    assert (text == "") is not shown


# ---------------------------------------------------------------- saving and loading


@pytest.fixture
def trained(small):
    module = model()
    t = trainer(seed=3, stratify_by="group", learning_rate=0.02, patience=None)
    t.fit(module, small)
    return module, t


def test_a_checkpoint_brings_everything_back(trained, tmp_path, small):
    """Else a saved model would not be the one that was trained."""
    module, t = trained
    t.save(tmp_path / "model.pt", module)
    other = model(seed=9)
    loaded = Trainer.load(tmp_path / "model.pt", other)
    assert same_weights(weights(module), weights(other))
    assert loaded.settings == t.settings
    pd.testing.assert_frame_equal(loaded.history, t.history, check_exact=True)
    np.testing.assert_array_equal(loaded.train_cells, t.train_cells)
    np.testing.assert_array_equal(loaded.held_out_cells, t.held_out_cells)
    assert loaded.train_cells.dtype == t.train_cells.dtype
    assert (loaded.stopped, loaded.best_epoch) == (t.stopped, t.best_epoch)
    assert elbo(other, small) == elbo(module, small)


@pytest.mark.parametrize("holdout_fraction", [0, 0.1])
def test_a_run_that_was_interrupted_at_once_can_be_saved(small, tmp_path, holdout_fraction):
    """Else an empty history would change its types on the way, or a NaN its value."""
    module, t = Poisson(interrupt_at(2)), trainer(holdout_fraction=holdout_fraction)
    t.fit(module, small)
    t.save(tmp_path / "model.pt", module)
    loaded = Trainer.load(tmp_path / "model.pt", Poisson())
    pd.testing.assert_frame_equal(loaded.history, t.history)


def test_every_setting_survives(trained, tmp_path):
    """Else a setting could be forgotten in the file and come back as its default."""
    module, t = trained
    t.settings = TrainerSettings(
        7, 8, 0.9, "constant", 5, 0.3, "group", 4, 0.5, 11, "cpu", False, 2
    )
    assert all(
        value != getattr(TrainerSettings(), name) for name, value in asdict(t.settings).items()
    )
    t.save(tmp_path / "model.pt", module)
    assert Trainer.load(tmp_path / "model.pt", model()).settings == t.settings


def test_saving_before_training_is_refused(tmp_path):
    """Else random weights would be saved as a model."""
    with pytest.raises(ValueError, match="call fit first"):
        Trainer().save(tmp_path / "model.pt", model())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("culprit", ["torch.save", "os.replace"])
def test_a_failed_save_leaves_the_older_file(trained, tmp_path, monkeypatch, culprit):
    """Else a full disk would cost the last good checkpoint."""
    module, t = trained
    path = tmp_path / "model.pt"
    t.save(path, module)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(culprit, full)
    with pytest.raises(OSError, match="No space left"):
        t.save(path, module)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_over_an_older_file(trained, tmp_path):
    """Else a second save would fail or leave its working file behind."""
    module, t = trained
    path = tmp_path / "model.pt"
    path.write_bytes(b"older")
    t.save(str(path), module)
    Trainer.load(str(path), model())
    assert list(tmp_path.iterdir()) == [path]


class Payload:
    """Unpickling it creates a file: what a malicious checkpoint could do, but harmless."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: _pickle(content, path)])
def test_no_code_in_a_checkpoint_is_executed(trained, tmp_path, write):
    """Else opening a stranger's checkpoint would run the stranger's program."""
    module, t = trained
    t.save(tmp_path / "model.pt", module)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    proof = tmp_path / "executed"
    write(content | {"stopped": Payload(proof)}, tmp_path / "malicious.pt")
    other = model(seed=9)
    before = weights(other)
    with pytest.raises(CheckpointError, match=r"malicious\.pt"):
        Trainer.load(tmp_path / "malicious.pt", other)
    assert not proof.exists()
    assert same_weights(weights(other), before)
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists(), "the payload is harmless, so this test proves nothing"


def _pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def test_a_truncated_checkpoint_is_refused(trained, tmp_path):
    """Else half a file would end in an error of the zip format, or load half a model."""
    module, t = trained
    t.save(tmp_path / "model.pt", module)
    content = (tmp_path / "model.pt").read_bytes()
    other = model(seed=9)
    before = weights(other)
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "half.pt").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"half\.pt' is damaged"):
            Trainer.load(tmp_path / "half.pt", other)
        assert same_weights(weights(other), before)


@pytest.mark.parametrize(
    "content", [{"weights": {}}, {"format": "nbvae checkpoint 0"}, [1, 2], torch.zeros(3)]
)
def test_a_foreign_file_of_pytorch_is_refused(tmp_path, content):
    """Else another program's weights, or an older format's, would fail halfway."""
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"not written by Trainer\.save"):
        Trainer.load(tmp_path / "foreign.pt", model())


def test_a_file_of_another_kind_is_refused(tmp_path):
    """Else the message would be about pickles."""
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match=r"notes\.txt' is damaged or not a checkpoint"):
        Trainer.load(tmp_path / "notes.txt", model())


def test_a_missing_file_is_named(tmp_path):
    """Else a slip in the name would be called a damaged file."""
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.pt"):
        Trainer.load(tmp_path / "nowhere.pt", model())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: NBVAE(13, 2, n_hidden=16), r"shape \(2, 16\)|shape \(16, 12\)|shape \(12,"),
        (lambda: NBVAE(12, 2, n_hidden=17), r"\(16,\) in the file and \(17,\) in the module"),
        (Poisson, "None in the module|None in the file"),
        (lambda: nn.Sequential(model(), nn.Linear(1, 1)), "shape None in the file"),
    ],
)
def test_a_checkpoint_of_another_module_is_refused(trained, tmp_path, other, words):
    """Else weights would be loaded in part, or PyTorch would list fifty keys."""
    module, t = trained
    t.save(tmp_path / "model.pt", module)
    other = other()
    before = weights(other)
    with pytest.raises(CheckpointError, match=words):
        Trainer.load(tmp_path / "model.pt", other)
    assert same_weights(weights(other), before)


def test_a_checkpoint_can_be_read_by_others_like_any_new_file(trained, tmp_path):
    """Else a file in a shared folder would be readable by its writer only."""
    module, t = trained
    t.save(tmp_path / "model.pt", module)
    (tmp_path / "plain").touch()
    assert os.stat(tmp_path / "model.pt").st_mode == os.stat(tmp_path / "plain").st_mode


def test_the_options_are_those_of_the_settings():
    """Else a default would be one thing in the signature that a reader sees, and another in use."""
    options = inspect.signature(Trainer).parameters.values()
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in options)
    assert {option.name: option.default for option in options} == asdict(TrainerSettings())


def test_every_option_reaches_the_settings():
    """Else an option would be taken and do nothing."""
    given = TrainerSettings(7, 8, 0.9, "constant", 5, 0.3, "group", 4, 0.5, 11, "cpu", False, 2)
    assert Trainer(**asdict(given)).settings == given
