"""What an endpoint's client times is what the model takes in a process of one's own, and an overhead."""

from typing import TYPE_CHECKING

import numpy as np

from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.timing import EndpointTimer
from helm_efficiency.profiling.local_timing import CellTimer
from helm_efficiency.profiling.models import ModelOptions, load_model, stored_model
from helm_efficiency.profiling.noise import Repetitions

if TYPE_CHECKING:
    from conftest import Server

CELLS = {"none": Cell(16, 2), "prefill": Cell(400, 2), "decode": Cell(16, 18)}


def test_served_and_in_process_timings_agree_but_for_the_overhead(server: "Server") -> None:
    once = Repetitions(num_warmups=0, num_repetitions=1, max_repetitions=1)
    subject = stored_model(server.model, ModelOptions("cpu"))
    here = CellTimer(subject, load_model(subject), "transformers-eager", repetitions=once)
    with Endpoint(EndpointOptions(server.base_url, str(server.model), chat=True)) as endpoint:
        there = EndpointTimer(endpoint, repetitions=once)
        rounds = [  # turn about, because what a busy machine leaves to either of them drifts
            [[timer(cell).measurements[0].seconds for cell in CELLS.values()] for timer in (there, here)]
            for _ in range(12)
        ]
    # Whatever else the machine does only adds to a time, so that the least of each is the least disturbed.
    served_s, local_s = (dict(zip(CELLS, least, strict=True)) for least in np.min(rounds, axis=0))
    for what in ("prefill", "decode"):
        # The overhead of a request is the same in both cells, so that it is not in their difference.
        ratio = (served_s[what] - served_s["none"]) / (local_s[what] - local_s["none"])
        # A server with its several threads gets another share of a machine than one process. Counting chunks for
        # tokens, or a first token with its queue for prefill, would be off by more than that.
        assert 0.4 < ratio < 2.5, (what, served_s, local_s)
