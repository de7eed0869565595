"""An epoch on a quiet machine, and beside programs that keep one or two processors busy.

    python -m benchmarks.busy                              the sample and 3000x2000, three rounds
    python -m benchmarks.busy --data sample --rounds 5
    python -m benchmarks.busy --data 68579x2000 --rivals nbvae "nbvae, all threads"
    python -m benchmarks.busy --rivals scvi                where scvi-tools is installed

"nbvae" is the trainer as it is: one thread. "nbvae, all threads" computes with as many as there are
processors, which is what PyTorch is set to, and what scvi-tools takes. All are measured in one
process, in turns, each round in the order of the table, so that what else the machine has to do
meets all of them; the load that it had before each measurement is kept beside the time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from time import sleep

import pandas as pd
import torch

from benchmarks import data, results
from benchmarks.experiment import command_line
from benchmarks.plan import Spec
from benchmarks.rivals import timed_fit
from nbvae import use_threads

FILE = results.FOLDER / "busy.csv"
RIVALS = ["nbvae", "nbvae, all threads"]
BUSY = (0, 1, 2)
CORES = os.cpu_count() or 1
EPOCHS = 4


def main() -> None:
    """Measure what the command line asks for, add it to the file, and print the table of all."""
    parser = command_line(__doc__)
    parser.add_argument("--data", nargs="+", default=["sample", "3000x2000"])
    parser.add_argument("--rivals", nargs="+", default=RIVALS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(CORES)  # as PyTorch does where nothing is set
    for name in options.data:
        adata = data.load(name)
        for seed, busy, rival in product(range(options.rounds), BUSY, options.rivals):
            spec = Spec("speed", name, rival.split(",")[0], seed, EPOCHS, "cpu", CORES)
            load, all_threads = os.getloadavg()[0], rival == "nbvae, all threads"
            with busy_programs(busy), use_threads(CORES) if all_threads else nullcontext():
                seconds = timed_fit(adata, spec)[2]["epoch_s"]
            keep(data=name, rival=rival, busy=busy, round=seed, load=load, epoch_s=seconds)
    print(table(pd.read_csv(FILE)).to_string())


@contextmanager
def busy_programs(number: int) -> Iterator[None]:
    """Keep so many processors busy meanwhile."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        sleep(0.5 if number else 0)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def keep(**row: str | float) -> None:
    """Add a line to the file."""
    pd.DataFrame([row]).round(4).to_csv(FILE, mode="a", index=False, header=not FILE.exists())


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the median seconds per epoch, and how many times the quiet one they are."""
    seconds = runs.pivot_table("epoch_s", ["data", "rival"], "busy", aggfunc="median", sort=False)
    return pd.concat({"seconds": seconds, "times quiet": seconds.div(seconds[0], axis=0)}, axis=1)


if __name__ == "__main__":
    main()
