"""Disks that are full, folders that cannot be written to or can be, ports that stay ours."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mounted(*arguments: str) -> bool:
    """Whether a mount worked; only root may, and not in every container."""
    return os.geteuid() == 0 and not subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode


def copy_to_change(source: Path, target: Path) -> Path:
    """A copy of a file or folder of which all can be changed, whoever may change the original."""
    if source.is_file():
        return Path(shutil.copyfile(source, target / source.name if target.is_dir() else target))
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


@contextlib.contextmanager
def small_disk(folder: Path, num_kilobytes: int = 250) -> Iterator[Path]:
    """A folder on a small disk, or else one where no file may be larger than a quarter of that."""
    folder.mkdir(exist_ok=True)
    mounted = _mounted("-t", "tmpfs", "-o", f"size={num_kilobytes}k", "tmpfs", str(folder))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_kilobytes * 250, limits[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """A small disk to which nothing more can be written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    filler = disk / "filler"
    if disk.is_mount():
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 1024):
                pass
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        filler.unlink(missing_ok=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder in which nothing can be changed."""
    if os.geteuid() == 0:
        if not _mounted("--bind", str(folder), str(folder)):
            pytest.skip("root may write everywhere, and nothing can be mounted here")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")] if path.is_dir()}
    for path in modes:
        path.chmod(0o555)
    try:
        yield folder
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port of loopback that nobody else is given meanwhile, and at which nothing answers until a server is started.

    A server may share it (asyncio's and http.server's do), as nothing listens at the one that holds it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
