"""Observed times of a service: one entry per timed request, as columns of equal length."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import BoolArray, FloatArray, IntArray
from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class ServiceLog:
    """Timed requests to one deployment, in the order in which they were made.

    Attributes:
        prompt_tokens: Tokens of each prompt (n), at least 1.
        output_tokens: Tokens of each answer (n), at least 1.
        seconds: End-to-end seconds of each request (n), above 0.
        requested_at: Time of each request (n), seconds since 1970 UTC; NaN where unknown.
        run: Number of the run or session that each request belongs to (n).
        ttft_s: Seconds from sending each request to its first token (n); NaN where not observed.
        in_flight: Mean number of the client's requests in flight during each one, itself included (n); NaN where
            unknown.
    """

    prompt_tokens: FloatArray
    output_tokens: FloatArray
    seconds: FloatArray
    requested_at: FloatArray
    run: IntArray
    ttft_s: FloatArray
    in_flight: FloatArray

    @classmethod
    def of(
        cls,
        prompt_tokens: ArrayLike,
        output_tokens: ArrayLike,
        seconds: ArrayLike,
        *,
        requested_at: ArrayLike = np.nan,
        run: ArrayLike = 0,
        ttft_s: ArrayLike = np.nan,
        in_flight: ArrayLike = np.nan,
    ) -> Self:
        """Build a log from columns, sorted by time if all times are known; a scalar fills a whole column.

        Raises:
            InputError: A count or a duration is out of range.

        Example:
            >>> log = ServiceLog.of([120, 900], [16, 16], [0.9, 1.1], requested_at=[60.0, 0.0])
            >>> log.seconds.tolist()
            [1.1, 0.9]
        """
        columns = np.broadcast_arrays(prompt_tokens, output_tokens, seconds, requested_at, run, ttft_s, in_flight)
        p, o, s, at, runs, ttft, flying = (np.array(column, dtype=np.float64).reshape(-1) for column in columns)
        if not (np.isfinite(s) & (s > 0)).all():
            raise InputError(f"A request took {s[~(np.isfinite(s) & (s > 0))][0]} s, expected more than 0.")
        if (p < 1).any() or (o < 1).any():
            raise InputError("A request has no prompt tokens or no output tokens, expected at least 1 of each.")
        log = cls(p, o, s, at, runs.astype(np.int64), ttft, flying)
        return log if np.isnan(at).any() else log.where(np.argsort(at, kind="stable"))

    def __len__(self) -> int:
        return len(self.seconds)

    def where(self, chosen: BoolArray | IntArray) -> Self:
        """Return the requests that a mask or an array of indices selects."""
        return type(self)(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def with_first_tokens(self) -> tuple[Self, IntArray]:
        """Return the log with one more entry for each request with an observed first token.

        The added entry is the same request with one output token, timed by its first token.

        Returns:
            The longer log, and for each of its entries the index of the request in this log.
        """
        seen = np.flatnonzero(np.isfinite(self.ttft_s) & (self.output_tokens > 1))
        source = np.append(np.arange(len(self)), seen)
        is_first = np.arange(len(source)) >= len(self)
        log = self.where(source)
        seconds = np.where(is_first, log.ttft_s, log.seconds)
        output_tokens = np.where(is_first, 1.0, log.output_tokens)
        return replace(log, seconds=seconds, output_tokens=output_tokens), source

    def blocks(self) -> IntArray:
        """Return the number (n, from 0) of the group that each request is resampled with.

        If runs repeat each other's lengths, as in archives, the groups are whole runs, so that differences from run to
        run widen the intervals. Otherwise they are stretches of neighbours in a run, about the cube root of its length,
        because contention comes in bursts.
        """
        runs = np.unique(self.run, return_inverse=True)[1]
        if self._runs_repeat():
            return np.asarray(runs, dtype=np.int64)
        sizes = np.bincount(runs)
        lengths = np.maximum(np.round(sizes ** (1.0 / 3.0)), 1.0)
        rank = np.empty(len(self))
        for run in range(len(sizes)):
            rank[runs == run] = np.arange(sizes[run])
        labels = runs * (len(self) + 1.0) + rank // lengths[runs]
        return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)

    def _runs_repeat(self) -> bool:
        """Return True if most requests have lengths (within a factor 2) that occur in three runs or more."""
        if len(np.unique(self.run)) < 8:
            return False
        cells = np.column_stack([np.floor(np.log2(self.prompt_tokens + 1.0)), np.floor(np.log2(self.output_tokens))])
        cell = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
        pairs = np.unique(np.column_stack([cell, self.run]), axis=0)[:, 0]
        return bool(np.mean(np.bincount(pairs)[cell] >= 3) >= 0.8)
