"""Time cells at an endpoint with unique prompts, rounds of requests, and the server's own token counts.

A cell of several rows is timed as a round: one request per row is sent at the same time, and the round ends with the
last byte of the last answer. A server that batches runs them as one batch; another server runs them one after the
other. Either way, the round shows how long a batch takes on that server.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.errors import ProfilingError
from helm_efficiency.profiling.cells import Cell, CellRefusedError, CellResult, check_cell
from helm_efficiency.profiling.endpoint.client import Endpoint, TooLongError
from helm_efficiency.profiling.endpoint.engine_times import EngineClock
from helm_efficiency.profiling.endpoint.prompts import PromptMaker
from helm_efficiency.profiling.endpoint.replies import Reply
from helm_efficiency.profiling.noise import Repetitions, noise_note, spread_fraction

_CALIBRATION_WORDS = (16, 112)

_MOST_WARMUPS = 5
"""Largest number of further warm-ups. A server compiles for a few shapes; needing more would mean another problem."""

_COMPILING = 1.5
"""Ratio of a request's time to that of the next equal one, above which the first was not slow by chance: repetitions on
a busy machine differ by 10 to 30 %, and compiling takes seconds."""

_NOTABLE_S = 0.25
"""Smallest difference (s) of a warm-up that is worth a note."""

_MOST_ROUNDS = 3

Round = tuple[Reply, ...]


class EndpointTimer:
    """Timer of one endpoint: call it with a cell to time the cell."""

    def __init__(self, endpoint: Endpoint, *, repetitions: Repetitions, shared_prompts: bool = False) -> None:
        """Keep the endpoint and the settings; the server is not asked yet."""
        self._endpoint = endpoint
        self._repetitions = repetitions
        self._shared_prompts = shared_prompts
        self._prompts: PromptMaker | None = None
        self._clock = EngineClock(endpoint)

    def __call__(self, cell: Cell) -> CellResult:
        """Time one cell: warm-ups, repetitions, and further repetitions if these disagree.

        Raises:
            InputError: The cell is out of range.
            CellRefusedError: The server refuses this cell, or sends an unusable answer.
            BudgetSpentError: The budget ended.
            ProfilingError: The server cannot be reached, refuses everything, or does not count tokens.
        """
        check_cell(cell)
        start, told = time.perf_counter(), ""
        if self._prompts is None:
            self._prompts = calibrated_prompts(self._endpoint, shared=self._shared_prompts)
            told = self._prompts.added_note()
        prompts = self._prompts

        def ask() -> Round:
            return self._round(cell, prompts)

        try:
            compiled = warm_up(ask, self._repetitions.num_warmups)
            self._clock.start()
            rounds: list[Round] = []
            while self._repetitions.wants_more([_seconds(replies) for replies in rounds]):
                rounds.append(ask())
        except TooLongError as error:
            elapsed_s = time.perf_counter() - start
            return CellResult(cell, (), too_large=True, elapsed_s=elapsed_s, note=f"too long for the server: {error}")
        replies = [reply for replies in rounds for reply in replies]
        engine = self._clock.stop(replies)
        seconds = [_seconds(replies) for replies in rounds]
        busy = f"{engine.others} requests of other clients were in its way" if engine and engine.others else ""
        notes = [noise_note(seconds, wanted_fraction=self._repetitions.max_spread_fraction), compiled, told, busy]
        return CellResult(
            cell,
            tuple(_measurement(replies) for replies in rounds),
            spread_fraction=spread_fraction(seconds),
            elapsed_s=time.perf_counter() - start,
            itl_s=tuple(gap for reply in replies if _chunks_are_tokens(reply) for gap in reply.gaps_s),
            note="; ".join(note for note in (*notes, *_notes(cell, replies)) if note),
            engine={name: value for name, value in asdict(engine).items() if value is not None} if engine else {},
        )

    def _round(self, cell: Cell, prompts: PromptMaker) -> Round:
        """Return the replies to the requests of one round, sent at the same time, with their counts checked.

        A round in which the server turned a request away does not count, because that one ran later than the others.
        """
        for _ in range(_MOST_ROUNDS):
            wanted = [prompts.prompt(cell.prompt_tokens) for _ in range(cell.batch_size)]
            replies = self._endpoint.request_all(wanted, cell.output_tokens)
            for reply, prompt in zip(replies, wanted, strict=True):
                prompts.check(prompt, reply.prompt_tokens)
            if cell.batch_size == 1 or not any(reply.retries for reply in replies):
                return tuple(replies)
        raise CellRefusedError(f"the server turns away some of {cell.batch_size} requests sent together.")


def warm_up(ask: Callable[[], Round], num_warmups: int) -> str:
    """Ask `num_warmups` times, and further while the server becomes faster; return a note, or an empty text."""
    seconds = [_seconds(ask()) for _ in range(num_warmups)]
    while seconds and len(seconds) < num_warmups + _MOST_WARMUPS:
        seconds.append(_seconds(ask()))
        if seconds[-2] <= _COMPILING * seconds[-1]:
            break
    if not seconds or seconds[0] <= 2 * seconds[-1] or seconds[0] - seconds[-1] < _NOTABLE_S:
        return ""
    return (
        f"the first request took {seconds[0]:.2g} s and later ones {seconds[-1]:.2g} s: the server compiled or loaded; "
        "that is not part of the times"
    )


def calibrated_prompts(endpoint: Endpoint, *, shared: bool) -> PromptMaker:
    """Return a maker of prompts, calibrated on the server's token counts of two prompts.

    Raises:
        ProfilingError: The server cannot be reached, refuses, or does not count tokens.
    """
    prompts = PromptMaker(shared=shared)
    try:
        few, many = (endpoint.request(prompts.words(words), 1).prompt_tokens for words in _CALIBRATION_WORDS)
    except CellRefusedError as error:
        raise ProfilingError(str(error)) from error
    prompts.calibrate(_CALIBRATION_WORDS, (few, many))
    return prompts


def _seconds(replies: Round) -> float:
    """Return the time from sending a round's first request to the last byte of its last answer (s)."""
    return max(reply.sent_s + reply.seconds for reply in replies) - min(reply.sent_s for reply in replies)


def _measurement(replies: Round) -> Measurement:
    """Return a round as the measurement of one batch; its first token comes when the last row has its first token."""
    firsts = [reply.sent_s + reply.ttft_s for reply in replies if reply.ttft_s is not None]
    return Measurement(
        round(statistics.fmean(reply.prompt_tokens for reply in replies)),
        max(reply.output_tokens for reply in replies),
        _seconds(replies),
        batch_size=len(replies),
        ttft_s=max(firsts) - min(reply.sent_s for reply in replies) if len(firsts) == len(replies) else None,
    )


def _chunks_are_tokens(reply: Reply) -> bool:
    """Return whether gaps between chunks are gaps between tokens."""
    return reply.ttft_s is not None and len(reply.gaps_s) == reply.output_tokens - 1


def _notes(cell: Cell, replies: Sequence[Reply]) -> list[str]:
    """Return notes for the reader on how the server answered."""
    notes = []
    short = [reply.output_tokens for reply in replies if reply.output_tokens < cell.output_tokens]
    if short:
        notes.append(
            f"{len(short)} of {len(replies)} replies stopped early and are kept under their own {min(short)} to "
            f"{max(short)} tokens; if the server can be forced, say how with --extra-body"
        )
    lengths = sorted({reply.prompt_tokens for reply in replies})
    if lengths != [cell.prompt_tokens]:
        notes.append(f"the server counts {lengths[0]} to {lengths[-1]} prompt tokens")
    cached = [reply.cached_tokens for reply in replies if reply.cached_tokens]
    if cached:
        notes.append(f"{len(cached)} prompts partly from the server's prefix cache (up to {max(cached)} tokens)")
    retried = sum(reply.retries for reply in replies)
    if retried:
        notes.append(f"{retried} attempts failed and are not part of the times")
    return notes
