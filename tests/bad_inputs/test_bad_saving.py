"""Modules in files: what comes back is what was written, or nothing."""

import copy
import inspect
import io
import pickle

import numpy as np
import pytest
import torch
from outcomes import Case, Error, cases, check
from torch import nn
from world import SIZES

from nbvae import MLP, NBVAE, CheckpointError, Covariates, Trainer, evaluation
from nbvae.data.covariate import Category, Number
from nbvae.module.fast import has_shortcut
from nbvae.module.likelihoods import LIKELIHOODS, Likelihood
from nbvae.module.saving import arguments_of


class Subclass(NBVAE):
    """The same networks, another loss."""

    def loss(self, *steps, **options):
        output = super().loss(*steps, **options)
        return output._replace(loss=2 * output.loss)


class Different(NBVAE):
    """Its arguments are not those of NBVAE."""

    def __init__(self, size):
        super().__init__(size)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code in the file was executed",)


def changed(change):
    """A copy of the module after a change."""

    def make(world):
        module = copy.deepcopy(world.module)
        change(module)
        return module

    return make


def put(name, value):
    return changed(lambda module: setattr(module, name, value))


KEPT = {
    "a module": lambda w: w.module,
    "in a layer": lambda w: w.in_layer,
    "without names": lambda w: w.unnamed,
    "told of donors": lambda w: w.told,
    "told of a number": lambda w: NBVAE.for_counts(
        w.adata, covariates=Covariates((Number("age", np.float32(30), np.float64(7.1)),)), **SIZES
    ),
    "told of several": lambda w: NBVAE(
        8, covariates=Covariates((*w.covariates.columns, Number("age", 30.1, 7.0)))
    ),
    "with size factors": lambda w: NBVAE(8, size_factor_key=np.str_("depth"), **SIZES),
    "of two hidden layers": lambda w: NBVAE.for_counts(w.adata, n_layers=2, **SIZES),
    "encoding donors": lambda w: NBVAE.for_counts(
        w.adata, covariates=w.covariates, encode_covariates=True, **SIZES
    ),
    "Poisson": lambda w: NBVAE.for_counts(w.adata, likelihood="poisson", **SIZES),
    "zero-inflated": lambda w: NBVAE.for_counts(w.adata, likelihood="zinb", **SIZES),
    "float64": changed(lambda m: m.double()),
    "evaluating": changed(lambda m: m.eval()),
    "sizes of numpy": lambda w: NBVAE(np.int64(8), np.int32(2), n_hidden=np.uint8(8)),
    "words of numpy": lambda w: NBVAE(8, likelihood=np.str_("nb"), encode_covariates=np.False_),
    "levels of numpy": lambda w: NBVAE(
        8, covariates=Covariates((Category(np.str_("donor"), tuple(np.array(["d1", "d2", "d3"]))),))
    ),
    "genes of numpy": lambda w: NBVAE.for_counts(with_names_of_numpy(w.adata)),
    "no longer a number": changed(lambda m: m.log_theta.data.fill_(float("nan"))),
    "on its way through training": changed(lambda m: m.zero_grad()),
}
NOT_KEPT = {
    "another encoder": (
        put("mean_encoder", nn.Sequential(nn.Linear(8, 2), nn.LayerNorm(2))),
        "mean_encoder",
    ),
    "another activation": (
        changed(lambda m: m.decoder.layers.__setitem__(1, nn.Tanh())),
        "decoder.layers.1",
    ),
    "another size": (put("logvar_encoder", MLP(8, 2, n_hidden=9)), "logvar_encoder.layers.0"),
    "another link": (changed(lambda m: setattr(m.decoder, "link", torch.exp)), "decoder"),
    "another loss": (put("loss", lambda *a, **k: None), "module"),
    "another likelihood": (
        put("likelihood", Likelihood(print, print, print, has_theta=True, has_dropout=False)),
        "likelihood",
    ),
    "a hook": (changed(lambda m: m.decoder.register_forward_hook(lambda *a: None)), "decoder"),
    "one part more": (put("extra", nn.Linear(2, 2)), "module"),
    "other arguments": (lambda w: Different(8), "Different"),
    "half precision": (changed(lambda m: m.half()), "float16"),
}


def with_names_of_numpy(adata):
    other = adata.copy()
    other.var_names = np.array(adata.var_names, dtype=np.str_)
    return other


def arguments(module):
    names = ("n_genes", "n_latent", "n_hidden", "likelihood", "covariates", "encode_covariates")
    return {name: getattr(module, name) for name in (*names, "genes", "layer", "dtype")}


def assert_same(found, module):
    assert type(found) is type(module)
    assert arguments(found) == arguments(module)
    for name, weights in module.state_dict().items():
        other = found.state_dict()[name]
        assert other.dtype == weights.dtype
        assert other.stride() == weights.stride()  # a gene's weights side by side
        np.testing.assert_array_equal(other, weights)
    assert has_shortcut(found) == has_shortcut(module)


@pytest.mark.parametrize("name", KEPT)
def test_a_file_gives_back_the_module(name, world, tmp_path):
    module = KEPT[name](world)
    module.save(tmp_path / "module.pt")
    before = torch.random.get_rng_state()
    assert_same(NBVAE.load(tmp_path / "module.pt"), module)
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody's draws have changed


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("way", ["pickle", "torch.save", "deepcopy"])
def test_so_do_the_usual_ways(way, name, world):
    module = KEPT[name](world)
    if way == "pickle":
        found = pickle.loads(pickle.dumps(module))
    elif way == "deepcopy":
        found = copy.deepcopy(module)
    else:
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        found = torch.load(file, weights_only=False)
    assert_same(found, module)


def test_what_was_loaded_is_ready(world, tmp_path):
    world.in_layer.save(tmp_path / "module.pt")
    loaded = NBVAE.load(tmp_path / "module.pt")
    assert evaluation.elbo(loaded, world.layered[:, ::-1].copy()) == world.clean("elbo")
    with pytest.raises(ValueError, match="'GENE7'"):
        evaluation.elbo(loaded, world.layered[:, :7].copy())


def test_a_subclass_is_read_by_itself(world, tmp_path):
    """Its loss is its own: as an NBVAE it would say other numbers."""
    module = Subclass.for_counts(world.adata, **SIZES)
    module.save(tmp_path / "module.pt")
    assert_same(Subclass.load(tmp_path / "module.pt"), module)
    with pytest.raises(CheckpointError, match=r"Subclass\.load"):
        NBVAE.load(tmp_path / "module.pt")


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_a_file_could_not_give_back_is_refused(name, world, tmp_path):
    make, word = NOT_KEPT[name]
    path = tmp_path / "module.pt"
    path.write_bytes(b"an older file")
    check(Case(name, lambda w: make(w).save(path), Error(ValueError, word)), world)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


PLACES = [
    Case(
        "no folder", lambda w: w.module.save("/nowhere/a.pt"), Error(FileNotFoundError, "nowhere")
    ),
    Case("a folder", lambda w: w.module.save("."), Error(IsADirectoryError, "folder")),
    Case("a number", lambda w: w.module.save(3), Error(TypeError, "path")),
    Case("no file", lambda w: NBVAE.load("nowhere.pt"), Error(FileNotFoundError, "nowhere.pt")),
    Case("load a folder", lambda w: NBVAE.load("."), Error(IsADirectoryError, "folder")),
    Case("load a number", lambda w: NBVAE.load(3), Error(TypeError, "path")),
]


@cases(PLACES)
def test_places(case, world):
    check(case, world)


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


DAMAGES = {
    **{
        f"a flipped bit at {i} %": lambda b, i=i: flip(b, len(b) * i // 100)
        for i in range(0, 100, 5)
    },
    "the last byte": lambda b: flip(b, len(b) - 1),
    "cut in half": lambda b: b[: len(b) // 2],
    "cut by one": lambda b: b[:-1],
    "one byte more": lambda b: b + b"0",
    "empty": lambda b: b"",
    "a text": lambda b: b"gene,count\n",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed(name, world, tmp_path):
    path = tmp_path / "module.pt"
    world.module.save(path)
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    check(Case(name, lambda w: NBVAE.load(path), Error(CheckpointError, "module.pt")), world)


FOREIGN = {
    "code": lambda path, w: path.write_bytes(pickle.dumps(Bomb())),
    "code, by torch": lambda path, w: torch.save({"format": Bomb()}, path),
    "weights alone": lambda path, w: torch.save(w.module.state_dict(), path),
    "a whole module": lambda path, w: torch.save(w.module, path),
    "a run": lambda path, w: Trainer(max_epochs=1).fit(
        copy.deepcopy(w.module), w.adata, checkpoint=path
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_refused(name, world, tmp_path):
    path = tmp_path / "module.pt"
    FOREIGN[name](path, world)
    check(Case(name, lambda w: NBVAE.load(path), Error(CheckpointError, "module.pt")), world)


def test_likelihoods_are_known_by_what_they_are(world, tmp_path):
    """A module that was pickled has another tuple of the same functions."""
    module = pickle.loads(pickle.dumps(world.module))
    module.save(tmp_path / "module.pt")
    assert NBVAE.load(tmp_path / "module.pt").likelihood == LIKELIHOODS["nb"]


def test_every_argument_is_saved():
    """Else a module with a new option would come back from its file without it."""
    options = inspect.signature(NBVAE).parameters
    assert {*arguments_of(NBVAE(3)), "covariates"} == set(options)
    for_counts = set(inspect.signature(NBVAE.for_counts).parameters) - {"adata", "layer", "seed"}
    assert {"n_genes", *for_counts} == set(options)
