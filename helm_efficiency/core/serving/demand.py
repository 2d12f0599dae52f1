"""What the requests of a load ask of a server: passes, contexts, prompts, and places in its cache."""

import math
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.runtime_model import FloatArray
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steps import StepTimes


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests on a server, before any queueing.

    Attributes:
        steps: Times of forward passes.
        lengths: Requests of the load.
        server: Limits of the server.
    """

    steps: StepTimes
    lengths: Lengths
    server: Server

    @property
    def most(self) -> float:
        """Largest batch, before the key-value cache is asked."""
        return float(self.server.max_batch_size or self.steps.max_batch_size)

    @property
    def slots(self) -> float:
        """Requests that may run at once, by batch and key-value cache; at least one.

        A running request is counted with its whole length from its start on, as engines do that never evict
        (TensorRT-LLM's default); longer ones run longer and so weigh more.
        """
        lengths = self.lengths
        whole = lengths.prompt_tokens + lengths.output_tokens
        weights = lengths.weights * (lengths.output_tokens + 1.0)
        held = float(weights @ whole) / float(weights.sum())
        return max(min(self.most, self.server.kv_tokens / held if held else math.inf), 1.0)

    @property
    def passes(self) -> float:
        """Mean decode passes of a request."""
        return self.lengths.mean(self.lengths.decode_steps) / self.server.tokens_per_pass

    @property
    def context(self) -> float:
        """Mean context of a sequence in a decode pass."""
        steps = self.lengths.mean(self.lengths.decode_steps)
        return self.lengths.mean(self.lengths.context_steps) / steps if steps else 0.0

    @property
    def prompts_of_a_chunk(self) -> float:
        """Prompts that one pass takes."""
        new = self.lengths.mean(self.lengths.prompt_tokens - self.lengths.cached_tokens)
        return self.server.chunk_tokens / max(new, 1.0)

    def batch_s(self, batch: float) -> float:
        """Return the seconds of a decode pass without contexts; speculation checks several tokens of a sequence."""
        speculation = self.server.speculation
        if speculation is None:
            return self.steps.batch_s(batch)
        return self.steps.batch_s(batch * (speculation.draft_tokens + 1)) + speculation.draft_s

    def pass_s(self, batch: float) -> float:
        """Return the seconds of a decode pass of sequences with the mean context."""
        return self.batch_s(batch) + self.steps.decode_s_per_context_token * batch * self.context

    def prefill_s(self) -> FloatArray:
        """Return the seconds that each kind of prompt takes alone."""
        return self.steps.new_prompt_s(self.lengths.prompt_tokens, self.lengths.cached_tokens)

    def added_s(self, batch: float, *, hidden: float = 1.0) -> FloatArray:
        """Return the seconds that each kind of prompt adds to passes of `batch` decoding sequences.

        Args:
            batch: Sequences that decode, 1 or more.
            hidden: Share of the prompts that are the first in their pass: only these hide behind the decoding.
        """
        alone_s = self.prefill_s()
        if self.server.prefill_first:
            return alone_s
        lengths, chunk = self.lengths, self.server.chunk_tokens
        beside_s = self.steps.added_s(lengths.prompt_tokens, batch, cached=lengths.cached_tokens, chunk_tokens=chunk)
        return np.asarray(alone_s - hidden * np.maximum(alone_s - beside_s, 0.0))

    def hidden(self, batch: float) -> float:
        """Return the share of prompts that are the first in their pass, where `batch` sequences decode beside them.

        Each pass brings as many new prompts as sequences end in it, batch / passes on average, by chance.
        """
        per_pass = batch / self.passes if self.passes else 0.0
        return -math.expm1(-per_pass) / per_pass if per_pass else 1.0

    def mean_added_s(self, batch: float) -> float:
        """Return the mean seconds that a prompt adds where it is one of many."""
        added_s = self.added_s(batch, hidden=self.hidden(batch)) if self.passes else self.prefill_s()
        return self.lengths.mean(added_s)

    def capacity(self) -> float:
        """Return the most requests a second, with the batch always full."""
        batch = self.slots
        return 1.0 / (self.mean_added_s(batch) + self.passes * self.pass_s(batch) / batch)
