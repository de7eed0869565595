"""Files of weights: written whole or not at all, read without executing anything in them.

A file is what ``torch.save`` writes, a zip archive, with the SHA-256 of all its bytes as the
archive's comment. PyTorch does not compare the checksums that a zip archive has of its own: without
the digest, a byte that a disk or a copy has changed would become another weight.
"""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
DIGEST_SIZE = hashlib.sha256().digest_size
COMMENT = DIGEST_SIZE.to_bytes(2, "little")  # how a zip archive says: a comment of 32 bytes


class CheckpointError(ValueError):
    """The file is not what was asked for; nothing was loaded."""


def write_atomically(path: str | Path, content: dict[str, Any]) -> None:
    """Write beside ``path``, then rename: an older file stays until the new one is complete.

    Args:
        path: of the file; its folder has to be there.
        content: tensors, numbers, strings, None, and lists, tuples and dicts of them; numpy's
            numbers and strings become Python's. Its entry "format" says what kind of file it is:
            words, then a number.

    Raises:
        TypeError: something else is among them; it is named.
        OSError: as in ``check_writable``, or the disk is full.

    """
    stored = io.BytesIO()
    torch.save(plain(content), stored)
    archive = stored.getvalue()[:-2] + COMMENT  # instead of: no comment
    _write_beside(path, archive + hashlib.sha256(archive).digest())


def check_writable(path: str | Path) -> None:
    """Make sure that ``write_atomically`` can write there, before hours go into what to write.

    Raises:
        TypeError: ``path`` is neither a string nor a ``Path``.
        FileNotFoundError: the folder is missing.
        IsADirectoryError: there is a folder of that name.
        PermissionError: the file or its folder must not be written.

    """
    _write_beside(path, b"", keep=False)


def read(path: str | Path, form: str, written_by: str) -> dict[str, Any]:
    """Read a file that ``write_atomically`` wrote; no code in it is executed.

    Args:
        path: the file.
        form: what its entry "format" has to be.
        written_by: the function to name when it is not.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        PermissionError: the file must not be read.
        CheckpointError: the file is damaged, foreign, or of another version.

    """
    data = _bytes_of(path)
    archive, digest = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:]
    has_digest = archive.endswith(COMMENT)
    damaged = CheckpointError(
        f"{str(path)!r} is damaged or not a checkpoint of nbvae. Copy it again from where it is "
        "whole, or train again."
    )
    if has_digest and hashlib.sha256(archive).digest() != digest:
        raise damaged
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise damaged from error
    _check_format(content, form, f"{str(path)!r} was not written by {written_by}")
    if not has_digest:
        raise damaged
    return content


def plain(content: Any, name: str = "content") -> Any:
    """Copy some content, with everything in it of a type that ``read`` can give back.

    Args:
        content: as in ``write_atomically``.
        name: of the content, for the message.

    Raises:
        TypeError: such a file can't hold something in it.

    """
    if isinstance(content, Tensor) and content.layout == torch.strided:
        return content.detach().cpu().clone()
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, dict):
        return {plain(k, name): plain(value, f"{name}[{k!r}]") for k, value in content.items()}
    if isinstance(content, (list, tuple)):
        values = [plain(value, f"{name}[{i}]") for i, value in enumerate(content)]
        return values if isinstance(content, list) else tuple(values)
    if content is None or isinstance(content, bool):
        return content
    for kind in (int, float, str):
        if isinstance(content, kind):
            return kind(content)
    raise TypeError(
        f"{name} is a {type(content).__name__}: a file of weights holds tensors, numbers, strings, "
        "lists and dicts only."
    )


def _write_beside(path: str | Path, data: bytes, *, keep: bool = True) -> None:
    """Write a file beside ``path``, then move it into place, or remove it again."""
    target = Path(os.path.realpath(_path(path)))  # of a link, the file that it leads to
    if target.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name a file in it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(target.parent)!r}: make it first.")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError
        with room_on_disk(path):
            part.write_bytes(data)
        if keep:
            os.replace(part, target)
    except PermissionError as error:
        raise PermissionError(
            f"{str(path)!r} can't be written: you lack the permission. Name another place."
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def room_on_disk(path: str | Path) -> Iterator[None]:
    """Say what there was no room for, where the code inside finds none.

    Raises:
        OSError: the disk is full, or the user's share of it.

    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        words = "The disk is full, so this was not written. Free some room or name another place"
        raise OSError(error.errno, words, str(path)) from error


def _bytes_of(path: str | Path) -> bytes:
    """Read a file, or say what is there instead."""
    file = _path(path)
    if not file.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if file.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name a file in it.")
    try:
        return file.read_bytes()
    except PermissionError as error:
        raise PermissionError(f"{str(path)!r} can't be read: you lack the permission.") from error


def _path(path: str | Path) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"The path of a file is a string or a Path, not {path!r}.")
    return Path(path)


def _check_format(content: Any, form: str, not_written: str) -> None:
    """Compare the entry "format": words that say what the file is, then a number."""
    theirs = content.get("format") if isinstance(content, dict) else None
    if theirs == form:
        return
    kind, version = form.rsplit(" ", 1)
    if isinstance(theirs, str) and theirs.rsplit(" ", 1)[0] == kind:
        raise CheckpointError(
            f"{not_written} of this version: it has format {theirs.split()[-1]}, this version "
            f"reads {version}. Read it with the version of nbvae that wrote it, or train again."
        )
    raise CheckpointError(f"{not_written} of this version.")
