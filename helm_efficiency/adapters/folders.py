"""Walk untrusted folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from helm_efficiency.errors import InputError


def walk(root: Path | str) -> Iterator[tuple[Path, list[str] | None]]:
    """Yield the folders at or below `root` with the names of their files, in order of their paths.

    Links are followed, but no folder is entered twice, even if links form a loop. The list of files is None if a folder
    cannot be listed.

    Raises:
        InputError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with runs of an evaluation harness.")
    entered: set[tuple[int, int]] = set()
    levels = [iter([root])]  # names, not paths: a folder may hold a million
    while levels:
        folder = next(levels[-1], None)
        if folder is None:
            levels.pop()
            continue
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted((entry.name, _is_dir(entry)) for entry in listing)
        except OSError:
            yield folder, None
            continue
        yield folder, [name for name, is_dir in entries if not is_dir]
        levels.append(_below(folder, [name for name, is_dir in entries if is_dir]))


def _below(folder: Path, names: list[str]) -> Iterator[Path]:
    return (folder / name for name in names)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
