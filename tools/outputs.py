"""Run the book's notebooks and store what they show: `make outputs`.

A notebook that fails, or that writes to stderr, keeps the file it had. What is stored holds
nothing of the machine or the moment, so a second run changes no byte, unless a figure changed.
"""

import argparse
import base64
import os
import re
import sys
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict, v4
from notebooks import ROOT, chapters, code_cells, read, repository, tags, write

CELL_TIMEOUT = 600  # seconds
KEPT_CELL_METADATA = ("tags", "mystnb", "asset")  # what the book means; the rest is an editor's
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SETUP_TAG = "remove-cell"
LIVE = re.compile(r"<!--living-->.*?<!--/living-->", re.DOTALL)  # the pages share one script
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class OutputError(Exception):
    """A notebook that can't be stored, and why."""


class ThisPython(AsyncKernelManager):
    """Runs notebooks with the Python that runs this, whatever kernels the machine lists."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the kernel of this environment, under any name."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def setup_source(address: str) -> str:
    """Return the first code cell of every chapter, which makes it run on Colab.

    Args:
        address: of the public repository; "" as long as there is none.

    """
    source = (ROOT / "tools" / "setup_cell.py").read_text(encoding="utf-8").rstrip("\n")
    return source.replace('address = ""', f'address = "{address}"')


def put_setup_cell(notebook: NotebookNode, source: str) -> None:
    """Make the set-up cell the first code cell."""
    first = next((i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"), 1)
    cell = notebook.cells[first] if first < len(notebook.cells) else None
    if cell is None or SETUP_TAG not in tags(cell):
        cell = v4.new_code_cell(id="setup", metadata={"tags": [SETUP_TAG]})
        notebook.cells.insert(first, cell)
    cell.source = source


def client_of(notebook: NotebookNode, folder: Path, **options: Any) -> NotebookClient:
    """Make what runs a notebook in this folder, in a fresh kernel of this Python."""
    return NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        resources={"metadata": {"path": str(folder)}},
        **options,
    )


def run(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel that works in this folder.

    Raises:
        OutputError: a cell failed, took too long or ended the kernel.

    """
    begun: list[str] = []
    client = client_of(
        notebook,
        folder,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_start=lambda cell, cell_index: begun.append(cell.id),
    )
    try:
        client.execute(env=environment())
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        where = begun[-1] if begun else "none, the kernel did not start"
        raise OutputError(f"cell {where}\n{error}") from error


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook without what an editor, a machine or a moment left in it."""
    notebook = from_dict(notebook)
    notebook.metadata = from_dict(METADATA)
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        cell.metadata = from_dict(kept)
        cell.source = "\n".join(line.rstrip() for line in cell.source.rstrip().splitlines())
        for output in cell.get("outputs", []):
            _drop_library_frames(output)
            _lighten(output)
    return notebook


def refuse_stderr(notebook: NotebookNode) -> None:
    """Raise OutputError if a cell stored warnings: readers would see them, nbval would not."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                raise OutputError(f"cell {cell.id} writes to stderr:\n{output.text}")


def assets(notebook: NotebookNode) -> dict[str, bytes]:
    """Return the figures that pages use elsewhere, by the file names that their cells ask for."""
    found = {}
    for cell in code_cells(notebook):
        if name := cell.metadata.get("asset"):
            images = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            if len(images) != 1:
                raise OutputError(f"cell {cell.id} is to give {name}: {len(images)} images, not 1")
            found[Path(name).name] = base64.b64decode(images[0])
    return found


def refresh(path: Path, address: str) -> None:
    """Run one notebook and store it, with the figures that it gives to other pages."""
    notebook = read(path)
    put_setup_cell(notebook, setup_source(address))
    run(notebook, path.parent)
    notebook = normalise(notebook)
    refuse_stderr(notebook)
    images = assets(notebook)
    write(notebook, path)
    for name, image in images.items():
        (path.parent / "assets").mkdir(exist_ok=True)
        (path.parent / "assets" / name).write_bytes(image)


def main(arguments: list[str] | None = None) -> int:
    """Refresh the notebooks that are named, or all; return 1 if one of them kept its old file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of book/ if none is named")
    paths = parser.parse_args(arguments).notebooks or chapters()
    failed = 0
    for path in paths:
        print(f"{path.name} …", flush=True)
        try:
            refresh(path, repository())
        except OutputError as error:
            failed += 1
            print(f"{path} is unchanged: {error}", file=sys.stderr)
    return int(failed > 0)


def environment() -> dict[str, str]:
    """Return what conftest.py gives to the kernels of nbval: figures inline, one thread, no GPU."""
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    environment.pop("MPLBACKEND", None)
    return environment


def _lighten(output: NotebookNode) -> None:
    """Take the script of a living figure off: whoever runs the cell has it again."""
    if "text/html" in output.get("data", {}):
        output.data["text/html"] = LIVE.sub("", output.data["text/html"])


def _drop_library_frames(output: NotebookNode) -> None:
    """Keep the frames of a traceback that are the reader's: others hold paths and versions."""
    if output.output_type == "error":
        output.traceback = [
            frame for frame in output.traceback if not ANSI.sub("", frame).startswith("File ")
        ]


if __name__ == "__main__":
    sys.exit(main())
