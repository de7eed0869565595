"""What is measured by default. A specification is a dictionary that says what one process does."""

from collections.abc import Iterator

SAMPLE, SMALL, LARGE = "sample", "3000x2000", "68579x2000"
SPEED_RIVALS = ["nbvae", "plain", "textbook", "scvi"]
SHARES_RIVALS = ["nbvae", "textbook", "scvi"]
QUALITY_RIVALS = [
    *("nbvae", "plain", "scvi"),
    *(f"scvi lr={rate}" for rate in ("3e-3", "5e-3", "1e-2")),
    *(f"scvi lr={rate}, no warm-up" for rate in ("3e-3", "5e-3", "1e-2")),
]
LARGE_RIVALS = ["nbvae", "scvi"]  # on the large set a run takes scvi-tools half an hour
CELLS = [1000, 4000, 16000, 68579]  # at GENES_FIXED genes
GENES = [500, 1000, 2000, 4000, 8000]  # at CELLS_FIXED cells
GENES_FIXED, CELLS_FIXED = 2000, 4000
SPEED_ROUNDS, SCALING_ROUNDS, SEEDS = 5, 3, 3
FLOORS = [SAMPLE, SMALL]


def in_rounds(kind: str, sets: list[str], rivals: list[str], rounds: int) -> Iterator[dict]:
    """Go through the rivals round by round, each time beginning with another one.

    A slow minute of the machine then hits all rivals alike, and rounds give paired ratios.
    """
    for name in sets:
        for number in range(rounds):
            for place in range(len(rivals)):
                rival = rivals[(number + place) % len(rivals)]
                epochs = few_epochs(name) if kind == "speed" else None
                yield {
                    "kind": kind,
                    "data": name,
                    "rival": rival,
                    "seed": number,
                    "max_epochs": epochs,
                }


def few_epochs(name: str) -> int:
    """How many epochs tell the speed: some 30,000 cells' worth, within 3 and 40."""
    cells = name.partition("x")[0]
    if not cells.isdigit():
        return 40 if name == SAMPLE else 10
    return min(40, max(3, 30_000 // int(cells)))


def speed(
    sets: list[str] | None, rivals: list[str] | None, rounds: int | None = None
) -> Iterator[dict]:
    """Seconds an epoch, and memory."""
    sets = sets or [SAMPLE, SMALL, LARGE]
    yield from in_rounds("speed", sets, rivals or SPEED_RIVALS, rounds or SPEED_ROUNDS)


def quality(
    sets: list[str] | None, rivals: list[str] | None, rounds: int | None = None
) -> Iterator[dict]:
    """Whole runs by default settings, their curves, what came out; and PCA, on the same labels."""
    for name in sets or [SAMPLE, SMALL, LARGE]:
        these = rivals or (LARGE_RIVALS if name == LARGE else QUALITY_RIVALS)
        yield from in_rounds("pca", [name], ["pca"], rounds or SEEDS)
        yield from in_rounds("quality", [name], these, rounds or SEEDS)


def scaling(
    sets: list[str] | None, rivals: list[str] | None, rounds: int | None = None
) -> Iterator[dict]:
    """Seconds an epoch against cells and against genes."""
    sizes = [f"{cells}x{GENES_FIXED}" for cells in CELLS]
    sizes += [f"{CELLS_FIXED}x{genes}" for genes in GENES]
    sets = sets or list(dict.fromkeys(sizes))
    yield from in_rounds("speed", sets, rivals or ["nbvae", "scvi"], rounds or SCALING_ROUNDS)


def floor(
    sets: list[str] | None, rivals: list[str] | None, rounds: int | None = None
) -> Iterator[dict]:
    """A step of nbvae against what the machine allows."""
    yield from in_rounds("floor", sets or FLOORS, ["nbvae"], rounds or 1)


def inside(
    sets: list[str] | None, rivals: list[str] | None, rounds: int | None = None
) -> Iterator[dict]:
    """Where the time of a run goes, and what operators cost an element."""
    sets = sets or [SMALL]
    yield from in_rounds("shares", sets, rivals or SHARES_RIVALS, rounds or 1)
    yield from in_rounds("operators", [SAMPLE], ["pytorch"], rounds or 1)


PARTS = {
    "speed": speed,
    "scaling": scaling,
    "floor": floor,
    "inside": inside,
    "quality": quality,
}
