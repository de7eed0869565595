"""Inputs of training that are odd or wrong: each is right, or refused with the culprit's name.

How the settings were searched: each one with each wrong kind of value (a string, a bool, a list, a
fraction, NaN, infinity, a value out of its range), each with numpy's types, and each pair of which
one makes the other idle:

| setting | is idle with | outcome |
|---|---|---|
| patience | holdout_fraction=0 | refused |
| stratify_by | holdout_fraction=0 | allowed: each group gives its share, none |
| kl_warmup_epochs | more epochs than max_epochs | refused |
| patience | max_epochs of no more than it | allowed: training ends before its patience does |
| threads | device="cuda" | allowed: "auto" can't know, and a saved trainer may go elsewhere |
"""

from collections import OrderedDict
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nbvae import NBVAE, CheckpointError, Trainer, TrainerSettings, files
from nbvae.train.environment import pick_device

WHOLE = ["max_epochs", "batch_size", "kl_warmup_epochs", "patience", "seed", "threads"]
NUMBERS = ["learning_rate", "holdout_fraction", "theta_prior"]
NO_NUMBER = ["3", "", b"3", [3], (3,), {}, 1j, np.array([3]), True, np.bool_(True), None.__class__]
NO_WHOLE = [*NO_NUMBER, 3.0, 2.5, np.float64(3), float("nan"), float("inf"), -1, np.int64(-1)]
NOT_FINITE = [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")]

WRONG = [
    *((name, value) for name in WHOLE for value in NO_WHOLE),
    *((name, 0) for name in ("max_epochs", "batch_size", "patience", "threads")),
    *((name, value) for name in NUMBERS for value in [*NO_NUMBER, *NOT_FINITE, -0.1]),
    *(("learning_rate", value) for value in (0, 0.0, np.float64(0), None)),
    *(("theta_prior", value) for value in (0, 0.0, np.float64(0), "Estimated", "learned")),
    *(("holdout_fraction", value) for value in (1, 1.5, np.float64(1), 70, None)),
    *(("batch_size", None), ("kl_warmup_epochs", None), ("seed", None)),
    *(("seed", 2**63), ("seed", 10**30)),
    *(("schedule", value) for value in ("One-cycle", "cosine", "", None, 1, ["constant"], b"x")),
    *(("stratify_by", value) for value in (["cell_type"], 3, True, b"cell_type", 1.5)),
    *(("device", value) for value in ("gpu", "GPU", "cudda", "cuda:x", "cuda:-1", "", " ", "CPU")),
    *(("device", value) for value in ("tpu", "meta", "cuda:1:2", 0, None, True, ["cpu"], b"cpu")),
    *(("progress", value) for value in ("no", "False", 0, 1, [], 1.0)),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_a_wrong_setting_is_named(name, value):
    """Else a slip would show up as a crash in another library, or as bad results, an hour later."""
    with pytest.raises(ValueError, match=rf"^{name} must be ") as caught:
        Trainer(**{name: value})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patience": 2, "holdout_fraction": 0}, "patience=2 compares .* holdout_fraction=0"),
        ({"patience": 2, "holdout_fraction": np.float32(0)}, "patience=2"),
        ({"kl_warmup_epochs": 4, "max_epochs": 3}, "kl_warmup_epochs"),
    ],
)
def test_settings_that_do_nothing_together_are_refused(settings, words):
    """Else a run would never stop, and nobody would know why."""
    with pytest.raises(ValueError, match=words):
        Trainer(**settings)


RIGHT = [
    *((name, kind(3), 3) for name in WHOLE for kind in (int, np.int64, np.int8, np.uint32)),
    *((name, torch.tensor(3), 3) for name in WHOLE),
    *((name, kind(0.5), 0.5) for name in NUMBERS for kind in (float, np.float64, np.float32)),
    *(
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.int64(1), 1.0),
        ("learning_rate", 1e30, 1e30),
    ),
    *(("holdout_fraction", 0, 0.0), ("holdout_fraction", np.int64(0), 0.0)),
    *(("seed", 0, 0), ("seed", 2**63 - 1, 2**63 - 1), ("kl_warmup_epochs", np.int64(0), 0)),
    *(("schedule", np.str_("constant"), "constant"), ("stratify_by", np.str_("a"), "a")),
    *(("device", value, str(value)) for value in ("cpu", "cuda", "cuda:7", "mps", "auto")),
    *(("device", torch.device("cpu"), "cpu"), ("device", np.str_("cpu"), "cpu")),
    *(("device", torch.device("cuda", 1), "cuda:1"),),
    *(("progress", value, bool(value)) for value in (True, False, np.bool_(True), np.bool_(False))),
    *((name, None, None) for name in ("max_epochs", "patience", "stratify_by", "progress")),
    *(("theta_prior", value, value) for value in (None, "estimated")),
    ("theta_prior", np.str_("estimated"), "estimated"),
]


@pytest.mark.parametrize(("name", "value", "clean"), RIGHT, ids=repr)
def test_a_right_setting_is_taken_as_python_s(name, value, clean):
    """Else what numpy and pandas give would be refused, or train and not load again."""
    settings = {name: value} | ({} if name == "max_epochs" else {"max_epochs": 3})
    got = asdict(Trainer(**settings).settings)[name]
    assert got == clean and type(got) is type(clean)


def test_settings_of_numpy_survive_a_file(small, tmp_path):
    """Else a trainer would be saved, and be "damaged" when it is needed."""
    settings = {"max_epochs": np.int64(2), "learning_rate": np.float64(0.01), "seed": np.uint8(3)}
    settings |= {"stratify_by": np.str_("group"), "progress": np.bool_(False), "device": "cpu"}
    trainer, module = Trainer(**settings), NBVAE(12, 2)
    trainer.fit(module, small, checkpoint=tmp_path / "run.pt")
    trainer.save(tmp_path / "model.pt", module)
    assert Trainer.load(tmp_path / "model.pt", module).settings == trainer.settings
    python = {"max_epochs": 2, "learning_rate": 0.01, "seed": 3}
    python |= {"stratify_by": "group", "progress": False, "device": "cpu"}
    Trainer(**python).fit(NBVAE(12, 2), small, checkpoint=tmp_path / "run.pt")  # the same run


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(
    ("name", "n_cuda", "mps", "have"),
    [
        ("cuda", 0, False, r"'cpu' on this"),
        ("cuda:0", 0, False, r"'cpu' on this"),
        ("cuda", 0, True, r"'cpu', 'mps', 'mps:0' on this"),
        ("cuda:7", 2, False, r"'cpu', 'cuda', 'cuda:0', 'cuda:1' on this"),
        ("cuda:2", 2, False, r"'cuda:1' on this"),
        ("mps", 0, False, r"'cpu' on this"),
        ("mps", 1, False, r"'cuda:0' on this"),
        ("mps:3", 0, True, r"'mps:0' on this"),
        ("cpu:3", 0, False, r"'cpu' on this"),
    ],
)
def test_a_device_that_is_not_there_is_named(small, monkeypatch, name, n_cuda, mps, have):
    """Else PyTorch would speak of drivers or of an invalid device ordinal."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    with pytest.raises(ValueError, match=f"no device '{name}': PyTorch finds .*{have} machine"):
        pick_device(name)
    trainer = Trainer(device=name)  # as a saved trainer of another machine
    with pytest.raises(ValueError, match=f"no device '{name}'"):
        trainer.fit(NBVAE(12, 2), small)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_is_taken(monkeypatch, name):
    """Else the check would refuse the second GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device(name) == torch.device(name)


# ---------------------------------------------------------------- files


def saved(small, path):
    torch.manual_seed(0)
    trainer, module = Trainer(max_epochs=1, device="cpu"), NBVAE(12, 2, n_hidden=16)
    trainer.fit(module, small, checkpoint=path.with_name("run.pt"))
    trainer.save(path, module)
    return module


def rewrite(path, form, change):
    content = files.read(path, form, "")
    change(content)
    files.write_atomically(path, content)


def weight(name, value):
    return lambda content: content["weights"].__setitem__(name, value)


def entry(*names, value=None):
    """Set an entry, or take it out."""

    def change(content):
        for name in names[:-1]:
            content = content[name]
        if value is None:
            del content[names[-1]]
        else:
            content[names[-1]] = value

    return change


BOTH = {
    "no weights": entry("weights"),
    "weights are a list": entry("weights", value=[1, 2]),
    "a weight is missing": entry("weights", "log_theta"),
    "a weight more": weight("other", torch.ones(1)),
    "a weight is a number": weight("log_theta", 3),
    "a weight of another shape": weight("log_theta", torch.ones(13)),
    "a weight of another type": weight("log_theta", torch.ones(12, dtype=torch.float64)),
    "a weight of whole numbers": weight("log_theta", torch.ones(12, dtype=torch.int64)),
    "no covariates": entry("covariates"),
    "no genes": entry("genes"),
    "other covariates": entry("covariates", value=["batch", "a"]),
    "no settings": entry("settings"),
    "settings are a list": entry("settings", value=[1]),
    "another format": entry("format", value="nbvae checkpoint 99"),
    "a foreign format": entry("format", value="scvi"),
    "no format": entry("format"),
}
WEIGHTS = {
    "no history": entry("history"),
    "a column of the history is missing": entry("history", "train_kl"),
    "a history of words": entry("history", value="words"),
    "no cells": entry("train_cells"),
    "cells are words": entry("held_out_cells", value=["a"]),
    "no reason": entry("stopped"),
    "no best epoch": entry("best_epoch"),
    "an unknown setting": entry("settings", "beta", value=1),
    "a wrong setting": entry("settings", "batch_size", value=0),
}
RUNS = {
    "another seed": entry("settings", "seed", value=5),
    "a setting is missing": entry("settings", "seed"),
    "no optimizer": entry("optimizer"),
    "an optimizer of one weight": entry("optimizer", value={"state": {}, "param_groups": []}),
    "no progress": entry("progress"),
    "no epoch": entry("progress", "epoch"),
    "no best weights": entry("progress", "best_weights"),
    "a best weight is missing": entry("progress", "best_weights", "log_theta"),
    "no identity": entry("identity"),
    "no split": entry("identity", "split"),
    "another split": entry("identity", "split", value=["x"]),
    "another module": entry("identity", "module", value=["module = Other"]),
    "parts of a module": entry("identity", "module", value=[]),
}


@pytest.mark.parametrize("change", [*BOTH.values(), *WEIGHTS.values()], ids=[*BOTH, *WEIGHTS])
def test_a_file_of_weights_that_is_not_right_changes_nothing(small, tmp_path, change):
    """Else half of it would be in the module when the error comes, or all of it without one."""
    module = saved(small, tmp_path / "model.pt")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rewrite(tmp_path / "model.pt", "nbvae checkpoint 5", change)
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        Trainer.load(tmp_path / "model.pt", module)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("change", [*BOTH.values(), *RUNS.values()], ids=[*BOTH, *RUNS])
def test_a_run_that_is_not_right_is_neither_taken_up_nor_overwritten(small, tmp_path, change):
    """Else two runs would be mixed into one, or the first would be lost."""
    path = tmp_path / "run.pt"
    module = saved(small, tmp_path / "model.pt")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rewrite(path, "nbvae run 5", change)
    stored = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"run\.pt"):
        Trainer(max_epochs=1, device="cpu").fit(module, small, checkpoint=path)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert path.read_bytes() == stored


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("", OSError, "is a folder"),
        (".", OSError, "is a folder"),
        ("missing/run.pt", OSError, "no folder"),
        ("~no-such-user/run.pt", OSError, "no folder"),
        ("run.pt\0", ValueError, "null"),
        ("x" * 300, OSError, "name too long"),
        (3, TypeError, "not 3"),
        (True, TypeError, "not True"),
        (b"run.pt", TypeError, "not b'run.pt'"),
        (["run.pt"], TypeError, r"not \['run.pt'\]"),
    ],
    ids=repr,
)
def test_a_path_that_is_none_is_named(small, tmp_path, monkeypatch, path, error, words):
    """Else an epoch would be trained first, or the message would be about a buffer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "_train_epoch", lambda *_: pytest.fail("it was trained"))
    trainer, module = Trainer(max_epochs=1, device="cpu"), NBVAE(12, 2)
    trainer.history = "trained"
    calls = [partial(trainer.fit, module, small, checkpoint=path)]
    calls += [partial(Trainer.load, path, module), partial(files.check_writable, path)]
    for call in calls[:1] + calls[2:]:
        with pytest.raises(error, match=words):
            call()
    with pytest.raises((error, FileNotFoundError)):
        calls[1]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"PK\x03\x04",
        b"PK\x05\x06" + b"\0" * 18,
        b"\x80\x02}q\x00.",
        b"GIF89a",
        b'{"format": "nbvae checkpoint 5"}',
        b"\x89HDF\r\n\x1a\n",
        np.random.default_rng(0).bytes(3000),
    ],
    ids=lambda b: repr(b[:12]),
)
def test_a_file_of_another_program_is_refused(tmp_path, content):
    """Else the message would be about pickles and zip archives."""
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pt' (is damaged|was not written)"):
        Trainer.load(tmp_path / "model.pt", NBVAE(12, 2))


@pytest.mark.parametrize(
    "content",
    [OrderedDict(a=torch.ones(1)), torch.ones(3), [], None, 3, {"state_dict": {}}, {3: 4}],
)
def test_a_file_of_pytorch_is_refused(tmp_path, content):
    """Else somebody's state_dict would fail halfway."""
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"not written by Trainer\.save of this version"):
        Trainer.load(tmp_path / "model.pt", NBVAE(12, 2))


def test_a_path_as_a_string_is_the_same(small, tmp_path, monkeypatch):
    """Else a string, a Path, a relative path or a space in it would make a difference."""
    monkeypatch.chdir(tmp_path)
    module = saved(small, tmp_path / "a model é.pt")
    for path in ("a model é.pt", "./a model é.pt", Path("a model é.pt")):
        Trainer.load(path, module)


def test_the_table_is_long_enough():
    """Else a kind of input could drop out of it unseen."""
    assert len(WRONG) + len(RIGHT) + 2 * len(BOTH) + len(WEIGHTS) + len(RUNS) > 250
    assert {name for name, _ in WRONG} == set(asdict(TrainerSettings()))
