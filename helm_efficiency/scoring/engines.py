"""Where the runs are worked on: in this process, in several on this machine, or on an existing dask cluster."""

import functools
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from helm_efficiency.errors import EfficiencyError
from helm_efficiency.scoring.plan import Plan
from helm_efficiency.scoring.run import Outcome, rescore_run
from helm_efficiency.scoring.sources import Source


def rescore_here(plan: Plan, sources: Sequence[Source]) -> Iterator[Outcome]:
    """Outcomes in order, computed in this process."""
    return (rescore_run(plan, source) for source in sources)


def rescore_in_processes(plan: Plan, sources: Sequence[Source], *, jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, computed in several processes.

    Raises:
        EfficiencyError: A process was killed.
    """
    packed = pickle.dumps(plan)
    waiting = iter(sources)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_follow_parent) as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                for source in waiting:
                    running.add(pool.submit(rescore_packed, packed, source))
                    if len(running) >= 4 * jobs:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise EfficiencyError(
                "A worker process was killed, by lack of memory perhaps. What was finished is kept; call again with "
                "fewer --jobs."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def rescore_packed(plan: bytes, source: Source) -> Outcome:
    """As `rescore_run`; a worker unpacks the plan once."""
    return rescore_run(_unpacked(plan), source)


_unpacked = functools.lru_cache(maxsize=1)(pickle.loads)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
