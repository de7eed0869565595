"""The living figure of chapter 9: differential expression."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from nbvae.teaching.living.figure import LivingFigure, packed


def volcano(
    tables: Mapping[tuple[str, str], pd.DataFrame],
    *,
    gene: str,
    markers: Sequence[str] = (),
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader choose groups, δ and FDR; the page calls the genes by the package's rule.

    Args:
        tables: for each pair of groups, by the names that the reader sees, what
            ``differential_expression`` returned, of the same genes.
        gene: which to show first, by name.
        markers: genes that the list of names begins with.
        still: the picture for where scripts do not run.

    """
    names = sorted(next(iter(tables.values())).index)
    pairs, means = [], {}
    for groups, table in tables.items():
        table = table.loc[names]
        pairs.append([*groups, packed(table["lfc_alone"]), packed(table["lfc_error"])])
        for group, column in zip(groups, ("raw_mean1", "raw_mean2"), strict=True):
            means[group] = packed(table[column], "<f2")
    values = {"names": names, "gene": gene, "markers": list(markers), "means": means}
    return LivingFigure(
        "volcano", "Differential expression", values, trained={"pairs": pairs}, still=still
    )
