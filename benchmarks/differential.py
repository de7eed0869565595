"""Is differential expression honest, what does it find: `python -m benchmarks.differential`.

Everything is drawn with known truth, or from real cells that were split at random, and writes
results/differential.md. A call is false if the LFC of the groups' mean shares is below δ = 0.25 or
of the other sign. The rules:

- groups, pairs: `differential_expression` by its two rules.
- one-sided pairs: the larger of P(LFC ≥ δ) and P(LFC ≤ −δ), which scvi-tools' "change" mode takes
  by default (`test_mode="three"`; `test_mode="two"` is pairs), by its definition, from draws of the
  same module (Boyeau et al. 2019). Called by the same expected FDR.
- Wilcoxon: rank sums of log1p of counts at the median library, Benjamini & Hochberg.
- pseudobulk: each group in four parts at random, Welch's t-test of log₂ shares, Benjamini &
  Hochberg. Parts of one population differ as little as cells do, which is the test's best case.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from benchmarks import calls, data, results
from benchmarks.calls import DELTA, Found
from benchmarks.rivals import trained
from nbvae import NBVAE, datasets, evaluation
from nbvae.expression import denoised, differential_expression, expected_fdr

LEVELS, SEEDS, SPLITS, PARTS = (0.05, 0.1, 0.2), 5, 20, 4
OTHERS_SPLITS = 5  # of the rules that are compared with
KINDS = {
    "B / NK": ("CD19+ B", "CD56+ NK"),
    "B / monocytes": ("CD19+ B", "CD14+ Monocyte"),
    "monocytes / dendritic": ("CD14+ Monocyte", "Dendritic"),
    "naive / cytotoxic CD8": ("CD8+/CD45RA+ Naive Cytotoxic", "CD8+ Cytotoxic T"),
}
RESULT = results.FOLDER / "differential.md"
Rule = Callable[[NBVAE, AnnData, np.ndarray, np.ndarray], Found]


class Case(NamedTuple):
    """Two groups of cells and the true LFC of each gene between them."""

    name: str
    module: NBVAE
    adata: AnnData
    rows1: np.ndarray
    rows2: np.ndarray
    truth: np.ndarray


def mixed_kinds(seed: int, n_cells: int = 2000) -> AnnData:
    """Twenty kinds of cells, Poisson counts, library 2,000, 100 genes."""
    rng = np.random.default_rng([1, seed])
    shares = np.exp(rng.normal(0, 1.2, 100) + rng.normal(0, 1, (20, 100)))
    shares /= shares.sum(axis=1, keepdims=True)
    return data.table_of(rng.poisson(2000 * shares[rng.integers(20, size=n_cells)]))


def one_kind(seed: int, n_cells: int = 1000) -> AnnData:
    """One kind of cells, 2,000 genes, negative binomial with θ = 5, libraries about 2,000."""
    rng = np.random.default_rng([2, seed])
    share = np.exp(rng.normal(0, 1.8, 2000))
    library = np.exp(rng.normal(np.log(2000), 0.4, (n_cells, 1)))
    rate = library * share / share.sum() * rng.gamma(5, 1 / 5, (n_cells, 2000))
    return data.table_of(rng.poisson(rate))


def halves() -> Iterator[Case]:
    """Split cells at random, twenty times: into halves, and into two groups of ten."""
    sample = datasets.pbmc68k_sample()
    sets = {"20 kinds": mixed_kinds(0), "one kind": one_kind(0), "sample": sample}
    for name, adata in sets.items():
        module, none = trained(adata, 0), np.zeros(adata.n_vars)
        for n, split in product((adata.n_obs // 2, 10), range(SPLITS)):
            rows = np.random.default_rng([3, split]).permutation(adata.n_obs)
            yield Case(f"{name}, {n} and {n}", module, adata, rows[:n], rows[n : 2 * n], none)


def known_model() -> Iterator[Case]:
    """Counts drawn from a model of the sample; another one is trained on them."""
    sample = datasets.pbmc68k_sample()
    kinds = sample.obs["cell_type"].to_numpy()
    for seed in range(SEEDS):
        source = trained(sample, seed)
        torch.manual_seed(seed)
        mean, sd = map(torch.from_numpy, evaluation.encode(source, sample)[:2])
        z = mean + sd * torch.randn(sd.shape)
        with torch.no_grad():
            p = source.generative(z, torch.from_numpy(np.asarray(sample.X.sum(axis=1))))
            counts = source.likelihood.sample(p).numpy()
        keep = counts.sum(axis=1) > 0
        cells = sample.obs[keep]
        true, drawn = (
            p.px_scale.double().numpy()[keep],
            data.table_of(counts[keep], cells, sample.var),
        )
        module, c = trained(drawn, seed), pseudocount(drawn)
        for name, pair in KINDS.items():
            rows = [np.flatnonzero(kinds[keep] == kind) for kind in pair]
            logs = [np.log2(true[r].mean(axis=0) + c) for r in rows]
            yield Case(name, module, drawn, rows[0], rows[1], logs[0] - logs[1])


def thinned() -> Iterator[Case]:
    """Halves of real cells; a fifth of the genes is thinned in one half or the other."""
    sample = datasets.pbmc68k_sample()
    pools = {
        "all cells": np.arange(sample.n_obs),
        "dendritic": np.flatnonzero(sample.obs["cell_type"] == "Dendritic"),
    }
    for name, pool in pools.items():
        for seed in range(SEEDS):
            rng = np.random.default_rng([7, seed])
            rows = np.array_split(rng.permutation(pool), 2)
            kept = calls.kept_of(sample.n_vars, rng)
            counts = sample.X.toarray().astype(int)
            share = counts[pool].sum(axis=0) / counts[pool].sum()
            for side in (0, 1):
                counts[rows[side]] = rng.binomial(counts[rows[side]], kept[side])
            total = np.log2((share * kept).sum(axis=1, keepdims=True))
            true = np.subtract(*(np.log2(kept) - total))
            adata = data.table_of(counts, sample.obs, sample.var)
            yield Case(f"thinned, {name}", trained(adata, seed), adata, rows[0], rows[1], true)


def pseudocount(adata: AnnData) -> float:
    return float(0.01 / (adata.X.sum() / adata.n_obs))


def by_package(rule: str) -> Rule:
    def called(module: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray) -> Found:
        table = differential_expression(module, adata, rows1, rows2, rule=rule)
        return calls.fdr_and_lfc(table, adata)

    return called


def one_sided(module: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray) -> Found:
    rng, c = np.random.default_rng(0), pseudocount(adata)
    cells = [adata[rng.choice(rows, 5000)].copy() for rows in (rows1, rows2)]
    one, other = (
        np.log2(denoised(module, some, n_samples=1, seed=side) + c)
        for side, some in enumerate(cells)
    )
    lfc = one - other
    p = np.maximum((lfc >= DELTA).mean(axis=0), (lfc <= -DELTA).mean(axis=0))
    order, fdr = np.argsort(-p), np.empty(len(p))
    fdr[order] = expected_fdr(p[order])
    return fdr, lfc.mean(axis=0)


def pseudobulk(_: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray) -> Found:
    rng = np.random.default_rng(0)
    parts = [np.array_split(rng.permutation(rows), PARTS) for rows in (rows1, rows2)]
    return calls.welch(*(calls.sums(adata, rows) for rows in parts))


RULES: dict[str, Rule] = {
    "groups": by_package("groups"),
    "pairs": by_package("pairs"),
    "one-sided pairs": one_sided,
    "Wilcoxon": lambda _, *cells: calls.wilcoxon(*cells),
    "pseudobulk": pseudobulk,
}


def measured(cases: Iterator[Case], others: int | None = None) -> pd.DataFrame:
    """Count true and false calls of each rule on each case; of most rules, on the first ones."""
    rows, seen = [], Counter[str]()
    for case in cases:
        seen[case.name] += 1
        for rule, judge in RULES.items():
            if rule != "groups" and others is not None and seen[case.name] > others:
                continue
            start = perf_counter()
            fdr, lfc = judge(case.module, case.adata, case.rows1, case.rows2)
            row = {"case": case.name, "rule": rule, "seconds": perf_counter() - start}
            for level in LEVELS:
                count = calls.count(fdr, lfc, case.truth, level)
                rows.append({**row, "level": level, "share": count["called"] / len(fdr), **count})
        print(case.name, seen[case.name], flush=True)
    return pd.DataFrame(rows)


def of_nothing(runs: pd.DataFrame) -> str:
    """Tabulate the share of genes called: mean over splits, and the worst split."""
    share = runs.groupby(["case", "rule", "level"], sort=False).share
    table = share.agg(lambda some: f"{some.mean():.2%} (≤ {some.max():.1%})").unstack(sort=False)
    return results.markdown(table.add_prefix("at ").reset_index(names=["cells", "rule"]))


def of_something(runs: pd.DataFrame) -> str:
    """Tabulate true calls and the share of false ones at each level."""
    true, share = calls.true_and_false(runs, ["case", "rule", "level"])
    table = (true + ", " + share).unstack(sort=False)
    table = table.add_prefix("at ").add_suffix(": true, false")
    seconds = runs.groupby(["case", "rule"], sort=False).seconds.median()
    table = table.assign(s=seconds.map("{:.2g}".format))
    return results.markdown(table.reset_index(names=["groups", "rule"]))


def seconds() -> str:
    """Time a call; the module is not trained, which takes no less time."""
    rows = []
    for name in ("sample", "2700x2000"):
        adata = data.load(name)
        module, kind = NBVAE.for_counts(adata), adata.obs["cell_type"] == "CD19+ B"
        evaluation.encode(module, adata)  # warm
        for rule in ("groups", "pairs"):
            start = perf_counter()
            differential_expression(module, adata, kind, rule=rule)
            rows.append((name, rule, f"{perf_counter() - start:.2g}"))
    return results.markdown(pd.DataFrame(rows, columns=["data", "rule", "s, B against the rest"]))


def main() -> None:
    """Measure everything and write the report."""
    torch.set_num_threads(1)
    report = results.document(
        "# Differential expression",
        results.about(__doc__),
        "## Where nothing differs",
        f"Genes called, mean and worst of {SPLITS} splits ({OTHERS_SPLITS} for all rules but "
        "groups).",
        of_nothing(measured(halves(), OTHERS_SPLITS)),
        "## Counts drawn from a known model",
        f"Means over {SEEDS} seeds; s per call.",
        of_something(measured(known_model())),
        "## Real cells, thinned",
        f"A fifth of the genes is thinned; {SEEDS} seeds.",
        of_something(measured(thinned())),
        "## Seconds per call",
        "One thread.",
        seconds(),
    )
    RESULT.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
