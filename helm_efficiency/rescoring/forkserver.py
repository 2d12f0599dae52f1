"""Processes for work on this machine.

They are forked from a process that has loaded what they need (`preload`), once for all of them. It can begin to load
while the plan is made. It is not this process, as a fork of one that has threads may hang.
"""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext


def worker_context() -> BaseContext:
    """The context to start processes in."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "helm_efficiency.rescoring.preload"])
    return context


def begin_to_load() -> None:
    """Start the process that others will be forked from, and do not wait for it."""
    worker_context()
    forkserver.ensure_running()
