"""Re-scoring on a real dask scheduler with two worker processes on loopback."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import contents, plan_for

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.errors import InputError
from helm_efficiency.rescoring.rescore import rescore
from helm_efficiency.rescoring.run import Outcome

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster() -> Iterator[Any]:
    before = dict(os.environ)  # distributed sets OMP_NUM_THREADS in it, for all that comes after
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster
    os.environ.clear()
    os.environ.update(before)


def test_runs_of_a_killed_worker_are_done_by_others(cluster: Any, runs: Path, fast_folder: Path) -> None:
    for number in range(12):
        shutil.copytree(runs / "runs" / "v1", runs / "runs" / f"v{number + 2}")
    sources = find_sources([str(runs)], besides=fast_folder / "output")
    seen: list[str] = []

    def kill_a_worker(outcome: Outcome) -> None:
        seen.append(outcome.url)
        if len(seen) == 5:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)

    plan = plan_for(fast_folder / "output")
    outcomes = rescore(plan, sources, scheduler=cluster.scheduler_address, on_outcome=kill_a_worker)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    assert sorted(seen) == sorted(source.url for source in sources)
    rescore(plan_for(fast_folder / "undisturbed"), sources)
    assert contents(fast_folder / "output") == contents(fast_folder / "undisturbed")


def test_no_scheduler(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helm_efficiency.rescoring.workers._CONNECT_S", 0.2)
    with pytest.raises(InputError, match=r"^No dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        rescore(plan_for(tmp_path), find_sources([str(runs)], besides=tmp_path), scheduler="tcp://127.0.0.1:1")
