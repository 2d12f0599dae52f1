"""Servers that misbehave: each is one clear line, nothing is without end, no impossible count is believed."""

import gzip
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.raw_server import HEAD, PLAIN, RawServer, events, good, raw_server, text, usage

from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import BudgetSpentError, CellRefusedError
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.jobs import EndpointJob, run_endpoint_job
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.session import Limits

ONCE = Repetitions(num_warmups=0, num_repetitions=1, max_repetitions=1, max_spread_fraction=math.inf)


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as made:
        yield made


DEEP = b"[" * 100_000
UNREADABLE = {
    "usage of nulls": events(text(), usage(None, None)),
    "usage of text": events(text(), usage("five", "four")),
    "usage of infinity": events(text(), b'{"usage": {"prompt_tokens": Infinity, "completion_tokens": 4}}'),
    "usage of a fraction": events(text(), usage(5, 3.5)),
    "usage that is a string": events(text(), {"usage": "5 and 4"}),
    "usage of 400 digits": events(text(), usage(10**400, 4)),
    "no usage": events(text()),
    "details that are a string": events(text(), usage(prompt_tokens_details="many")),
    "cached tokens in words": events(text(), usage(prompt_tokens_details={"cached_tokens": "many"})),
    "more cached than sent": events(text(), usage(prompt_tokens_details={"cached_tokens": 6})),
    "invalid JSON": events(b"{'choices': 1}"),
    "binary": events(b"\xff\x00\xfe"),
    "very deep": events(b'{"x": ' + DEEP),
    "an event that is no object": events(b"[1, 2]"),
    "choices that are a number": events({"choices": 7}),
    "choices that are an object": events({"choices": {"0": {"text": "a"}}}),
    "choices of numbers": events({"choices": [1, 2]}),
    "a delta that is a string": events({"choices": [{"delta": "a"}]}),
    "no output": events(text(), usage(5, 0)),
    "a negative output": events(text(), usage(5, -5)),
    "a thousand times the output": events(text(), usage(5, 4000)),
    "no prompt": events(text(), usage(0, 4)),
    "an error midway": events(text(), {"error": {"message": "exploded"}}),
    "gzip": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(good()),
    "broken gzip": HEAD + b"Content-Encoding: gzip\r\n\r\nnothing of the kind",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "an empty answer": PLAIN,
    "a page": PLAIN + b"<html>welcome</html>",
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_answer_that_cannot_be_used_is_one_clear_line(server: RawServer, kind: str, stream: bool) -> None:
    answer = UNREADABLE[kind]
    if not stream:  # the event with the counts alone
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line]
        wrong = [line for line in lines if line not in (b"[DONE]", json.dumps(text()).encode())]
        answer = head + b"\r\n\r\n" + b"".join(wrong[-1:])
    server.answers = [answer]
    with (
        Endpoint(EndpointOptions(server.url, "m", stream=stream)) as endpoint,
        pytest.raises(CellRefusedError) as caught,
    ):
        endpoint.request(" hello", 4)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert len(server.asked) == 1, "nothing of this is worth another attempt"


def test_more_pieces_of_text_than_tokens_are_refused(server: RawServer) -> None:
    server.answers = [events(*[text()] * 4, usage(5, 1))]
    refused = pytest.raises(CellRefusedError, match=r"sent 4 pieces of text for 1 output tokens")
    with Endpoint(EndpointOptions(server.url, "m")) as endpoint, refused:
        endpoint.request(" hello", 4)


def test_a_server_that_does_not_stop_is_not_listened_to(server: RawServer) -> None:
    server.answers = [[HEAD + b"\r\n", *[b'data: {"choices": [{"text": "a"}]}\n\n'] * 100, 3600.0]]
    refused = pytest.raises(CellRefusedError, match=r"sent 6 pieces of text for 4 output tokens")
    with Endpoint(EndpointOptions(server.url, "m")) as endpoint, refused:
        endpoint.request(" hello", 4)


def drip() -> Iterator[bytes | float]:
    """A byte of a comment now and then."""
    yield PLAIN + b":"
    for _ in itertools.count():
        yield 0.01
        yield b"."


def silence() -> Iterator[bytes | float]:
    yield 3600.0


def continues() -> Iterator[bytes | float]:
    """An answer is to follow, and again."""
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        yield 0.01


def long_head() -> Iterator[bytes | float]:
    yield HEAD
    for number in itertools.count():
        yield b"X-%d: x\r\n" % number
        yield 0.01


def talks_on() -> Iterator[bytes | float]:
    yield PLAIN
    while True:
        yield b'data: {"choices": [{"text": ""}]}\n\n'
        yield 0.01


ENDLESS = {made.__name__: made for made in (drip, silence, continues, long_head, talks_on)}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_request_ends_when_its_time_is_over(server: RawServer, kind: str) -> None:
    server.answers = [ENDLESS[kind]()]
    options = EndpointOptions(server.url, "m", timeout_s=0.3)
    with Endpoint(options) as endpoint, pytest.raises(CellRefusedError, match=r"had not ended its answer after 0.3 s"):
        endpoint.request(" hello", 4)
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_budget_ends_a_request(server: RawServer, kind: str) -> None:
    server.answers = [ENDLESS[kind]()]
    deadline = Limits.of_budget(0.3).deadline
    with Endpoint(EndpointOptions(server.url, "m"), deadline=deadline) as endpoint:
        with pytest.raises(BudgetSpentError, match=r"the budget ended while"):
            endpoint.request(" hello", 4)
        with pytest.raises(BudgetSpentError, match=r"the budget ended while"):
            endpoint.request_all([" a", " b", " c"], 4)


def test_a_server_that_wants_days_is_not_waited_for(server: RawServer) -> None:
    server.answers = [b"HTTP/1.1 429 Busy\r\nRetry-After: 999999\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
    refused = pytest.raises(BudgetSpentError, match=r"did not answer within the budget. Last: HTTP 429")
    with Endpoint(EndpointOptions(server.url, "m"), deadline=Limits.of_budget(5).deadline) as endpoint, refused:
        endpoint.request(" hello", 4)
    assert len(server.asked) == 1


def much(head: bytes, part: bytes) -> Iterator[bytes]:
    yield head
    while True:
        yield part


@pytest.mark.parametrize(
    ("stream", "head", "part", "said"),
    [
        (True, PLAIN + b"data: ", b"x" * 65536, "sent a line of more than 1,000,000 bytes"),
        (True, PLAIN, b": comment\n" * 6000, "sent more than 64,000,000 bytes"),
        (False, PLAIN, b"x" * 65536, "sent more than 64,000,000 bytes"),
        (True, b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n", b"x" * 65536, "answers HTTP 400: xxx"),
    ],
)
def test_an_endless_answer_is_cut_by_size(server: RawServer, stream: bool, head: bytes, part: bytes, said: str) -> None:
    server.answers = [Again(head, part)]
    refused = pytest.raises(CellRefusedError, match=said)
    with Endpoint(EndpointOptions(server.url, "m", stream=stream)) as endpoint, refused:
        endpoint.request(" hello", 4)


class Again:
    """An endless answer that can be given to several requests."""

    def __init__(self, head: bytes, part: bytes) -> None:
        self._parts = head, part

    def __iter__(self) -> Iterator[bytes]:
        return much(*self._parts)


def job(server: RawServer, *prompt_tokens: int) -> EndpointJob:
    choice = CellChoice(prompt_tokens, (4,))
    return EndpointJob(EndpointOptions(server.url, "m"), "a/m", stack_name="s", cells=choice, repetitions=ONCE)


COUNTED = [good(16, 1), good(112, 1)]


def test_a_bad_reply_costs_its_cell_alone(server: RawServer, tmp_path: Path) -> None:
    server.answers = [*COUNTED, good(8), UNREADABLE["usage of nulls"], good(32)]
    profile, outcome = run_endpoint_job(job(server, 8, 16, 32), CellFiles(tmp_path))
    assert [m.prompt_tokens for m in profile.measurements] == [8, 32]
    assert outcome.notes() == (
        "p=16 o=4: refused: the server does not say how many tokens it used (usage), and chunks are not tokens. "
        "Try --no-stream.",
    )
    assert not outcome.finished and outcome.new_cells == 2
    server.answers = [*COUNTED, good(16)]
    server.asked.clear()
    profile, outcome = run_endpoint_job(job(server, 8, 16, 32), CellFiles(tmp_path))
    assert sorted(m.prompt_tokens for m in profile.measurements) == [8, 16, 32], "what failed is tried again"
    assert outcome.finished and outcome.new_cells == 1 and not outcome.notes()


def test_what_was_measured_is_kept_when_the_budget_ends(server: RawServer, tmp_path: Path) -> None:
    server.answers = [*COUNTED, good(8), drip()]
    limits = Limits.of_budget(2)
    profile, outcome = run_endpoint_job(job(server, 8, 16, 32), CellFiles(tmp_path), limits=limits)
    assert [m.prompt_tokens for m in profile.measurements] == [8]
    assert outcome.notes() == (f"p=16 o=4: the budget ended while {server.url} was answering.",)
    assert not outcome.finished


def test_a_broken_server_is_not_asked_for_every_cell(server: RawServer, tmp_path: Path) -> None:
    server.answers = [*COUNTED, UNREADABLE["usage of text"]]
    with pytest.raises(ProfilingError, match=r"refused: the server answers what cannot be read: Expected `int"):
        run_endpoint_job(job(server, *range(8, 40)), CellFiles(tmp_path))
    assert len(server.asked) == 2 + 3


def test_a_length_that_the_server_refuses_ends_the_range(server: RawServer, tmp_path: Path) -> None:
    refusal = b'{"error": "at most 40 tokens; ignore_eos"}'
    too_long = b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n" + refusal
    server.answers = [*COUNTED, good(8), too_long, good(16)]
    profile, outcome = run_endpoint_job(job(server, 8, 64, 128, 16), CellFiles(tmp_path))
    assert [m.prompt_tokens for m in profile.measurements] == [8, 16], "128 is not asked for"
    assert outcome.notes() == (f"p=64 o=4: too long for the server: {server.url} answers HTTP 400: {refusal.decode()}",)
    assert outcome.finished
    assert all(asked["ignore_eos"] for asked in server.asked), "a refused length says nothing about fields"


@pytest.mark.parametrize("counted", [(16, 16), (16, 15), (16, 112_000), (1600, 1601)])
def test_a_server_that_cannot_count_is_refused(server: RawServer, tmp_path: Path, counted: tuple[int, int]) -> None:
    server.answers = [good(tokens, 1) for tokens in counted]
    said = rf"counts {counted[0]} and {counted[1]} prompt tokens for 16 and 112 words; its usage cannot be trusted"
    with pytest.raises(ProfilingError, match=said):
        run_endpoint_job(job(server, 8), CellFiles(tmp_path))


def test_prompts_that_are_cut_or_counted_wrongly_are_refused(server: RawServer, tmp_path: Path) -> None:
    server.answers = [*COUNTED, good(100), good(100), good(200_000)]
    profile, outcome = run_endpoint_job(job(server, 100, 400, 200), CellFiles(tmp_path))
    assert [m.prompt_tokens for m in profile.measurements] == [100]
    assert outcome.notes() == (
        "p=400 o=4: refused: the server counts 100 prompt tokens where about 400 were sent; it counts wrongly, or "
        "cuts prompts.",
        "p=200 o=4: refused: the server counts 200000 prompt tokens where about 200 were sent; it counts wrongly, or "
        "cuts prompts.",
    )


@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_a_key_that_no_header_holds_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(InputError, match=r"\$MY_KEY holds a character that no API key has") as caught:
        Endpoint(EndpointOptions("http://localhost/v1", "m", api_key_env="MY_KEY"))
    assert key not in str(caught.value)
