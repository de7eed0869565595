"""The first cell of a chapter, run as if on Google Colab and not."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import outputs
import pandas as pd
import pytest
import torch

ADDRESS = "https://github.com/someone/nbvae"


@pytest.fixture
def installs(monkeypatch):
    """Record what would be installed; what is there already, pip says itself."""
    commands = []
    run = subprocess.run

    def record(command, **options):
        if "install" not in command:
            return run(command, **options)
        return commands.append((command, options))

    monkeypatch.setattr(subprocess, "run", record)
    return commands


@pytest.fixture
def no_nbvae(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nbvae" else find(name)
    )


@pytest.fixture
def colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))


def run_cell(address):
    exec(outputs.setup_source(address), {})


@pytest.mark.usefixtures("no_nbvae")
@pytest.mark.parametrize("address", ["", ADDRESS])
def test_elsewhere_it_does_nothing(installs, capsys, address):
    run_cell(address)
    assert installs == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("colab")
def test_it_leaves_an_installed_nbvae_alone(installs):
    run_cell(ADDRESS)
    assert installs == []


@pytest.mark.usefixtures("colab", "no_nbvae")
def test_it_says_what_to_do_without_an_address(installs):
    with pytest.raises(RuntimeError, match=r"repository\.url in _config\.yml"):
        run_cell("")
    assert installs == []


@pytest.mark.usefixtures("colab", "no_nbvae")
def test_it_installs_nbvae_and_holds_all_that_is_there(installs):
    run_cell(ADDRESS)
    [(command, options)] = installs
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-3:] == [f"nbvae @ git+{ADDRESS}", "-c", "/dev/stdin"]
    held = options["input"].decode().splitlines()
    assert len(held) > 50
    assert {f"torch=={torch.__version__}", f"pandas=={pd.__version__}"} <= set(held)


@pytest.mark.usefixtures("colab", "no_nbvae", "installs")
def test_it_says_in_one_line_what_it_did_and_what_trains(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run_cell(ADDRESS)
    [line] = capsys.readouterr().out.splitlines()
    assert "and changed nothing else. PyTorch sees no GPU, and" in line
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    run_cell(ADDRESS)
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith("Models train on its GPU, Tesla T4.")


def test_it_is_short():
    assert len(outputs.setup_source(ADDRESS).splitlines()) <= 32
