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

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse, stats

from benchmarks import data, results
from nbvae import NBVAE, Trainer, datasets, evaluation
from nbvae.expression import denoised, differential_expression, expected_fdr

DELTA, LEVELS, SEEDS, SPLITS, PARTS = 0.25, (0.05, 0.1, 0.2), 5, 20, 4
OTHERS_SPLITS = 5  # of the rules that are compared with
KINDS = {
    "B / NK": ("CD19+ B", "CD56+ NK"),
    "B / monocytes": ("CD19+ B", "CD14+ Monocyte"),
    "monocytes / dendritic": ("CD14+ Monocyte", "Dendritic"),
    "naive / cytotoxic CD8": ("CD8+/CD45RA+ Naive Cytotoxic", "CD8+ Cytotoxic T"),
}
RESULT = results.FOLDER / "differential.md"
Rule = Callable[[NBVAE, AnnData, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Case(NamedTuple):
    """Two groups of cells and the true LFC of each gene between them."""

    name: str
    module: NBVAE
    adata: AnnData
    rows1: np.ndarray
    rows2: np.ndarray
    truth: np.ndarray


def trained(adata: AnnData, seed: int) -> NBVAE:
    torch.manual_seed(seed)
    module = NBVAE.for_counts(adata)
    Trainer(seed=seed, device="cpu", progress=False).fit(module, adata)
    return module


def table_of(counts: np.ndarray, like: AnnData | None = None) -> AnnData:
    """Make an AnnData of counts, with the cells and genes of another one."""
    matrix = sparse.csr_matrix(counts.astype(np.float32))
    if like is not None:
        return AnnData(matrix, like.obs.copy(), like.var.copy())
    n_cells, n_genes = counts.shape
    obs = pd.DataFrame(index=[f"cell-{i}" for i in range(n_cells)])
    return AnnData(matrix, obs, pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]))


# ---------------------------------------------------------------- nothing differs


def mixed_kinds(seed: int, n_cells: int = 2000) -> AnnData:
    """Twenty kinds of cells, Poisson counts, library 2,000, 100 genes."""
    rng = np.random.default_rng([1, seed])
    shares = np.exp(rng.normal(0, 1.2, 100) + rng.normal(0, 1, (20, 100)))
    shares /= shares.sum(axis=1, keepdims=True)
    return table_of(rng.poisson(2000 * shares[rng.integers(20, size=n_cells)]))


def one_kind(seed: int, n_cells: int = 1000) -> AnnData:
    """One kind of cells, 2,000 genes, negative binomial with θ = 5, libraries about 2,000."""
    rng = np.random.default_rng([2, seed])
    share = np.exp(rng.normal(0, 1.8, 2000))
    library = np.exp(rng.normal(np.log(2000), 0.4, (n_cells, 1)))
    rate = library * share / share.sum() * rng.gamma(5, 1 / 5, (n_cells, 2000))
    return table_of(rng.poisson(rate))


def halves() -> Iterator[Case]:
    """Split cells at random, twenty times: into halves, and into two groups of ten."""
    sample = datasets.pbmc68k_sample()
    for name, adata in (
        ("20 kinds", mixed_kinds(0)),
        ("one kind", one_kind(0)),
        ("sample", sample),
    ):
        module, none = trained(adata, 0), np.zeros(adata.n_vars)
        for n in (adata.n_obs // 2, 10):
            for split in range(SPLITS):
                rows = np.random.default_rng([3, split]).permutation(adata.n_obs)
                title = f"{name}, {n} and {n}"
                yield Case(title, module, adata, rows[:n], rows[n : 2 * n], none)


# ---------------------------------------------------------------- known differences


def known_model() -> Iterator[Case]:
    """Counts drawn from a model of the sample; another one is trained on them."""
    sample = datasets.pbmc68k_sample()
    kinds = sample.obs["cell_type"].to_numpy()
    for seed in range(SEEDS):
        source = trained(sample, seed)
        torch.manual_seed(seed)
        latent = evaluation.encode(source, sample)
        z = torch.from_numpy(latent.mean) + torch.from_numpy(latent.sd) * torch.randn(
            latent.sd.shape
        )
        with torch.no_grad():
            p = source.generative(z, torch.from_numpy(np.asarray(sample.X.sum(axis=1))))
            counts = source.likelihood.sample(p).numpy()
        keep = counts.sum(axis=1) > 0
        true, drawn = p.px_scale.double().numpy()[keep], table_of(counts[keep], sample[keep])
        module, c = trained(drawn, seed), pseudocount(drawn)
        for name, pair in KINDS.items():
            rows = [np.flatnonzero(kinds[keep] == kind) for kind in pair]
            logs = [np.log2(true[r].mean(axis=0) + c) for r in rows]
            yield Case(name, module, drawn, rows[0], rows[1], logs[0] - logs[1])


def kept_of(n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which share of its molecules each gene keeps in either group: a fifth lose some."""
    kept = np.ones((2, n_genes))
    chosen = rng.permutation(n_genes)[: n_genes // 5]
    for side in (0, 1):
        mine = chosen[side::2]
        kept[side, mine] = 2.0 ** -(0.3 + rng.exponential(1.0, len(mine)))
    return kept


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
            kept = kept_of(sample.n_vars, rng)
            counts = sample.X.toarray().astype(int)
            share = counts[pool].sum(axis=0) / counts[pool].sum()
            for side in (0, 1):
                counts[rows[side]] = rng.binomial(counts[rows[side]], kept[side])
            total = np.log2((share * kept).sum(axis=1, keepdims=True))
            true = np.subtract(*(np.log2(kept) - total))
            adata = table_of(counts, sample)
            yield Case(f"thinned, {name}", trained(adata, seed), adata, rows[0], rows[1], true)


# ---------------------------------------------------------------- rules


def pseudocount(adata: AnnData) -> float:
    return float(0.01 / (adata.X.sum() / adata.n_obs))


def by_package(rule: str) -> Rule:
    def called(
        module: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        table = differential_expression(module, adata, rows1, rows2, rule=rule)
        table = table.loc[adata.var_names]
        return table["expected_fdr"].to_numpy(), table["lfc_mean"].to_numpy()

    return called


def one_sided(
    module: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rng, c = np.random.default_rng(0), pseudocount(adata)
    logs = [
        np.log2(denoised(module, adata[rng.choice(rows, 5000)].copy(), n_samples=1, seed=i) + c)
        for i, rows in enumerate((rows1, rows2))
    ]
    lfc = logs[0] - logs[1]
    p = np.maximum((lfc >= DELTA).mean(axis=0), (lfc <= -DELTA).mean(axis=0))
    order, fdr = np.argsort(-p), np.empty(len(p))
    fdr[order] = expected_fdr(p[order])
    return fdr, lfc.mean(axis=0)


def wilcoxon(
    _: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    counts = adata.X.toarray()
    library = counts.sum(axis=1, keepdims=True)
    logs = np.log1p(counts / library * np.median(library))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.mannwhitneyu(logs[rows1], logs[rows2], use_continuity=False).pvalue
    return adjusted(p), logs[rows1].mean(axis=0) - logs[rows2].mean(axis=0)


def pseudobulk(
    _: NBVAE, adata: AnnData, rows1: np.ndarray, rows2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rng, sides = np.random.default_rng(0), []
    for rows in (rows1, rows2):
        parts = np.array_split(rng.permutation(rows), PARTS)
        sums = np.stack([np.asarray(adata.X[part].sum(axis=0)).ravel() for part in parts])
        sides.append(np.log2((sums + 0.5) / (sums.sum(axis=1, keepdims=True) + 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.ttest_ind(*sides, equal_var=False).pvalue
    return adjusted(p), sides[0].mean(axis=0) - sides[1].mean(axis=0)


def adjusted(p: np.ndarray) -> np.ndarray:
    return np.asarray(stats.false_discovery_control(np.nan_to_num(p, nan=1.0)))


RULES: dict[str, Rule] = {
    "groups": by_package("groups"),
    "pairs": by_package("pairs"),
    "one-sided pairs": one_sided,
    "Wilcoxon": wilcoxon,
    "pseudobulk": pseudobulk,
}


# ---------------------------------------------------------------- report


def measured(cases: Iterator[Case], others: int | None = None) -> pd.DataFrame:
    """Count true and false calls of each rule on each case; of most rules, on the first ones."""
    rows, seen = [], dict[str, int]()
    for case in cases:
        seen[case.name] = seen.get(case.name, 0) + 1
        for rule, judge in RULES.items():
            if rule != "groups" and others is not None and seen[case.name] > others:
                continue
            start = perf_counter()
            fdr, lfc = judge(case.module, case.adata, case.rows1, case.rows2)
            seconds, false = perf_counter() - start, np.sign(lfc) * case.truth < DELTA
            for level in LEVELS:
                called = fdr <= level
                row = {"case": case.name, "rule": rule, "level": level, "seconds": seconds}
                share = float(called.mean())
                row |= {"called": int(called.sum()), "share": share}
                rows.append({**row, "false": int((called & false).sum())})
        print(case.name, seen[case.name], flush=True)
    return pd.DataFrame(rows)


def of_nothing(runs: pd.DataFrame) -> str:
    """Tabulate the share of genes called: mean over splits, and the worst split."""
    share = runs.groupby(["case", "rule", "level"], sort=False).share
    table = share.agg(lambda some: f"{some.mean():.2%} (≤ {some.max():.1%})").unstack(sort=False)
    return results.markdown(table.add_prefix("at ").reset_index(names=["cells", "rule"]))


def of_something(runs: pd.DataFrame) -> str:
    """Tabulate true calls, a mean over seeds, and the share of false ones among all calls."""
    rows = []
    for (case, rule), some in runs.groupby(["case", "rule"], sort=False):
        row = {"groups": case, "rule": rule}
        for level, part in some.groupby("level"):
            true, share = part.called - part.false, part.false.sum() / max(part.called.sum(), 1)
            row[f"at {level}: true, false"] = f"{true.mean():.0f}, {share:.1%}"
        rows.append({**row, "s": f"{some.seconds.median():.2g}"})
    return results.markdown(pd.DataFrame(rows))


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
    parts = [
        f"# Differential expression\n\n{results.about(__doc__)}\n",
        f"## Where nothing differs\n\nGenes called, mean and worst of {SPLITS} splits ("
        f"{OTHERS_SPLITS} for all rules but groups).\n",
        of_nothing(measured(halves(), OTHERS_SPLITS)),
        f"\n## Counts drawn from a known model\n\nMeans over {SEEDS} seeds; s per call.\n",
        of_something(measured(known_model())),
        f"\n## Real cells, thinned\n\nA fifth of the genes is thinned; {SEEDS} seeds.\n",
        of_something(measured(thinned())),
        "\n## Seconds per call\n\nOne thread.\n",
        seconds(),
    ]
    RESULT.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"Written: {RESULT}")


if __name__ == "__main__":
    main()
