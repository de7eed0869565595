"""The first cell of a chapter, run as if on Google Colab and not."""

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import outputs
import pytest

ADDRESS = "https://github.com/someone/nbvae"


@pytest.fixture
def installs(monkeypatch):
    """Record what would be installed."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
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
def test_it_installs_nbvae_and_keeps_torch_and_numpy(installs):
    run_cell(ADDRESS)
    [command] = installs
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert f"nbvae @ git+{ADDRESS}" in command
    assert {f"torch=={version('torch')}", f"numpy=={version('numpy')}"} <= set(command)


def test_it_is_short():
    assert len(outputs.setup_source(ADDRESS).splitlines()) <= 20
