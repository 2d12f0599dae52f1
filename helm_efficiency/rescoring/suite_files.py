"""Add our stats to HELM's files of a rescored run: to a copy of the run, or to its own stat files in place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from helm_efficiency.adapters.helm.files import PER_INSTANCE_STATS, STATS
from helm_efficiency.adapters.helm.runs import HelmRun
from helm_efficiency.adapters.json_stream import blocks, read_whole
from helm_efficiency.adapters.sources import Files
from helm_efficiency.files import Content, remove_unfinished
from helm_efficiency.helm_stats.aggregate import (
    PerInstanceStats,
    Stat,
    aggregated_stats,
    layout_of,
    per_instance_stats,
)
from helm_efficiency.helm_stats.rewrite import Replaced, rewrite_per_instance_stats, rewrite_stats
from helm_efficiency.helm_stats.stats import stat_columns
from helm_efficiency.metrics.efficiency import ScoredRequests
from helm_efficiency.rescoring.originals import Originals

_DISPLAYED = frozenset({"instances.json", "display_predictions.json", "display_requests.json"})
"""Files that helm-summarize derives from a run; a copy gets its own."""


def files_of_copy(target: Path, files: Files, run: HelmRun, scored: Sequence[ScoredRequests]) -> dict[Path, Content]:
    """Map each path of a copy of a run to the HELM file to write there, with our stats added."""
    remove_unfinished(target)
    names = files.names()
    copied = {target / name: partial(_copy, files, name) for name in names if name not in _DISPLAYED}
    return copied | _stat_files(target, files, {name: f"{files.path}/{name}" for name in names}, run, scored)


def files_in_place(
    originals: Originals, files: Files, run: HelmRun, scored: Sequence[ScoredRequests]
) -> dict[Path, Content]:
    """Map the run's own stat files to the originals with our stats added."""
    remove_unfinished(originals.run)
    return _stat_files(originals.run, files, {name: str(path) for name, path in originals.paths.items()}, run, scored)


def _stat_files(
    target: Path, files: Files, paths: Mapping[str, str], run: HelmRun, scored: Sequence[ScoredRequests]
) -> dict[Path, Content]:
    """Map each output path to the stat file to write there.

    Args:
        target: Folder that they are written to.
        files: Files of the run, to open them.
        paths: Path of each of the run's files by its name.
        run: Run that the files belong to.
        scored: Scored requests of the run on each stack.

    Raises:
        FileFormatError: A file is a pipe, a device, a folder or a broken link.
    """
    for name in {STATS, PER_INSTANCE_STATS}.difference(paths):
        files.require_file(name)
    layout = layout_of(run.states, method=run.method)
    columns = stat_columns(run.records, *scored)
    added = aggregated_stats(layout, columns)
    contents: dict[Path, Content] = {}
    if STATS in paths:
        contents[target / STATS] = partial(_rewrite_stats, files, paths[STATS], added)
    if PER_INSTANCE_STATS in paths:
        path = paths[PER_INSTANCE_STATS]
        units = partial(per_instance_stats, layout, columns)
        contents[target / PER_INSTANCE_STATS] = partial(_rewrite_per_instance_stats, files, path, units, added)
    return contents


def _copy(files: Files, name: str, target: BinaryIO) -> None:
    with files.open(f"{files.path}/{name}") as source:
        for block in blocks(source, file=f"{files.path}/{name}"):
            target.write(block)


def _rewrite_stats(files: Files, path: str, added: Sequence[Stat], target: BinaryIO) -> None:
    with files.open(path) as source:
        target.write(rewrite_stats(read_whole(source, file=path), added, file=path))


def _rewrite_per_instance_stats(
    files: Files,
    path: str,
    units: Callable[[], Iterator[PerInstanceStats]],
    aggregated: Sequence[Stat],
    target: BinaryIO,
) -> None:
    with files.open(path) as source:
        rewrite_per_instance_stats(source, target, units(), replaced=Replaced(aggregated), file=path)
