"""A server under load: known limits, agreement of the equations with the event simulation, and shares that add up."""

import math

import numpy as np
import pytest
from _simulated_server import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from helm_efficiency import Domain, InputError, InsufficientMeasurementsError, RuntimeCoefficients
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import Load, ServiceLevel
from helm_efficiency.core.serving.server import Server, Speculation, kv_cache_tokens
from helm_efficiency.core.serving.steady_state import capacity, closed_loop, highest_load, open_loop, solve
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import Serving, place_model

COEFFICIENTS = RuntimeCoefficients(
    "linear",
    ((1, 0.01), (128, 0.012), (1024, 0.06), (4096, 0.26), (8192, 0.6)),
    0.010,
    Domain(1, 8192, 1, 4096, max_batch_size=256),
    decode_s_per_context_token=2e-8,
    overhead_s=0.005,
    batch_knots=((1, 1.0, 0.010), (8, 1.0, 0.011), (64, 1.0, 0.016), (256, 1.0, 0.030)),
)
STEPS = StepTimes.from_coefficients(COEFFICIENTS)
RANDOM = np.random.default_rng(1)
POINTS = (np.arange(64) + 0.5) / 64
CHAT = Lengths.of(820 + 204 * POINTS, 205 + 51 * RANDOM.permutation(POINTS))
PAPERS = Lengths.of(6500 + 1692 * POINTS, 205 + 51 * RANDOM.permutation(POINTS))
SPREAD = np.exp(ndtri(POINTS))
MIXED = Lengths.of(np.ceil(400 * SPREAD), np.ceil(55 * RANDOM.permutation(SPREAD)))
SERVERS = [Server(), Server(prefill_first=True)]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("p", "o"), [(1000, 300), (20_000, 50), (7, 1), (500, 2)])
def test_one_client_is_the_request_alone(p: int, o: int, server: Server) -> None:
    served = closed_loop(STEPS, Lengths.of(p, o), clients=1, server=server)
    alone_s = float(COEFFICIENTS.predict(p, o).seconds)
    assert served.request_s.mean == pytest.approx(alone_s, rel=1e-7)
    assert served.requests_per_s == pytest.approx(1.0 / alone_s, rel=1e-7)
    assert served.accelerator_s(p, o) == pytest.approx(alone_s, rel=1e-7)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("lengths", [CHAT, PAPERS, MIXED], ids=["chat", "papers", "mixed"])
@pytest.mark.parametrize("clients", [4, 48])
def test_closed_loop_agrees_with_the_simulation(lengths: Lengths, clients: int, server: Server) -> None:
    served = closed_loop(STEPS, lengths, clients=clients, server=server)
    seen = simulate(STEPS, lengths, Load(clients=clients), server=server, num_requests=600 + 10 * clients)
    assert served.requests_per_s == pytest.approx(seen.requests_per_s, rel=0.05)
    assert served.tpot_s.mean == pytest.approx(float(seen.tpot_s.mean()), rel=0.07)
    assert served.ttft_s.mean == pytest.approx(float(seen.ttft_s.mean()), rel=0.25)
    assert served.running_batch == pytest.approx(seen.running_batch, rel=0.02)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("lengths", [CHAT, PAPERS, MIXED], ids=["chat", "papers", "mixed"])
@pytest.mark.parametrize("used", [0.3, 0.7])
def test_open_loop_agrees_with_the_simulation(lengths: Lengths, used: float, server: Server) -> None:
    rate = used * capacity(STEPS, lengths, server=server)
    served = open_loop(STEPS, lengths, requests_per_s=rate, server=server)
    seen = simulate(STEPS, lengths, Load(requests_per_s=rate), server=server, num_requests=2000)
    assert served.tpot_s.mean == pytest.approx(float(seen.tpot_s.mean()), rel=0.15)
    assert served.ttft_s.mean == pytest.approx(float(seen.ttft_s.mean()), rel=0.25)
    assert served.request_s.mean == pytest.approx(float(seen.request_s.mean()), rel=0.12)


@pytest.mark.parametrize("clients", [1, 3, 40, 1000])
def test_littles_law_holds_in_a_closed_loop(clients: int) -> None:
    served = closed_loop(STEPS, MIXED, clients=clients)
    assert served.requests_per_s * served.request_s.mean == pytest.approx(clients, rel=1e-6)


@given(st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_more_clients_never_make_anything_faster(first: int, second: int) -> None:
    fewer, more = (closed_loop(STEPS, CHAT, clients=clients) for clients in sorted((first, second)))
    assert more.request_s.mean >= fewer.request_s.mean * (1 - 1e-9)
    assert more.requests_per_s >= fewer.requests_per_s * (1 - 1e-9)


@pytest.mark.parametrize("load", [Load(clients=1), Load(clients=50), Load(requests_per_s=0.2), Load()])
def test_shares_sum_to_all_the_accelerators_time(load: Load) -> None:
    p, o = RANDOM.integers(1, 3000, 300), RANDOM.integers(1, 900, 300)
    served = solve(STEPS, Lengths.of(p, o), load, server=Server(num_accelerators=4))
    assert served is not None
    assert served.split_accelerator_s(p, o).mean() == pytest.approx(4 / served.requests_per_s)
    assert served.accelerator_s(p, o).mean() == pytest.approx(4 / served.requests_per_s, rel=0.03)


def test_capacity_is_the_time_of_a_full_batch() -> None:
    # one output token: nothing but prefill, 60 ms at 1,024 tokens
    assert capacity(STEPS, Lengths.of(1024, 1)) == pytest.approx(1 / 0.06, rel=0.01)
    # prompts too short to be seen: 256 sequences, a pass of 30 ms and 2e-8 s for each of 256 contexts
    step_s = 0.030 + 2e-8 * 256 * (1 + 1000 / 2)

    full = capacity(STEPS, Lengths.of(1, 1000), server=Server(max_batch_size=256))
    assert full == pytest.approx(256 / (999 * step_s), rel=0.02)


def test_cache_limits_the_batch() -> None:
    small = Server(kv_tokens=30_000)  # 20 requests of 1,500 tokens
    served = closed_loop(STEPS, Lengths.of(1000, 500), clients=100, server=small)
    assert served.limited_by == "kv cache"
    assert served.running_batch < 20
    assert served.queue > 80
    assert served.requests_per_s < 0.5 * closed_loop(STEPS, Lengths.of(1000, 500), clients=100).requests_per_s


def test_cache_holds_what_the_weights_leave() -> None:
    model = Architecture("m", 32, 4096, 32, 8, 128, 14336, 128_256, gated_ffn=True)
    placement = place_model(model, Serving(context_tokens=4096), memory_bytes=80e9)
    # 80 GB less a tenth less 16.1 GB of weights, over 2 x 32 layers x 8 heads x 128 x 2 bytes
    tokens = (0.9 * 80e9 - model.num_parameters() * 2) / (2 * 32 * 8 * 128 * 2)
    assert kv_cache_tokens(model, placement, context_tokens=4096) == pytest.approx(tokens)


def test_clients_that_start_together_wait_for_prompts() -> None:
    steady, measured = (closed_loop(STEPS, CHAT, clients=33, rounds=rounds) for rounds in (math.inf, 10))
    prefill_s = CHAT.mean(STEPS.prefill_s(CHAT.prompt_tokens))
    assert measured.ttft_s.mean - steady.ttft_s.mean == pytest.approx(16 * prefill_s / 10, rel=0.01)


def test_held_back_tokens_do_not_delay_the_last_one() -> None:
    plain = Server.of_engine("sglang")
    held = plain.as_benchmarked("sglang")
    at_once, in_groups = (closed_loop(STEPS, CHAT, clients=8, server=server) for server in (plain, held))
    assert in_groups.request_s.mean == pytest.approx(at_once.request_s.mean + 0.02, rel=0.01)
    assert in_groups.ttft_s.mean == pytest.approx(at_once.ttft_s.mean + 0.02 + 20 * at_once.conditions.step_s, rel=0.01)
    assert Server.of_engine("vllm-0.19").as_benchmarked("vllm-0.19").reply_s == 0.037


def test_highest_load_keeps_the_service_level() -> None:
    level = ServiceLevel.parse("ttft=500ms,tpot=20ms,at=p50")
    served = highest_load(STEPS, CHAT, level=level)
    assert served is not None
    assert served.requests_per_s < capacity(STEPS, CHAT)
    assert served.tpot_s.p50 == pytest.approx(0.02, rel=0.01) or served.ttft_s.p50 == pytest.approx(0.5, rel=0.01)


def test_no_load_keeps_an_impossible_service_level() -> None:
    assert highest_load(STEPS, CHAT, level=ServiceLevel(tpot_s=0.001)) is None


def test_speculation_of_accepted_tokens_saves_passes() -> None:
    two = Server(speculation=Speculation(draft_tokens=1, acceptance_fraction=1.0))
    flat = StepTimes((COEFFICIENTS), (1, 64), (0.010, 0.010), 0.0, 0.0)
    served = closed_loop(flat, Lengths.of(10, 1001), clients=1, server=two)
    assert served.tpot_s.mean == pytest.approx(0.005)  # two tokens a pass of 10 ms
    useless = Server(speculation=Speculation(draft_tokens=1, acceptance_fraction=0.0))
    assert closed_loop(flat, Lengths.of(10, 1001), clients=1, server=useless).tpot_s.mean == pytest.approx(0.010)


def test_cached_prompt_tokens_need_no_prefill() -> None:
    cold, warm = (closed_loop(STEPS, Lengths.of(4096, 10, q), clients=1) for q in (0, 1024))
    assert cold.ttft_s.mean - warm.ttft_s.mean == pytest.approx(0.06)
    whole = closed_loop(STEPS, Lengths.of(4096, 10, 4096), clients=1)
    assert whole.ttft_s.mean == pytest.approx(0.005 + 0.01)  # the last prompt token is computed again


def test_millions_of_lengths_keep_their_means() -> None:
    p, o = RANDOM.integers(1, 9000, 10**5), RANDOM.integers(1, 900, 10**5)
    lengths = Lengths.of(p, o)
    assert lengths.weights.size < 5000
    assert lengths.mean_prompt_tokens == pytest.approx(p.mean())
    assert lengths.mean_output_tokens == pytest.approx(o.mean())


def test_one_batch_size_is_not_enough() -> None:
    alone = RuntimeCoefficients("linear", ((1, 0.01),), 0.01, Domain(1, 1, 1, 1))
    with pytest.raises(InsufficientMeasurementsError, match="several"):
        StepTimes.from_coefficients(alone)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: closed_loop(STEPS, CHAT, clients=0), "clients"),
        (lambda: open_loop(STEPS, CHAT, requests_per_s=0), "requests a second"),
        (lambda: open_loop(STEPS, CHAT, requests_per_s=1e6), "more than the server can complete"),
        (lambda: simulate(STEPS, CHAT, Load()), "not a service level"),
        (lambda: Lengths.of([], []), "at least one"),
        (lambda: Lengths.of(-1, 3), "0 or more"),
        (lambda: Lengths.of(math.nan, 3), "0 or more"),
        (lambda: Lengths.of(3, 3, 4), "cached"),
        (lambda: Load(clients=1, requests_per_s=1), "not both"),
        (lambda: ServiceLevel.parse("ttft=1"), "expected such as"),
        (lambda: ServiceLevel.parse("at=p99"), "expected times above 0"),
        (lambda: Server(chunk_tokens=0), "above 0"),
        (lambda: Server(max_batch_size=0), "1 or more"),
        (lambda: Speculation(0, 0.5), "1 token or more"),
        (lambda: closed_loop(STEPS, CHAT, clients=2, rounds=0), "rounds"),
        (lambda: Server(reply_s=-1), "0 or more"),
    ],
)
def test_bad_input_is_one_clear_line(act, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_batches_are_extrapolated_fourfold_and_no_further() -> None:
    few = StepTimes((COEFFICIENTS), (1, 8), (0.010, 0.011), 0.0, 0.0)
    assert few.batch_s(15) == pytest.approx(0.012)
    served = closed_loop(few, Lengths.of(10, 500), clients=16)
    assert served.extrapolated == pytest.approx(2, rel=0.02)
    assert closed_loop(few, Lengths.of(10, 500), clients=8).extrapolated == 1
    full = closed_loop(few, Lengths.of(10, 500), clients=100)
    assert full.running_batch < 32 and full.limited_by == "batch"
