"""Walking folders of strangers."""

import os
from collections.abc import Iterator
from pathlib import Path

from helm_efficiency.errors import InputError


def walk(root: Path | str) -> Iterator[tuple[Path, list[str] | None]]:
    """Folders at or below `root` with the names of their files, in order of their paths.

    Links are followed, but no folder is entered twice, whatever loops they make. A folder that cannot be listed has
    None for its files.

    Raises:
        InputError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with runs of an evaluation harness.")
    entered: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield folder, None
            continue
        folders = {entry.name for entry in entries if _is_dir(entry)}
        yield folder, [entry.name for entry in entries if entry.name not in folders]
        stack.extend(Path(entry.path) for entry in reversed(entries) if entry.name in folders)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
