"""Requests at load: shares that add up, loads that are stated, and reasons where nothing can be told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helm_efficiency import Coefficients, Domain, Fit, RequestRecord, RuntimeCoefficients, Stack, score_requests
from helm_efficiency.cli import app
from helm_efficiency.core.serving.load import Load, ServiceLevel
from helm_efficiency.core.serving.server import Speculation
from helm_efficiency.metrics.at_load import DEFAULT_BUSY_SERVER, BusyServer
from helm_efficiency.metrics.efficiency import ScoredRequests

COEFFICIENTS = RuntimeCoefficients(
    "linear",
    ((1, 0.01), (512, 0.03), (4096, 0.26)),
    0.010,
    Domain(1, 4096, 1, 4096, max_batch_size=64),
    decode_s_per_context_token=2e-8,
    batch_knots=((1, 1.0, 0.010), (8, 1.0, 0.011), (64, 1.0, 0.016)),
)
STACK = Stack("h100", "h100-sxm", 4, engine="vllm", dtype="bf16", tensor_parallel=4)
FIT = Fit("meta/llama-3-70b", STACK, COEFFICIENTS)


def record(index: int, **facts: object) -> RequestRecord:
    """A request of Llama 3 70B with lengths of its own."""
    names = {"harness": "mine", "suite": "", "run": "chat", "scenario": "chat", "instance_id": str(index)}
    lengths = {"prompt_tokens": 100 + 37 * (index % 40), "output_tokens": 20 + 13 * (index % 23)}
    return RequestRecord(**names, model="meta/llama-3-70b", deployment="meta/llama-3-70b", **lengths | facts)


RECORDS = tuple(record(index) for index in range(200))


def score(
    fit: Fit = FIT, busy: BusyServer | None = DEFAULT_BUSY_SERVER, records: Sequence[RequestRecord] = RECORDS
) -> ScoredRequests:
    """Score records on the stack of a fit."""
    [scored] = score_requests(records, Coefficients.from_fits([fit]), stacks=[fit.stack.name], busy=busy)
    return scored


def test_one_client_costs_what_requests_alone_cost() -> None:
    scored = score(busy=BusyServer(Load(clients=1)))
    assert scored.load == "1 client"
    assert scored.loaded_accelerator_s.sum() == pytest.approx(scored.accelerator_s.sum(), rel=0.01)
    np.testing.assert_allclose(scored.loaded_s, scored.idealized.seconds, rtol=0.01)


def test_load_makes_requests_cheaper_and_slower() -> None:
    scored = score()
    assert scored.load == "ttft=1s,tpot=0.05s,at=p95"
    assert scored.loaded_accelerator_s.sum() < 0.1 * scored.accelerator_s.sum()
    assert (scored.loaded_s > scored.idealized.seconds).all()


def test_longer_requests_pay_more() -> None:
    records = [record(0, prompt_tokens=p, output_tokens=o) for p, o in [(100, 50), (2000, 50), (100, 500)] * 20]
    short, prompt, output = score(records=records).loaded_accelerator_s[:3]
    assert prompt > 2 * short
    assert output > 5 * short


def test_completions_share_one_prompt() -> None:
    many = [replace_facts(r, num_completions=4, max_completion_tokens=r.output_tokens) for r in RECORDS]
    one, four = (score(busy=BusyServer(Load(clients=1)), records=records) for records in (RECORDS, many))
    per_request = four.loaded_accelerator_s / one.loaded_accelerator_s
    assert (per_request > 3.0).all(), "served one after the other by a single client"
    assert (per_request < 4.0).all(), "but prefilled once"


def replace_facts(asked: RequestRecord, **facts: object) -> RequestRecord:
    """The same request with other facts."""
    return record(int(asked.instance_id), **facts)


def test_prefix_cache_and_speculation_save_time() -> None:
    records = [record(index, cache_read_tokens=90) for index in range(200)]
    plain, cached, drafted = (
        score(busy=busy, records=records).loaded_accelerator_s.sum()
        for busy in (
            BusyServer(Load(clients=4)),
            BusyServer(Load(clients=4), prefix_cache=True),
            BusyServer(Load(clients=4), Speculation(3, 0.9)),
        )
    )
    assert cached < plain
    assert drafted < 0.5 * plain


@pytest.mark.parametrize(
    ("fit", "busy", "reason"),
    [
        (replace(FIT, coefficients=replace(COEFFICIENTS, batch_knots=())), BusyServer(), "one batch size alone"),
        (replace(FIT, stack=replace(STACK, accelerator="abacus")), BusyServer(), "memory of abacus unknown"),
        (replace(FIT, stack=replace(STACK, dtype="")), BusyServer(), "bytes of a weight unknown"),
        (replace(FIT, stack=replace(STACK, num_accelerators=1)), BusyServer(), "no room"),
        (FIT, BusyServer(Load(level=ServiceLevel(tpot_s=0.001))), "one request alone breaks"),
        (FIT, BusyServer(Load(requests_per_s=1e4)), "more than the server can complete"),
    ],
)
def test_missing_numbers_have_a_reason_and_are_never_0(fit: Fit, busy: BusyServer, reason: str) -> None:
    scored = score(fit, busy)
    assert np.isnan(scored.loaded_s).all()
    assert np.isnan(scored.loaded_usd).all()
    assert not np.isnan(scored.idealized.seconds).any()
    assert {reason in text for text in scored.load_reasons} == {True}


def test_nothing_at_load_is_asked_for() -> None:
    scored = score(busy=None)
    assert np.isnan(scored.loaded_s).all()
    assert scored.load == "" and set(scored.load_reasons) == {""}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slo", "ttft=1"], "expected such as ttft=1s,tpot=50ms"),
        (["--concurrency", "0"], "expected 1 or more"),
        (["--rate", "-1"], "expected more than 0"),
        (["--rate", "1", "--concurrency", "2"], "exclude each other"),
        (["--speculate", "many"], "expected tokens and the share accepted"),
        (["--disaggregated"], "not modelled"),
    ],
)
def test_bad_loads_are_one_clear_line(tmp_path: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["rescore", str(tmp_path), "--output", str(tmp_path / "out"), *options])
    assert done.exit_code != 0
    assert message in str(done.exception)


def test_energy_at_load_is_shared_like_time() -> None:
    scored = score(busy=BusyServer(Load(clients=32)))
    per_second = scored.loaded_energy_j / scored.loaded_accelerator_s
    np.testing.assert_allclose(per_second, per_second[0])
    assert 100 < per_second[0] < 2000, "watts, of coefficients that are faster than an H100"
    assert np.isnan(score(busy=BusyServer(Load(clients=1))).loaded_energy_j).all(), "published for batches alone"
