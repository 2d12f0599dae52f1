"""Score runs in this process, in several processes on this machine, or on an existing dask cluster."""

import concurrent.futures
import contextlib
import functools
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from threadpoolctl import threadpool_limits

from helm_efficiency.adapters.sources import Source
from helm_efficiency.errors import EfficiencyError, InputError
from helm_efficiency.extras import needs_extra
from helm_efficiency.rescoring.forkserver import worker_context
from helm_efficiency.rescoring.plan import Plan
from helm_efficiency.rescoring.run import Outcome, rescore_run, score_run, write_run

_BATCH = 4
"""Number of runs that a process is given at a time."""

_WRITERS = 2
"""Number of threads that write files and wait for the disk."""


def rescore_here(plan: Plan, sources: Sequence[Source]) -> Iterator[Outcome]:
    """Yield outcomes in order, computed in this process; while runs are written, the next one is scored.

    Raises:
        OutputError: A file cannot be written.
    """
    writing: deque[Future[Outcome]] = deque()
    with _undisturbed(), ThreadPoolExecutor(_WRITERS) as writers:
        for source in sources:
            writing.append(writers.submit(write_run, plan, source, score_run(plan, source)))
            if len(writing) > _WRITERS:
                yield writing.popleft().result()
        yield from (future.result() for future in writing)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Use one core per process, and use it fully: switch off the cycle collector, and limit BLAS to one thread.

    A run is hundreds of thousands of objects without cycles, and walking them takes as long as the work. Its sums are
    small, and BLAS threads that wait for the next one use as much processor time as the work.
    """
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        if was_collecting:
            gc.enable()


def rescore_in_processes(plan: Plan, sources: Sequence[Source], *, jobs: int) -> Iterator[Outcome]:
    """Yield outcomes as they come, computed in several processes.

    Raises:
        OutputError: A file cannot be written.
        EfficiencyError: A process was killed.
    """
    packed = pickle.dumps(plan)
    batches = (sources[first : first + _BATCH] for first in range(0, len(sources), _BATCH))
    with ProcessPoolExecutor(jobs, mp_context=worker_context(), initializer=_follow_parent) as pool:
        try:
            running = {pool.submit(_rescore_batch, packed, batch) for batch in itertools.islice(batches, 2 * jobs)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {
                    pool.submit(_rescore_batch, packed, batch) for batch in itertools.islice(batches, len(done))
                }
                yield from itertools.chain.from_iterable(future.result() for future in done)
        except BrokenProcessPool as error:
            raise EfficiencyError(
                "A worker process was killed, by lack of memory perhaps. What was finished is kept; call again with "
                "fewer --jobs."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _rescore_batch(packed: bytes, sources: Sequence[Source]) -> list[Outcome]:
    return list(rescore_here(_unpacked(packed), sources))


_unpacked = functools.lru_cache(maxsize=1)(pickle.loads)
"""A process unpacks the plan once, not with every batch."""


def rescore_on_cluster(plan: Plan, sources: Sequence[Source], *, address: str) -> Iterator[Outcome]:
    """Yield outcomes as they come, computed by the workers of a dask scheduler, which must see the same files.

    The runs of a lost worker are given to others.

    Raises:
        MissingExtraError: dask is not installed.
        InputError: The scheduler does not answer at the address.
        OutputError: A file cannot be written.
        EfficiencyError: A run kills its workers, or the scheduler is lost.
    """
    with needs_extra("cluster"):
        import distributed
    try:
        client = distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(f"No dask scheduler answers at {address} ({error}).") from error
    with client:
        packed = client.scatter(pickle.dumps(plan), broadcast=True)
        futures = client.map(_rescore_one, sources, packed=packed, pure=False)
        try:
            yield from (future.result() for future in distributed.as_completed(futures))
        except (distributed.KilledWorker, concurrent.futures.CancelledError) as error:
            raise EfficiencyError(f"The cluster at {address} gave up: {error}. What was finished is kept.") from error


def _rescore_one(source: Source, *, packed: bytes) -> Outcome:
    with _undisturbed():
        return rescore_run(_unpacked(packed), source)


_CONNECT_S = 10


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
