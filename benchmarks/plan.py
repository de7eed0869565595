"""What is measured by default, and in which order."""

from argparse import Namespace
from collections.abc import Iterator
from typing import NamedTuple

SAMPLE, SMALL, LARGE = "sample", "3000x2000", "68579x2000"
ALL = [SAMPLE, SMALL, LARGE]
SIZES = [f"{cells}x2000" for cells in (1000, 4000, 16000, 68579)]
SIZES += [f"4000x{genes}" for genes in (500, 1000, 4000, 8000)]
OURS = ["nbvae", "plain", "textbook"]

# Settings of scvi-tools' training plan. By default the learning rate is 1e-3 and the weight of the
# KL term rises over 400 epochs; without that rise, it needs far fewer epochs.
RATES = ["3e-3", "5e-3", "1e-2"]
SCVI_PLANS: dict[str, dict[str, float | None]] = {
    "scvi": {},
    **{f"scvi lr={r}": {"lr": float(r)} for r in RATES},
    **{f"scvi lr={r}, no warm-up": {"lr": float(r), "n_epochs_kl_warmup": None} for r in RATES},
}
PCAS = {  # of transformed counts, ten components: what one has without a model
    "pca median": "PCA, log(1 + x) at the median library",
    "pca 1e4": "PCA, log(1 + x) at 10,000",
    "pca pearson": "PCA of Pearson residuals",
}
RIVALS = [*OURS, *SCVI_PLANS, *PCAS, "pytorch"]  # as the report lists them


class Spec(NamedTuple):
    """What one process measures; no two measurements have the same."""

    kind: str
    data: str
    rival: str
    seed: int
    max_epochs: int | None
    device: str
    threads: int


PARTS = {  # of kinds of measurement, each on some data sets, of some rivals, in so many rounds
    "speed": [("speed", ALL, [*OURS, "scvi"], 5)],
    "scaling": [("speed", SIZES, ["nbvae", "scvi"], 3)],
    "floor": [("floor", [SAMPLE, SMALL], ["nbvae"], 1)],
    "inside": [
        ("shares", [SMALL], ["nbvae", "textbook", "scvi"], 1),
        ("operators", [SAMPLE], ["pytorch"], 1),
    ],
    "pca": [("pca", ALL, list(PCAS), 3)],
    "quality": [("quality", ALL, ["nbvae", "plain", *SCVI_PLANS], 3)],
}


def specs(part: str, chosen: Namespace) -> Iterator[Spec]:
    """Go through the rivals round by round, each time beginning with another one.

    A slow minute of the machine then hits all rivals alike, and rounds give paired ratios.
    """
    for kind, sets, rivals, rounds in PARTS.get(part, []):  # none for "report"
        for data in sets if kind == "operators" else chosen.data or sets:
            these = chosen.rivals if chosen.rivals and len(rivals) > 1 else rivals
            if kind == "quality" and data == LARGE and not chosen.rivals:
                these = ["nbvae", "scvi"]  # a run takes scvi-tools half an hour
            epochs = chosen.max_epochs or (few_epochs(data) if kind == "speed" else None)
            for seed in range(chosen.rounds or rounds):
                first = seed % len(these)
                for rival in these[first:] + these[:first]:
                    yield Spec(kind, data, rival, seed, epochs, chosen.device, chosen.threads)


def few_epochs(data: str) -> int:
    """How many epochs tell the speed: some 30,000 cells' worth, within 3 and 40."""
    size = data.partition("x")[0]
    cells = int(size) if size.isdigit() else 700 if data == SAMPLE else 3000
    return min(40, max(3, 30_000 // cells))
