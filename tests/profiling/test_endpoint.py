"""Endpoints are timed by the server's own counts: a real `transformers serve`, and a scripted server for bad days."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.odd_places import reserved_port

from helm_efficiency import codec
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.jobs import EndpointJob, run_endpoint_job
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.prompts import WORDS, PromptMaker
from helm_efficiency.profiling.endpoint.timing import EndpointTimer
from helm_efficiency.profiling.noise import Repetitions

TWICE = Repetitions(num_warmups=0, num_repetitions=2, max_repetitions=2)


def endpoint_cell(options: EndpointOptions, cell: Cell, *, shared_prompts: bool = False) -> CellResult:
    with Endpoint(options) as endpoint:
        return EndpointTimer(endpoint, repetitions=TWICE, shared_prompts=shared_prompts)(cell)


@pytest.mark.parametrize("chat", [False, True])
def test_streamed_tokens_are_timed_one_by_one_and_counted_by_the_server(served: tuple[Path, str], chat: bool) -> None:
    result = endpoint_cell(EndpointOptions(served[1], str(served[0]), chat=chat), Cell(64, 12))
    assert [(m.prompt_tokens, m.output_tokens) for m in result.measurements] == [(64, 12)] * 2, "template included"
    assert all(m.ttft_s is not None and 0 < m.ttft_s < m.seconds for m in result.measurements)
    assert not any(words in result.note for words in ("stopped early", "the server counts", "failed"))
    assert len(result.itl_s) == 22 and all(gap >= 0 for gap in result.itl_s), "11 gaps in each reply of 12 tokens"


def test_without_streaming_there_is_no_first_token(served: tuple[Path, str]) -> None:
    options = EndpointOptions(served[1], str(served[0]), stream=False)
    result = endpoint_cell(options, Cell(40, 3, 2), shared_prompts=True)
    assert [(m.prompt_tokens, m.output_tokens, m.batch_size, m.ttft_s) for m in result.measurements] == [
        (40, 3, 2, None)
    ] * 2


class Scripted(BaseHTTPRequestHandler):
    """Answers one request after the other from a script of (status, headers, body or events).

    A float among the events is a pause in seconds. `moments` has, for each request, the time (s, on the clock of the
    client) when it came and when each part of the answer was begun.
    """

    protocol_version = "HTTP/1.1"
    script: Sequence[tuple[int, dict[str, str], Any]] = ()
    bodies: list[dict[str, Any]]
    headers_seen: list[str | None]
    moments: list[list[float]]

    def do_POST(self) -> None:
        moments = [time.perf_counter()]
        self.moments.append(moments)
        length = int(self.headers["Content-Length"])
        self.bodies.append(json.loads(self.rfile.read(length)))
        self.headers_seen.append(self.headers["Authorization"])
        status, headers, body = self.script[min(len(self.bodies), len(self.script)) - 1]
        parts: list[str | float] = [body if isinstance(body, str) else json.dumps(body)]
        if isinstance(body, list):
            parts = [event if isinstance(event, float) else f"data: {json.dumps(event)}\n\n" for event in body]
            parts.append(": comment\n\ndata: [DONE]\n\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(len(part.encode()) for part in parts if isinstance(part, str))))
        self.end_headers()
        for part in parts:
            moments.append(time.perf_counter())
            if isinstance(part, float):
                time.sleep(part)
            else:
                self.wfile.write(part.encode())

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def scripted() -> Iterator[tuple[str, type[Scripted]]]:
    """A server on loopback and its script, to be filled."""
    handler = type("Handler", (Scripted,), {"bodies": [], "headers_seen": [], "moments": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", handler
    server.shutdown()
    server.server_close()
    thread.join()


def chunks(*texts: str, prompt: int = 5, output: int = 4) -> list[dict[str, Any]]:
    """Events of a reply whose chunks are not its tokens."""
    events: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"delta": {"content": text}}]} for text in texts]
    return [*events, {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}}]


def test_chunks_are_not_tokens(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script = [(200, {}, chunks("two words", "and two", output=7))]
    with Endpoint(EndpointOptions(url, "m", chat=True)) as endpoint:
        reply = endpoint.request(" hello", 7)
    assert (reply.prompt_tokens, reply.output_tokens, len(reply.gaps_s)) == (5, 7, 1)
    assert handler.bodies[0]["messages"] == [{"role": "user", "content": " hello"}]
    assert handler.bodies[0]["stream_options"] == {"include_usage": True} and handler.bodies[0]["max_tokens"] == 7


def test_times_run_from_sending_to_the_first_text_and_to_the_last_byte(scripted: tuple[str, type[Scripted]]) -> None:
    """However busy the machine: the client cannot have seen a part before the server began to send it."""
    url, handler = scripted
    role, first, second, usage = chunks("a", "b")
    handler.script = [(200, {}, [role, 0.05, first, 0.05, second, 0.05, usage])]
    with Endpoint(EndpointOptions(url, "m", chat=True)) as endpoint:
        before_s = time.perf_counter()
        reply = endpoint.request(" hello", 4)
        elapsed_s = time.perf_counter() - before_s
    ((came, _, _, first_text, _, second_text, _, _, end),) = handler.moments
    assert reply.ttft_s is not None
    assert 0.05 <= first_text - came <= reply.ttft_s
    assert 0.10 <= second_text - came <= reply.ttft_s + sum(reply.gaps_s)
    assert 0.15 <= end - came <= reply.seconds <= elapsed_s
    assert reply.ttft_s + sum(reply.gaps_s) <= reply.seconds


def test_busy_servers_are_asked_again_and_the_wait_is_not_time(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script = [
        (429, {"Retry-After": "0.4"}, "slow down"),
        (503, {"Retry-After": "0"}, ""),
        (200, {}, chunks("a")),
    ]
    with Endpoint(EndpointOptions(url, "m")) as endpoint:
        reply = endpoint.request(" hello", 4)
        end = time.perf_counter()
    assert reply.retries == 2 and len(handler.bodies) == 3
    (_, refused), *_ = handler.moments
    assert reply.seconds <= end - refused - 0.4, "of which 0.4 s were spent waiting"


def test_a_server_that_stays_busy_is_given_up(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script = [(503, {"Retry-After": "0"}, "")]
    gives_up = pytest.raises(ProfilingError, match=r"did not answer in 3 attempts. Last: HTTP 503")
    with Endpoint(EndpointOptions(url, "m", max_retries=2)) as endpoint, gives_up:
        endpoint.request(" hello", 4)
    assert len(handler.bodies) == 3


def test_fields_that_a_server_does_not_take_are_left_out(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script = [
        (422, {}, {"detail": "Unexpected fields: {'ignore_eos'}"}),
        (400, {}, {"error": "Unsupported parameter: use 'max_completion_tokens' instead"}),
        (400, {}, {"error": "temperature does not support 0"}),
        (200, {}, chunks("a")),
    ]
    with Endpoint(EndpointOptions(url, "m", extra_body={"min_tokens": 4})) as endpoint:
        endpoint.request(" hello", 4)
        endpoint.request(" hello", 4)
    assert handler.bodies[-1] == {
        "model": "m",
        "prompt": " hello",
        "max_completion_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        "min_tokens": 4,
    }
    assert len(handler.bodies) == 5, "what was learned once is not tried again"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, {"error": "no model 'm', key sk-very-secret"}), r"answers HTTP 404: .*no model 'm', key \*\*\*"),
        ((401, {}, {"error": "bad key sk-very-secret"}), r"answers HTTP 401 to the key in \$MY_KEY"),
        ((200, {}, chunks("a")[:-1]), r"does not say how many tokens it used \(usage\), and chunks are not tokens"),
        ((200, {}, [{"error": "exploded with sk-very-secret"}]), r"failed midway: exploded with \*\*\*"),
    ],
)
def test_the_api_key_appears_in_no_message(
    scripted: tuple[str, type[Scripted]], monkeypatch: pytest.MonkeyPatch, answer: Any, message: str
) -> None:
    url, handler = scripted
    handler.script = [answer]
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    options = EndpointOptions(url, "m", api_key_env="MY_KEY")
    with Endpoint(options) as endpoint, pytest.raises(ProfilingError, match=message) as caught:
        endpoint.request(" hello", 4)
    assert handler.headers_seen == ["Bearer sk-very-secret"]
    assert "secret" not in str(caught.value)


def test_the_api_key_appears_in_no_file(
    scripted: tuple[str, type[Scripted]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, handler = scripted
    few, many = (chunks("a", prompt=tokens, output=1) for tokens in (16, 112))
    handler.script = [(200, {}, few), (200, {}, many), (200, {}, chunks("a", prompt=9, output=3))]
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    job = EndpointJob(
        EndpointOptions(url, "m", api_key_env="MY_KEY"),
        "a/m",
        stack_name="s",
        cells=CellChoice((8,), (4,)),
        repetitions=TWICE,
    )
    profile, outcome = run_endpoint_job(job, CellFiles(tmp_path))
    (file,) = tmp_path.iterdir()
    assert "secret" not in file.read_text() + json.dumps(codec.to_plain(profile))
    assert [(m.prompt_tokens, m.output_tokens) for m in profile.measurements] == [(9, 3)] * 2
    (note,) = outcome.notes()
    assert "2 of 2 replies stopped early and are kept under their own 3 to 3 tokens" in note
    assert "the server counts 9 to 9 prompt tokens" in note
    asked = len(handler.bodies)
    again, resumed = run_endpoint_job(job, CellFiles(tmp_path))
    assert (again, resumed.new_cells, len(handler.bodies)) == (profile, 0, asked), "nothing is asked twice"


def test_an_unreachable_server_is_one_clear_error() -> None:
    gives_up = pytest.raises(ProfilingError, match=r"/v1 did not answer in 1 attempts. Last: Connect")
    with reserved_port() as port:
        options = EndpointOptions(f"http://127.0.0.1:{port}/v1", "m", max_retries=0)
        with Endpoint(options) as endpoint, gives_up:
            endpoint.request(" hello", 4)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://user:key@x/v1", "http://x/v1?key=k", ""])
def test_base_urls_with_secrets_or_none_at_all_are_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        EndpointOptions(url, "m")
    assert "key@" not in str(caught.value)


def test_prompts_are_unique_unless_shared_and_aim_at_the_server_s_count() -> None:
    maker = PromptMaker()
    assert maker.prompt(40) != maker.prompt(40) and len(maker.prompt(40).split()) == 40
    maker.calibrate((16, 112), (16 * 2 + 7, 112 * 2 + 7))  # two tokens a word and a template of seven
    assert (maker.tokens_per_word, maker.added_tokens) == (2.0, 7)
    assert len(maker.prompt(47).split()) == 20
    shared = PromptMaker(shared=True)
    assert shared.prompt(40) == shared.prompt(40)
    assert len(set(WORDS)) == len(WORDS) and {len(word) for word in WORDS} == {4}
