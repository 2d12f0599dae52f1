"""Start worker processes on this machine.

They are forked from a separate process that has loaded their modules (`preload`) once for all of them. It can begin to
load while the plan is made. The main process is not forked, as a fork of a process with threads may hang.
"""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext


def worker_context() -> BaseContext:
    """Return the context to start processes in."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "helm_efficiency.rescoring.preload"])
    return context


def begin_to_load() -> None:
    """Start the process that the workers are forked from, without waiting for it."""
    worker_context()
    forkserver.ensure_running()
