"""Killed at any moment, short of disk, or two at once: originals stay whole, and the next call finishes."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.archives import contents, plan_for
from helpers.odd_places import filled, small_disk
from helpers.run_commands import in_child

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.errors import InputError, OutputError
from helm_efficiency.files import locked
from helm_efficiency.rescoring.originals import FOLDER
from helm_efficiency.rescoring.plan import StatsTarget
from helm_efficiency.rescoring.rescore import rescore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


NUM_KILLS = int(os.environ.get("HELM_EFFICIENCY_KILLS", "6"))


def rescore_into(output: Path, archive: Path, target: StatsTarget) -> None:
    rescore(plan_for(output, target=target), find_sources([str(archive)], besides=output))


def assert_all_whole(folder: Path) -> None:
    """Every file that a reader would take can be read to its end."""
    for path in folder.rglob("*"):
        if path.name.startswith("."):
            continue
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".parquet":
            pq.read_table(path)


@pytest.mark.parametrize("target", [StatsTarget.copy, StatsTarget.in_place])
def test_killed_at_random_moments(runs: Path, fast_folder: Path, target: StatsTarget) -> None:
    original, undisturbed = fast_folder / "original", fast_folder / "undisturbed"
    shutil.copytree(runs, original)
    rescore_into(fast_folder / "warm-up", original, StatsTarget.copy)
    began = time.monotonic()
    rescore_into(undisturbed, original if target is StatsTarget.copy else runs, target)
    seconds = time.monotonic() - began
    expected, expected_runs = contents(undisturbed), contents(runs)
    before = {path.read_bytes() for path in original.rglob("*.json")}
    chance = random.Random(0)
    for number in range(NUM_KILLS):
        archive, output = fast_folder / "again" / str(number), fast_folder / f"output{number}"
        shutil.copytree(original, archive)
        with in_child(partial(rescore_into, output, archive, target)) as process:
            time.sleep(chance.uniform(0, 1.2 * seconds))
            os.kill(process, signal.SIGKILL)
        assert_all_whole(output)
        assert_all_whole(archive)
        if target is StatsTarget.copy:
            assert {path.read_bytes() for path in archive.rglob("*") if path.is_file()} == before
        rescore_into(output, archive, target)
        assert contents(output) == expected
        assert contents(archive) == expected_runs
        shutil.rmtree(archive)
        shutil.rmtree(output)


def is_running(process: str) -> bool:
    """Whether it has not ended; in a container nobody may be there to ask how an orphan ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


POOL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers.archives import plan_for
from helm_efficiency.rescoring import rescore
from helm_efficiency.adapters.sources import find_sources

if __name__ == "__main__":
    rescore._WORTH_PROCESSES_BYTES = 0
    output = Path(sys.argv[3])
    sources = find_sources([sys.argv[2]], besides=output)

    def wait_to_be_killed(outcome):
        print(outcome.status, flush=True)
        sys.stdin.read()

    rescore.rescore(plan_for(output), sources, jobs=2, on_outcome=wait_to_be_killed)
"""


def test_workers_end_with_their_parent(runs: Path, fast_folder: Path) -> None:
    for number in range(4):
        shutil.copytree(runs / "runs" / "v1", runs / "runs" / f"v{number + 2}")
    script, output = fast_folder / "pool.py", fast_folder / "output"
    script.write_text(POOL)
    command = [sys.executable, str(script), str(Path(__file__).parents[1]), str(runs), str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "scored\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 120
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, children))
    assert_all_whole(output)
    rescore_into(output, runs, StatsTarget.copy)
    rescore_into(fast_folder / "undisturbed", runs, StatsTarget.copy)
    assert contents(output) == contents(fast_folder / "undisturbed")


def test_full_disk(runs: Path, fast_folder: Path) -> None:
    before = contents(runs)
    with small_disk(fast_folder / "full") as full:
        output = full / "output"
        with pytest.raises(OutputError, match=r"could not be written: .*\. What stood there before is unharmed\.$"):
            rescore_into(output, runs, StatsTarget.copy)
        assert contents(runs) == before
        assert_all_whole(output)
        assert not list(output.rglob(".unfinished-*"))


def test_full_disk_in_place(runs: Path, fast_folder: Path) -> None:
    with small_disk(fast_folder / "full", 4000) as full:
        shutil.copytree(sorted((runs / "runs" / "v1").iterdir())[0], full / "v1" / "run")
        before = contents(full)
        with filled(full), pytest.raises(OutputError, match="could not be written"):
            rescore_into(fast_folder / "output", full, StatsTarget.in_place)
        after = contents(full)
        assert {path: after[path] for path in after if FOLDER not in path} == before


def test_a_second_rescore_into_the_same_folder_is_refused(runs: Path, fast_folder: Path) -> None:
    with (
        locked(fast_folder / "output", wait=False),
        pytest.raises(
            InputError, match=r"Another rescore writes into .*output\. Wait for it, or name another folder\."
        ),
    ):
        rescore_into(fast_folder / "output", runs, StatsTarget.copy)
    rescore_into(fast_folder / "output", runs, StatsTarget.copy)


def test_two_in_place_take_turns(runs: Path, fast_folder: Path) -> None:
    once = fast_folder / "once"
    shutil.copytree(runs, once)
    rescore_into(fast_folder / "output", once, StatsTarget.in_place)
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(
                in_child(partial(rescore_into, fast_folder / f"output{number}", runs, StatsTarget.in_place))
            )
    assert contents(runs) == contents(once)
    parts = [contents(fast_folder / f"output{number}" / "requests") for number in range(4)]
    assert all(part == contents(fast_folder / "output" / "requests") for part in parts)
