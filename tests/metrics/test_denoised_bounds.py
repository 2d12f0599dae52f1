"""Upper bounds of denoised runtimes: marked in tables and on boards, never ranked, never part of a factor."""

from dataclasses import replace

import numpy as np
from helpers.archives import some_coefficients
from helpers.scored_tables import request, tables

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.metrics.efficiency import score_requests
from helm_efficiency.report.display import display
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow
from helm_efficiency.report.text import to_text

DEPLOYMENT = "groq/llama3-70b-8192"
ASKED = RequestRecord(
    harness="mine",
    suite="",
    run="chat",
    scenario="chat",
    model="meta/llama-3-70b",
    deployment=DEPLOYMENT,
    instance_id="1",
    prompt_tokens=1000,
    output_tokens=11,
)


def test_bounds_are_scored_apart() -> None:
    coefficients = some_coefficients()
    (known,) = score_requests([ASKED], coefficients, stacks=["a100"])
    services = {DEPLOYMENT: replace(coefficients.services[DEPLOYMENT], is_upper_bound=True)}
    (bound,) = score_requests([ASKED], replace(coefficients, services=services), stacks=["a100"])
    assert known.denoised.seconds == known.denoised_s_at_most  # 0.1 s + 10 * 0.03 s
    np.testing.assert_allclose(bound.denoised_s_at_most, [0.4])
    assert np.isnan([bound.denoised.seconds, bound.denoised.low_s, bound.denoised.high_s]).all()


def test_bounds_are_marked_and_never_ranked() -> None:
    rows = [
        request(name, "boolq", index, float(index % 2), **facts)
        for name, facts in (
            ("host/bound", {"denoised_s_at_most": 0.2}),
            ("host/known", {"denoised_s": 0.5, "denoised_s_at_most": 0.5}),
        )
        for index in range(6)
    ]
    board = build(from_arrow(*tables(rows)))
    part = board.part().set_index("deployment")
    assert part["provider_factor"].isna().to_dict() == {"host/bound": True, "host/known": False}
    assert part["denoised_s_rank"].isna()["host/bound"]
    text = to_text(display(board), width=200)
    assert "≤ 200" in text and "≤ 500" not in text and "≤ is an upper bound" in text
