"""How long to train, and what a longer run over-fits: python -m benchmarks.length run PBMC3K.h5ad.

    python -m benchmarks.length run FILE           all runs; with FILE the raw counts of PBMC 3k
    python -m benchmarks.length run FILE PATTERN   some: "sample/0/*" (set, seed, way, times)
    python -m benchmarks.length show               the table and the figure from what is there

For once, twice and four times the default length, without a prior of θ (`theta_prior`), with one
that is estimated (which lets θ move three times as fast; "no faster" does without that) and with
one of sd 0.5 around 0, against scvi-tools' best single setting: a rate of 5e-3, no KL warm-up,
early stopping, and the weights of its best epoch; on the sample with a rate of 1e-2, too.
"3000x2000" and "68579x2000" are generated (data.py); of PBMC 3k 2,000 genes are used, chosen in
two ways: by dispersion, as `datasets.pbmc3k()` does, and by scanpy's flavour "seurat_v3".
Each run sees nine tenths of the cells, and is judged by the others: −ELBO, the importance-weighted
bound with 200 draws, and how many of the counts with an expectation of at least 1 lie in the
middle 90 % of their predictive distribution, where a count that sits on an edge is cut by chance.
Seconds are the processor's, of one thread. Lines of JSON go to results/length.jsonl.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData, read_h5ad
from torch import Tensor

from benchmarks import data, quality, results
from benchmarks.rivals import ScviFace, trained_scvi
from nbvae import NBVAE, GenerativeOutput, Trainer, nb_sample
from nbvae.data.datasets import _most_variable
from nbvae.module.protocol import LatentModule
from nbvae.train import settings

FILE = results.FOLDER / "length.jsonl"
SETS = {  # with their seeds
    "PBMC 3k, by dispersion": (0, 1, 2, 3),
    "sample": (0, 1, 2),
    "PBMC 3k, seurat_v3": (0, 1),
    "3000x2000": (0, 1, 2),
    "68579x2000": (0,),
}
WITH_ALL_WAYS = ("PBMC 3k, by dispersion", "sample")
LENGTHS, SD, RIVALS_SEEDS = (1, 2, 4), 0.5, 3
RIVALS_EPOCHS, LARGE, EPOCHS_IF_LARGE = 400, 20_000, 30  # it stops itself, or would take hours
OURS, WITH_PRIOR, RIVAL = "nbvae", f"nbvae, theta_prior={SD}", "scvi-tools, its best"
FASTER_RIVAL = f"{RIVAL}, learning_rate=1e-2"
RIVALS = {RIVAL: 5e-3, FASTER_RIVAL: 1e-2}
ESTIMATED = "nbvae, theta_prior=estimated"
AT_ONE_RATE = f"{ESTIMATED}, theta no faster"
SLOWER = f"{WITH_PRIOR}, learning_rate=5e-3"  # twice as long only
DRAWS, CELLS = 200, 150  # of the intervals


def load(name: str, pbmc3k: Path) -> AnnData:
    """Load a set; of PBMC 3k the 2,000 genes that a rule takes to be variable."""
    if not name.startswith("PBMC"):
        return data.load(name)
    adata = read_h5ad(pbmc3k)
    if name.endswith("dispersion"):
        return _most_variable(adata, 2000)
    adata = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= 3].copy()
    chosen = sc.pp.highly_variable_genes(adata, n_top_genes=2000, flavor="seurat_v3", inplace=False)
    return adata[:, chosen.highly_variable.to_numpy()].copy()


def ours(train: AnnData, seed: int, way: str, times: int) -> tuple[LatentModule, int]:
    """Train so many times as long as by default. Returns the module and the epochs."""
    module = NBVAE.for_counts(train, seed=seed)
    default = Trainer().settings.epochs_for(int(0.9 * train.n_obs))
    trainer = Trainer(
        max_epochs=times * default,
        theta_prior={OURS: None, ESTIMATED: "estimated", AT_ONE_RATE: "estimated"}.get(way, SD),
        learning_rate=5e-3 if way == SLOWER else 1e-2,
        seed=seed,
        device="cpu",
        progress=False,
    )
    faster = 1.0 if way == AT_ONE_RATE else settings.FASTER_THETA
    with mock.patch.object(settings, "FASTER_THETA", faster):
        return module, len(trainer.fit(module, train))


def rival(train: AnnData, seed: int, rate: float) -> tuple[LatentModule, int]:
    """Train scvi-tools' model by its best setting; its best weights are ours to keep."""
    lowest, weights = float("inf"), {}

    def keep_best(trainer: Any, plan: Any) -> None:
        nonlocal lowest, weights
        value = float(trainer.callback_metrics["elbo_validation"])
        if value < lowest:
            lowest, weights = value, copy.deepcopy(plan.module.state_dict())

    model = trained_scvi(
        train,
        seed,
        keep_best,
        max_epochs=RIVALS_EPOCHS if train.n_obs < LARGE else EPOCHS_IF_LARGE,
        early_stopping=True,
        check_val_every_n_epoch=1,
        plan_kwargs={"lr": rate, "n_epochs_kl_warmup": None},
    )
    model.module.load_state_dict(weights)
    return ScviFace(model.module).eval(), len(model.history["elbo_validation"])


@torch.no_grad()
def coverage(module: Any, test: AnnData) -> float:
    """How many counts lie in the middle 90 % of their predictive distribution (see coverage.py)."""
    x = torch.from_numpy(test.X[:CELLS].toarray()).float()
    return share_inside(x, inferred(module, x))


def inferred(module: Any, counts: Tensor) -> Callable[[], GenerativeOutput]:
    """Return what predicts counts anew each time, with z from these counts."""
    library = counts.sum(dim=1, keepdim=True)
    return lambda: module.generative(module.inference(counts).z, library)


def share_inside(x: Tensor, predict: Callable[[], GenerativeOutput], draws: int = DRAWS) -> float:
    """How many of the counts lie in the middle 90 % of what is drawn from the predictions.

    The place of a count among draws is drawn evenly from its step, so that 90 % is right even for
    small counts.
    """
    torch.manual_seed(0)
    below, equal, mean = (torch.zeros_like(x) for _ in range(3))
    for _ in range(draws):
        p = predict()
        assert p.log_theta is not None  # there is one: the likelihood is "nb"
        drawn = nb_sample(p.log_px_mean, p.log_theta)
        below += drawn < x
        equal += drawn == x
        mean += p.log_px_mean.exp() / draws
    place = (below + torch.rand_like(x) * (equal + 1)) / (draws + 1)
    inside = (place > 0.05) & (place < 0.95)
    return inside[mean >= 1].float().mean().item()


def ways(name: str, seed: int) -> Iterator[tuple[str, int]]:
    """Go through ways and lengths; the dearest with few seeds, or on one set, only."""
    yield from ((way, times) for times in (1, 2) for way in (OURS, ESTIMATED))
    if name in WITH_ALL_WAYS:
        yield from ((way, times) for times in (1, 2) for way in (WITH_PRIOR, AT_ONE_RATE))
    if seed < RIVALS_SEEDS:
        yield RIVAL, 1
        if name == "sample":
            yield FASTER_RIVAL, 1
    if seed == 0 and name == WITH_ALL_WAYS[0]:
        yield from ((OURS, 4), (WITH_PRIOR, 4), (ESTIMATED, 4), (SLOWER, 2))


def run(adata: AnnData, seed: int, way: str, times: int) -> dict[str, Any]:
    """Train one way, and judge it by cells that it never saw."""
    train, test = data.split(adata, seed)
    start = process_time()
    if way in RIVALS:
        module, epochs = rival(train.copy(), seed, RIVALS[way])
    else:
        module, epochs = ours(train, seed, way, times)
    seconds = process_time() - start
    scores = {**quality.of_counts(module, test), "coverage": coverage(module, test)}
    return {"epochs": epochs, "cpu_s": seconds, **scores}


def run_all(pbmc3k: Path, pattern: str = "*") -> None:
    """Run what is not there yet, scvi-tools last; a result is kept as soon as it is there."""
    names = "data", "seed", "way", "times"
    there = [tuple(map(line.get, names)) for line in results.stored(FILE.parent, FILE.name)]
    every = [(name, seed, *way) for name in SETS for seed in SETS[name] for way in ways(name, seed)]
    for what in sorted(every, key=lambda what: what[2] in RIVALS):
        if what not in there and fnmatch("/".join(map(str, what)), pattern):
            found = run(load(what[0], pbmc3k), *what[1:])
            results.keep(FILE, dict(zip(names, what, strict=True)) | found)


def main() -> None:
    """Run what is not there yet, or show what is."""
    match sys.argv[1:]:
        case ["run", file, *pattern]:
            torch.set_num_threads(1)
            run_all(Path(file), *pattern)
        case ["show"]:
            found = pd.DataFrame(results.stored(FILE.parent, FILE.name))
            draw(found)
            FILE.with_suffix(".md").write_text(text(found), encoding="utf-8")
        case _:
            sys.exit(__doc__)


COLUMNS: results.Columns = {
    "−ELBO": ("neg_elbo", "{:.1f}"),
    "bound": ("bound", "{:.1f}"),
    "KL": ("kl", "{:.1f}"),
    "dimensions": ("dimensions_in_use", "{:.0f}"),
    "in 90 % intervals": ("coverage", "{:.1%}"),
    "epochs": ("epochs", "{:.0f}"),
    "seconds": ("cpu_s", "{:.1f}"),
}
ENDS = {"neg_elbo": "−ELBO", "bound": "bound"}
RUN = ["data", "way", "times"]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table by set, way and length, as they are listed."""
    return table.reindex(product(SETS, WAYS, LENGTHS)).dropna(how="all")


def against_default(found: pd.DataFrame) -> pd.DataFrame:
    """Subtract from −ELBO and bound those of the default with the same seed: less is better."""
    default = found[(found.way == OURS) & (found.times == 1)].set_index(["data", "seed"])
    base = default.loc[list(zip(found.data, found.seed, strict=True)), [*ENDS]]
    return found.assign(**found[[*ENDS]] - base.to_numpy())


def text(found: pd.DataFrame) -> str:
    """Compose the report."""
    fields = [field for field, _ in COLUMNS.values()]
    shown = results.shown(in_order(found.groupby(RUN)[fields].mean()), COLUMNS)
    by_seed = against_default(found).groupby(RUN)
    for column, name in ENDS.items():
        shown[f"{name} − default's"] = by_seed[column].agg(results.ranged("{:+.1f}"))
    shown = shown.assign(seeds=by_seed.size()).reset_index()
    shown["times"] = shown.times.map("{}×".format).mask(shown.way.isin(RIVALS), "")
    about = (__doc__ or "").split("\n\n")[2].strip()
    figure = "![−ELBO and bound against length](length.png)"
    how = (
        "Means over the seeds. A seed chooses the cells that judge, too: compare the differences "
        "from the default with the same seed, whose range is in brackets."
    )
    return results.document("# How long to train", about, how, figure, results.markdown(shown))


WAYS = {
    OURS: "#0072B2",
    WITH_PRIOR: "#009E73",
    ESTIMATED: "#E69F00",
    AT_ONE_RATE: "#000000",
    SLOWER: "#CC79A7",
    RIVAL: "#D55E00",
    FASTER_RIVAL: "#F0A884",
}


def draw(found: pd.DataFrame) -> None:
    """Draw −ELBO and bound against length, a panel per set."""
    plt.switch_backend("agg")
    table = in_order(against_default(found).groupby(RUN)[[*ENDS]].mean())
    names = table.index.unique("data")
    size = (3.4 * len(names), 3.6)
    figure, axes = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for ax, name in zip(axes[0], names, strict=True):
        for way, curve in table.loc[name].groupby("way", sort=False):
            curve = curve.droplevel("way")
            for column, style in (("neg_elbo", "o-"), ("bound", "s--")):
                label, colour = f"{way}: {ENDS[column]}", WAYS[way]
                if way in RIVALS:
                    ax.axhline(curve[column].iloc[0], color=colour, ls=style[1:], label=label)
                else:
                    ax.plot(curve.index, curve[column], style, color=colour, label=label)
        ax.set(title=name, xlabel="length ÷ default", xscale="log", ylabel="nats − default's")
        ax.set_xlim(0.9, 4.5)
        ax.set_xticks(LENGTHS, [f"{n}×" for n in LENGTHS])
        ax.minorticks_off()
    lines = axes[0][0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(FILE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
