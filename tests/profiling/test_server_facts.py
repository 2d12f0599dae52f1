"""What servers say of themselves becomes the name of the stack, the range of lengths, and times beside the client's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.raw_server import HEAD, RawServer, good, raw_server

from helm_efficiency.errors import InputError
from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.jobs import EndpointJob, run_endpoint_job
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.replies import Reply
from helm_efficiency.profiling.endpoint.server import ServerFacts, ask_server, is_cpu_only
from helm_efficiency.profiling.endpoint.timing import EndpointTimer, warm_up
from helm_efficiency.profiling.noise import Repetitions

ACCELERATOR = "cpu" if is_cpu_only() else "unknown"
ONCE = Repetitions(num_warmups=0, num_repetitions=1, max_repetitions=1, max_spread_fraction=float("inf"))
COUNTED = [good(16, 1), good(112, 1)]


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as made:
        yield made


def page(content: Any) -> bytes:
    return HEAD + b"\r\n" + (content if isinstance(content, bytes) else json.dumps(content).encode())


def listed(**more: Any) -> bytes:
    return page({"object": "list", "data": [{"id": "m", "object": "model", **more}]})


SERVERS = {
    "vllm": (
        {"/v1/models": listed(owned_by="vllm", root="m", max_model_len=2048), "/version": page({"version": "0.32.0"})},
        ServerFacts("m", "vllm", "0.32.0", "", ACCELERATOR, 2048),
    ),
    "sglang": (
        {
            "/v1/models": listed(owned_by="sglang", max_model_len=4096),
            "/get_server_info": page({"version": "0.5.4", "dtype": "torch.bfloat16"}),
        },
        ServerFacts("m", "sglang", "0.5.4", "bf16", ACCELERATOR, 4096),
    ),
    "llama.cpp": (
        {
            "/v1/models": listed(owned_by="llamacpp", meta={"n_ctx": 512, "ftype": "Q8_0"}),
            "/props": page(
                {
                    "build_info": "b11434-unknown",
                    "model_ftype": "Q8_0",
                    "default_generation_settings": {"n_ctx": 512, "params": {}},
                }
            ),
        },
        ServerFacts("m", "llama.cpp", "b11434", "q8_0", ACCELERATOR, 512),
    ),
    "tgi": (
        {
            "/v1/models": listed(owned_by="m"),
            "/info": page({"version": "3.3.4", "model_dtype": "float16", "max_total_tokens": 8192}),
        },
        ServerFacts("m", "tgi", "3.3.4", "fp16", ACCELERATOR, 8192),
    ),
    "nothing": ({}, ServerFacts("m", accelerator=ACCELERATOR)),
    "nonsense": (
        {"/v1/models": page(b"[" * 100_000), "/version": page({"version": 7}), "/props": page({"build_info": []})},
        ServerFacts("m", accelerator=ACCELERATOR),
    ),
    "wrong types": ({"/v1/models": listed(owned_by=["vllm"])}, ServerFacts("m", accelerator=ACCELERATOR)),
    "hostile names": (
        {
            "/v1/models": listed(owned_by="vllm", max_model_len=-5),
            "/version": page({"version": f"1 =\x1b[2J{'9' * 99}"}),
        },
        ServerFacts("m", "vllm", f"1-2J{'9' * 26}", "", ACCELERATOR),
    ),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_servers_say_what_they_are(server: RawServer, kind: str) -> None:
    pages, facts = SERVERS[kind]
    server.pages.update(pages)
    with Endpoint(EndpointOptions(server.url, "m")) as endpoint:
        assert ask_server(endpoint, "m") == facts


def test_a_stack_is_named_after_what_is_known() -> None:
    facts = ServerFacts("m", "vllm", "0.32.0", "", "cpu", 2048)
    assert facts.stack().name == "cpu-vllm-0.32.0"
    told = facts.with_given(accelerator="h200-sxm", engine="", dtype="fp8").stack()
    assert (told.name, told.engine_version) == ("h200-sxm-vllm-0.32.0-fp8", "0.32.0")
    assert facts.with_given(accelerator="", engine="sglang", dtype="").stack().name == "cpu-sglang", (
        "not vLLM's version"
    )
    assert ServerFacts("m").stack().name == "unknown-server", "never an address"
    assert ServerFacts("m", accelerator="cpu").stack().name == "cpu-unknown-server"


def test_the_only_model_of_a_server_need_not_be_named(server: RawServer, tmp_path: Path) -> None:
    server.pages["/v1/models"] = listed(owned_by="vllm", max_model_len=40)
    server.answers = [*COUNTED, good(8)]
    job = EndpointJob(EndpointOptions(server.url, ""), cells=CellChoice((8, 64), (4,)), repetitions=ONCE)
    profile, _ = run_endpoint_job(job, CellFiles(tmp_path))
    assert profile.deployment == "m" and {asked["model"] for asked in server.asked} == {"m"}
    assert set(profile.cells()) == {(8, 4, 1)}, "64 tokens are beyond what the server takes"
    server.pages["/v1/models"] = page({"data": [{"id": "a"}, {"id": "b"}]})
    with pytest.raises(InputError, match=r"does not say which one model it serves. Name it: profile MODEL"):
        run_endpoint_job(job, CellFiles(tmp_path))


def test_what_the_user_says_counts_more(server: RawServer, tmp_path: Path) -> None:
    server.pages.update(SERVERS["vllm"][0])
    server.answers = [*COUNTED, good(8)]
    job = EndpointJob(
        EndpointOptions(server.url, "m"),
        "me/m",
        accelerator="a100-80gb",
        dtype="bf16",
        shared_prompts=True,
        cells=CellChoice((8,), (4,)),
        repetitions=ONCE,
    )
    profile, _ = run_endpoint_job(job, CellFiles(tmp_path))
    assert profile.stack.name == "a100-80gb-vllm-0.32.0-bf16-warm"
    assert (profile.deployment, profile.stack.engine_version) == ("me/m", "0.32.0")


def timed(server: RawServer, cell: Cell) -> Any:
    with Endpoint(EndpointOptions(server.url, "m")) as endpoint:
        return EndpointTimer(endpoint, repetitions=ONCE)(cell)


def test_a_round_of_requests_is_a_batch(server: RawServer) -> None:
    server.answers = [*COUNTED, good(8), good(9), good(10)]
    result = timed(server, Cell(8, 4, 3))
    (measured,) = result.measurements
    assert (measured.prompt_tokens, measured.output_tokens, measured.batch_size) == (9, 4, 3)
    assert measured.ttft_s is not None and measured.ttft_s <= measured.seconds


def test_what_the_server_adds_to_prompts_is_said_once(server: RawServer) -> None:
    server.answers = [good(16 + 7, 1), good(112 + 7, 1), good(8)]
    with Endpoint(EndpointOptions(server.url, "m")) as endpoint:
        timer = EndpointTimer(endpoint, repetitions=ONCE)
        notes = [timer(Cell(8, 4)).note for _ in range(2)]
    assert notes == ["the server adds 7 tokens to every prompt (start token, chat template)", ""]


METRICS = """\
# TYPE vllm:request_queue_time_seconds histogram
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="m"}} 0.0
vllm:prefix_cache_hits_total{{engine="0",model_name="m"}} {hits}
vllm:request_queue_time_seconds_count{{engine="0",model_name="m"}} {count}
vllm:request_queue_time_seconds_sum{{engine="0",model_name="m"}} {queue}
vllm:request_prefill_time_seconds_sum{{engine="0",model_name="m"}} {prefill}
vllm:request_decode_time_seconds_sum{{engine="0",model_name="m"}} {decode}
"""


def test_counters_of_the_engine_stand_beside_the_client_s_times(server: RawServer) -> None:
    server.answers = [*COUNTED, good(8)]
    before = {"running": 2.0, "hits": 5.0, "count": 10.0, "queue": 1.0, "prefill": 2.0, "decode": 3.0}
    after = {"running": 0.0, "hits": 21.0, "count": 14.0, "queue": 1.8, "prefill": 2.4, "decode": 3.04}
    server.pages["/metrics"] = [page(METRICS.format(**values).encode()) for values in (before, after)]
    result = timed(server, Cell(8, 4))
    engine = result.engine
    assert result.note == "5 requests of other clients were in its way"
    assert engine["queue_s"] == pytest.approx(0.2) and engine["prefill_s"] == pytest.approx(0.1)
    assert engine["decode_s"] == pytest.approx(0.01), "of 4 requests that ended"
    assert (engine["cached_tokens"], engine["others"]) == (16, 5), "3 ended beside ours, 2 were there before"


def test_counters_that_do_not_count_ours_say_nothing(server: RawServer) -> None:
    server.answers = [*COUNTED, good(8)]
    still = {"running": 0.0, "hits": 0.0, "count": 10.0, "queue": 1.0, "prefill": 2.0, "decode": 3.0}
    server.pages["/metrics"] = page(METRICS.format(**still).encode())
    assert timed(server, Cell(8, 4)).engine == {}


def test_times_that_come_with_an_answer_are_kept(server: RawServer) -> None:
    timings = {"prompt_n": 5, "prompt_ms": 250.0, "predicted_n": 4, "predicted_ms": 30.0, "cache_n": 3}
    told = {"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 4}, "timings": timings}
    server.answers = [*COUNTED, HEAD + b"\r\ndata: " + json.dumps(told).encode() + b"\n\n"]
    result = timed(server, Cell(8, 4))
    assert (result.engine["prefill_s"], result.engine["decode_s"]) == (0.25, 0.03) and "queue_s" not in result.engine
    assert "1 prompts partly from the server's prefix cache (up to 3 tokens)" in result.note


@pytest.mark.parametrize(
    ("seconds", "asked", "said"),
    [
        ([0.21, 0.20], 2, ""),
        (
            [12.3, 4.0, 0.21, 0.20],
            4,
            "the first request took 12 s and later ones 0.2 s: the server compiled",
        ),
        ([0.04, 0.01, 0.01], 3, ""),
        ([64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0], 6, "the first request took 64 s and later ones 2 s"),
    ],
)
def test_warm_ups_go_on_while_the_server_becomes_faster(seconds: list[float], asked: int, said: str) -> None:
    rounds = iter([(Reply(each, 8, 4),) for each in seconds])
    assert warm_up(lambda: next(rounds), 1).startswith(said)
    assert len(list(rounds)) == len(seconds) - asked
