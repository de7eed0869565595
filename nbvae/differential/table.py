"""Differential expression: the table that a user gets."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from nbvae._arguments import one_of, whole_number
from nbvae.data.covariates import Way
from nbvae.data.minibatches import CellTable
from nbvae.differential.estimate import compared, moments, side_of
from nbvae.differential.groups import (
    Groups,
    chosen_groups,
    refuse_single,
    replicates_of,
    warn_if_batches,
)
from nbvae.differential.pairs import compare_pairs
from nbvae.differential.prior import expected_fdr, fitted_weights, posterior
from nbvae.module.decoding import known_decoding, taken_out
from nbvae.module.evaluating import BATCH_SIZE, evaluating
from nbvae.module.protocol import LatentModule

NOT_EXPRESSED = 0.01  # counts per cell; below it scvi-tools also calls a gene not expressed
RULES = ("groups", "pairs")


def differential_expression(
    module: LatentModule,
    adata: AnnData,
    group1: Any,
    group2: Any = None,
    *,
    layer: str | None = None,
    groupby: str | None = None,
    rule: str = "groups",
    replicates: str | None = None,
    covariates: Way = "all",
    delta: float = 0.25,
    fdr: float = 0.05,
    n_samples: int = 5000,
    seed: int = 0,
    pseudocount: float | None = None,
) -> pd.DataFrame:
    """Find the genes whose share of the counts differs between two groups of cells.

    ``rule="groups"`` asks whether the *mean* shares of the groups differ, in the cells that these
    were drawn from, by an LFC = log₂(ρ̄₁ + c) − log₂(ρ̄₂ + c) of δ or more. The LFC is the mean of
    the model's (ρ over cells and draws of z from q) and of the counts' own; its standard deviation
    is made of the spread over cells and states, ÷ (n − 1), and of what the likelihood leaves to
    chance in the counts (``differential/estimate.py``). A prior that is fitted to all genes
    (Stephens 2017, doi:10.1093/biostatistics/kxw041) turns both into ``proba_de``, the larger of
    P(LFC ≥ δ) and P(LFC ≤ −δ): between two random halves it learns that nothing differs.

    ``rule="pairs"`` asks whether *a cell* of one group and one of the other differ: ``proba_de``
    is P(|LFC| > δ) over random pairs and draws of z. That is the "change" mode of scvi-tools with
    ``test_mode="two"`` (Boyeau et al. 2019, doi:10.1101/794289); by default they take the larger
    of P(LFC ≥ δ) and P(LFC < −δ). It is also large where cells differ within each group.

    Genes are called, the surest first, while the mean of 1 − p over those called, the share of
    false calls that is expected, stays at or below ``fdr``.

    What that controls: the share of genes among those called whose LFC is below δ or of the other
    sign; as an expectation, given the model's likelihood and if its LFC errs no more than that of
    the counts; over all genes, so not within a few that were picked from the table. What it does
    not: groups that were chosen by looking at the same counts, such as clusters; counts that the
    model does not describe; and donors. p speaks of cells: with cells of one donor per group it
    can't tell a group's difference from a donor's. ``replicates`` makes it speak of donors. Where
    donors are what counts, limma, on the sums of each donor, finds more (benchmarks/donors.py).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        group1: the cells of the first group: a mask, row numbers or names; with ``groupby`` a
            value of that column, or several.
        group2: those of the second, likewise; all other cells when left out (with ``groupby``,
            those that have another value).
        layer: the layer that holds the counts; the module's own when left out.
        groupby: a column of ``obs`` that holds the groups' names.
        rule: "groups" or "pairs".
        replicates: a column of ``obs``, the donors, say. Then donors were drawn, not cells: each
            counts alike, and the spread between them decides. For ``rule="groups"``.
        covariates: "own" decodes each cell with its own; a level, or {"donor": "d1"}, as if all
            cells had that; "all" with each combination of levels, averaged (a random one for each
            pair; numbers at their means), so that a difference between batches is not one between
            groups; {"batch": "all"} with each level of one. Without covariates all are the same.
        delta: δ, the smallest |LFC| that counts as a difference; 0.25 is 19 %.
        fdr: the share of false calls that is accepted.
        n_samples: draws of z for each group, spread over its cells, at least one of each; or pairs.
        seed: seed of the draws.
        pseudocount: c, a share; it draws the LFC of genes towards 0 that hardly occur in either
            group. By default the share with which a gene has 0.01 counts in a mean cell.

    Returns:
        One row per gene, the surest first: ``proba_de`` (p), ``lfc_mean`` and ``lfc_std`` (of the
        LFC, given all of that; positive where group 1 has more), ``lfc_alone`` and ``lfc_error``
        (the estimate and its standard deviation before the other genes are heard; for groups),
        ``lfc_model`` and ``lfc_raw`` (that of the model, for groups, and that of the counts),
        ``scale1`` and ``scale2`` (mean ρ), ``raw_mean1`` and ``raw_mean2`` (counts per cell),
        ``non_zeros_proportion1`` and ``…2`` (cells that have the gene), ``expected_fdr`` (if this
        gene and those above are called) and ``is_de`` (called).

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a cell, a column, a value of it, or the layer is not there.
        ValueError: as in ``CellTable.of``; a group is empty, overlaps the other, or has a single
            cell or replicate; a number is out of its range, or a word unknown.

    Warns:
        UserWarning: the groups are of different levels of the covariate, and these are taken out.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    rule, covariates = one_of("rule", rule, RULES), known_decoding(module, covariates)
    _check(rule, replicates, delta, fdr, pseudocount)
    chosen = chosen_groups(adata, group1, group2, groupby)
    table = CellTable.of(adata, module, layer=layer)
    warn_if_batches(adata, chosen, taken_out(module, covariates))
    if pseudocount is None:
        pseudocount = NOT_EXPRESSED / table.library(np.arange(table.n_cells)).mean()
    raw = _raw_columns(table, chosen, pseudocount)
    with evaluating(module, seed=seed):
        if rule == "pairs":
            columns = compare_pairs(
                module,
                table,
                chosen,
                covariates=covariates,
                delta=delta,
                pseudocount=pseudocount,
                n_samples=n_samples,
                seed=seed,
            )
        else:
            parts = _parts(adata, chosen, replicates)
            columns = _compare_groups(
                module, table, parts, covariates, delta, pseudocount, n_samples
            )
    return _called(pd.DataFrame(columns | raw, index=table.genes), fdr)


def _compare_groups(
    module: LatentModule,
    table: CellTable,
    parts: list[dict[str, np.ndarray]],
    covariates: Way,
    delta: float,
    pseudocount: float,
    n_samples: int,
) -> dict[str, np.ndarray]:
    """Estimate each LFC, fit the prior to all of them, and combine the two."""
    sides = []
    for part in parts:
        drawn = [moments(module, table, rows, covariates, n_samples) for rows in part.values()]
        sides.append(side_of(drawn))
    first, second = sides
    found = compared(first, second, pseudocount, parts if len(parts[0]) > 1 else ())
    weights = fitted_weights(found.lfc, found.sd)
    known = posterior(found.lfc, found.sd, weights, delta)
    return {
        "proba_de": np.maximum(known.up, known.down),
        "lfc_mean": known.mean,
        "lfc_std": known.sd,
        "lfc_alone": found.lfc,
        "lfc_error": found.sd,
        "lfc_model": np.log2(first.scale + pseudocount) - np.log2(second.scale + pseudocount),
        "scale1": first.scale,
        "scale2": second.scale,
    }


def _parts(adata: AnnData, chosen: Groups, replicates: str | None) -> list[dict[str, np.ndarray]]:
    """Divide each group into its replicates, by name; into one part without any."""
    if replicates is None:
        refuse_single(adata, chosen)
        return [{"": rows} for rows in chosen]
    parts = []
    for argument, rows in zip(("group1", "group2"), chosen, strict=True):
        labels = replicates_of(adata, rows, replicates, argument)
        parts.append({name: rows[labels == name] for name in sorted(set(labels))})
    return parts


def _raw_columns(table: CellTable, chosen: Groups, pseudocount: float) -> dict[str, np.ndarray]:
    """Say what the counts themselves show of each gene in each group."""
    columns, log_share = {}, []
    for i, rows in enumerate(chosen, start=1):
        total, n_above_0 = np.zeros((2, table.counts.shape[1]))
        for m in table.minibatches(rows, BATCH_SIZE):
            total += np.asarray(m.counts.sum(axis=0, dtype=float)).ravel()
            n_above_0 += m.counts.getnnz(axis=0)
        columns[f"raw_mean{i}"] = total / len(rows)
        columns[f"non_zeros_proportion{i}"] = n_above_0 / len(rows)
        log_share.append(np.log2(total / table.library(rows).sum() + pseudocount))
    return {"lfc_raw": log_share[0] - log_share[1], **columns}


def _called(genes: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """Put the surest genes first and call as many as the FDR allows."""
    genes = genes.iloc[np.lexsort([-genes["lfc_mean"].abs(), -genes["proba_de"]])]
    genes = genes.assign(expected_fdr=expected_fdr(genes["proba_de"].to_numpy()))
    return genes.assign(is_de=genes["expected_fdr"] <= fdr)


def _check(
    rule: str, replicates: str | None, delta: float, fdr: float, pseudocount: float | None
) -> None:
    if rule == "pairs" and replicates is not None:
        raise ValueError("rule='pairs' compares cells and knows no replicates: leave one out.")
    if not delta >= 0:
        raise ValueError(f"delta must be at least 0, not {delta}.")
    if not 0 <= fdr <= 1:
        raise ValueError(f"fdr must be between 0 and 1, not {fdr}.")
    if pseudocount is not None and not pseudocount > 0:
        raise ValueError(f"pseudocount must be above 0, not {pseudocount}.")
