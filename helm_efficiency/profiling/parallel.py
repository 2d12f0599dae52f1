"""Run one model over several processes (torchrun): the first decides and measures, the others follow.

Every process must run the same prompts in the same order, or the collectives between them wait for ever. But the choice
of the next run depends on clocks (a noisy cell is repeated, a budget ends), and the processes read them differently. So
only the first process plans, times and writes; before each run it tells the others what to run.
"""

import os
from typing import Any

import torch
from torch import distributed

from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.engines import Engine, Timing


def num_processes() -> int:
    """Return the number of processes that torchrun has started for one model; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Return whether this process is the one that decides and writes."""
    return os.environ.get("RANK", "0") == "0"


class LeadingEngine:
    """Engine of the first process: it has the other processes run the same requests."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def warmups(self, cell: Cell) -> int:
        """Return how many runs of a cell the wrapped engine needs to reach its full speed."""
        return self._engine.warmups(cell)

    def run(self, prompt: torch.Tensor, cell: Cell) -> Timing:
        """Time one request that all processes run."""
        _tell((prompt.cpu(), cell))
        return self._engine.run(prompt, cell)

    def release(self) -> None:
        """Free the memory that the engine of this process keeps between requests."""
        self._engine.release()


def follow(engine: Engine, device: torch.device) -> None:
    """Run the same requests as the first process, until it dismisses this one."""
    while (told := _hear()) is not None:
        prompt, cell = told
        engine.run(prompt.to(device), cell)


def dismiss_followers() -> None:
    """Let the other processes return from `follow`."""
    _tell(None)


def part() -> None:
    """End the connection of the processes once all are done: its threads may abort a process that exits with them."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _tell(message: Any) -> None:
    distributed.broadcast_object_list([message], src=0)


def _hear() -> Any:
    message: list[Any] = [None]
    distributed.broadcast_object_list(message, src=0)
    return message[0]
