"""A small chapter that keeps all the rules, for tests that break one rule at a time."""

import base64
import struct
import zlib
from typing import Any

from nbformat import NotebookNode, v4
from outputs import SETUP_TAG, normalise, setup_source

FRAME = """# {n}. A sample

**The question.** What does a chapter look like?

**You will be able to**

- tell one that keeps the rules from one that does not.

**Builds on** nothing.

**Minutes on a CPU** 1"""

MATHS = """## An idea

A rule, and what follows from it in words, is (**in short**)

$$a_n = b_n + c_n \\tag{{{n}.1}}$$

$$b_n = 2 \\tag{{{n}.2}}$$"""

CAPTION = "**Figure {n}.1.** One dark square. It shows where a figure stands and how it is told."

CHECK = """def check_double(double):
    right = double(3) == 6
    print("✓ Exercise {n}.1: twice." if right else "✗ Exercise {n}.1: not solved yet.")"""

TASK = """### Exercise {n}.{k} · Twice the number

Write `double(x)`.

<details><summary>Hint</summary>

Add it to itself.

</details>"""

ANSWER = """def double(x):
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION"""

RECAP = """## Recap

[An idea](#an-idea) has a formula. [Exercises](#exercises) check it. [Much](#what-can-go-wrong) can
go wrong."""


def chapter(n: int = 1, extra: tuple[NotebookNode, ...] = ()) -> NotebookNode:
    """Return a worked chapter with stored outputs; `extra` cells follow its first idea."""
    cells = [
        _markdown(FRAME.format(n=n)),
        _code(setup_source(""), tags=[SETUP_TAG]),
        _markdown(MATHS.format(n=n)),
        figure(n),
        _markdown(CAPTION.format(n=n)),
        _code(CHECK.format(n=n), tags=["hide-input"], title="Checked: two and two"),
        *extra,
        _markdown("## Exercises"),
        *(cell for k in range(1, 5) for cell in exercise(n, k)),
        _markdown("## What can go wrong\n\n- Everything."),
        _markdown(RECAP),
    ]
    return finish(cells, n)


def finish(cells: list[NotebookNode], n: int = 1) -> NotebookNode:
    """Return a notebook of these cells, numbered as if it had been run."""
    codes = [cell for cell in cells if cell.cell_type == "code"]
    for i, cell in enumerate(cells, 1):
        cell.id = f"{n:02}-{i:03}"
    for count, cell in enumerate(codes, 1):
        cell.execution_count = count
    return normalise(v4.new_notebook(cells=cells))


def exercise(n: int, k: int) -> list[NotebookNode]:
    """Return the three cells of an exercise."""
    check = CHECK.format(n=n).replace(f"{n}.1", f"{n}.{k}")
    return [
        _markdown(TASK.format(n=n, k=k)),
        _code(ANSWER, tags=["hide-cell"], title="Show solution"),
        _code(
            f"{check}\n\n\ncheck_double(double)",
            f"✓ Exercise {n}.{k}: twice.\n",
            tags=["exercise-check"],
        ),
    ]


def figure(n: int = 1) -> NotebookNode:
    """Return a cell that shows a picture, with its alternative text."""
    show = "from IPython.display import Image, display\n\ndisplay(Image(data=picture))"
    cell = _code(f"picture = {square()!r}\n{show}")
    cell.metadata["mystnb"] = {"image": {"alt": "A dark square without anything else in it."}}
    data = {
        "image/png": base64.b64encode(square()).decode() + "\n",
        "text/plain": "<IPython.core.display.Image object>",
    }
    cell.outputs = [v4.new_output("display_data", data)]
    return cell


def square() -> bytes:
    """Return a PNG of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _markdown(source: str) -> NotebookNode:
    return v4.new_markdown_cell(source)


def _code(
    source: str, printed: str = "", tags: list[str] | None = None, title: str = ""
) -> NotebookNode:
    outputs = [v4.new_output("stream", name="stdout", text=printed)] if printed else []
    metadata: dict[str, Any] = {"tags": tags} if tags else {}
    if title:
        metadata["mystnb"] = {"code_prompt_show": title}
    return v4.new_code_cell(source, outputs=outputs, metadata=metadata)
