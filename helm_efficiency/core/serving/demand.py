"""Demand of a load's requests on a server: passes, contexts, prompts, and slots in its cache."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steps import StepTimes

_POINTS = 16
"""Number of batch sizes at which the seconds added by a prompt are computed; between them they are linear. Four times
as many move a time of an output token by less than 0.1 %."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests on a server, before any queueing, with sums over them that are computed once.

    Attributes:
        steps: Times of forward passes.
        lengths: Requests of the load.
        server: Limits of the server.
        most: Largest batch, without the limit of the key-value cache.
        slots: Requests that may run at once, by batch and key-value cache; at least one.
        passes: Mean decode passes of a request.
        context: Mean context of a sequence in a decode pass.
        prompts_of_a_chunk: Prompts that one pass takes.
        prefill_s: Mean seconds that a prompt takes alone.
        batches: Batch sizes of `added_s` and `added_squared`, ascending.
        added_s: Mean seconds that a prompt adds to the passes of each batch of decoding sequences, as one of many.
        added_squared: Mean square of the seconds that a prompt adds as the only one.
    """

    steps: StepTimes
    lengths: Lengths
    server: Server
    most: float
    slots: float
    passes: float
    context: float
    prompts_of_a_chunk: float
    prefill_s: float
    batches: FloatArray
    added_s: FloatArray
    added_squared: FloatArray

    @classmethod
    def of(cls, steps: StepTimes, lengths: Lengths, server: Server) -> Self:
        """Compute the sums over the requests."""
        most = float(server.max_batch_size or steps.max_batch_size)
        decode_steps = lengths.mean(lengths.decode_steps)
        slots = _slots(lengths, server, most)
        batches = np.unique(np.round(np.geomspace(1.0, max(slots, 2.0), _POINTS)))
        passes = decode_steps / server.tokens_per_pass
        alone_s = steps.new_prompt_s(lengths.prompt_tokens, lengths.cached_tokens)
        beside_s = [_beside_s(steps, lengths, server, batch, alone_s) for batch in batches]
        return cls(
            steps=steps,
            lengths=lengths,
            server=server,
            most=most,
            slots=slots,
            passes=passes,
            context=lengths.mean(lengths.context_steps) / decode_steps if decode_steps else 0.0,
            prompts_of_a_chunk=server.chunk_tokens
            / max(lengths.mean(lengths.prompt_tokens - lengths.cached_tokens), 1.0),
            prefill_s=lengths.mean(alone_s),
            batches=batches,
            added_s=np.array(
                [
                    lengths.mean(alone_s - share_hidden(batch, passes) * (alone_s - each))
                    for batch, each in zip(batches, beside_s, strict=True)
                ]
            ),
            added_squared=np.array([lengths.mean(each**2) for each in beside_s]),
        )

    def batch_s(self, batch: float) -> float:
        """Return the seconds of a decode pass without contexts; with speculation, of several tokens per sequence."""
        speculation = self.server.speculation
        if speculation is None:
            return self.steps.batch_s(batch)
        return self.steps.batch_s(batch * (speculation.draft_tokens + 1)) + speculation.draft_s

    def pass_s(self, batch: float) -> float:
        """Return the seconds of a decode pass of sequences with the mean context."""
        return self.batch_s(batch) + self.steps.decode_s_per_context_token * batch * self.context

    def mean_added_s(self, batch: float) -> float:
        """Return the mean seconds that a prompt, as one of many, adds to passes of `batch` sequences."""
        return float(np.interp(batch, self.batches, self.added_s))

    def mean_added_squared(self, batch: float) -> float:
        """Return the mean square of the seconds that a prompt adds as the only one."""
        return float(np.interp(batch, self.batches, self.added_squared))

    def capacity(self) -> float:
        """Return the most requests per second, with the batch always full."""
        batch = self.slots
        return 1.0 / (self.mean_added_s(batch) + self.passes * self.pass_s(batch) / batch)


def share_hidden(batch: float, passes: float) -> float:
    """Return the share of prompts that are the first in their pass: only these hide behind the decoding of `batch`.

    The number of new prompts in a pass is random; on average it equals the sequences that end in it, batch / passes.
    """
    per_pass = batch / passes if passes else 0.0
    return -math.expm1(-per_pass) / per_pass if per_pass else 0.0


def _beside_s(steps: StepTimes, lengths: Lengths, server: Server, batch: float, alone_s: FloatArray) -> FloatArray:
    """Return the seconds that each kind of prompt adds to passes of `batch` decoding sequences; at most those alone."""
    if server.prefill_first:
        return alone_s
    chunk, cached = server.chunk_tokens, lengths.cached_tokens
    return np.minimum(steps.added_s(lengths.prompt_tokens, batch, cached=cached, chunk_tokens=chunk), alone_s)


def _slots(lengths: Lengths, server: Server, most: float) -> float:
    """Return the number of requests that may run at once.

    A running request counts with its whole length from the start, as in engines that never evict (TensorRT-LLM's
    default); longer ones run longer and so have a higher weight.
    """
    whole = lengths.prompt_tokens + lengths.output_tokens
    weights = lengths.weights * (lengths.output_tokens + 1.0)
    held = float(weights @ whole) / float(weights.sum())
    return max(min(most, server.kv_tokens / held if held else math.inf), 1.0)
