"""Send and time requests to an OpenAI-compatible server.

Tokens are counted by the server (`usage`), never by chunks: a chunk may hold several tokens or half a character. The
time of a request starts when the successful attempt is sent; failed attempts and the waits between them are not part
of it. The API key is read from the environment, sent in one header, and removed from all server messages.
"""

import itertools
import math
import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

from helm_efficiency.errors import InputError
from helm_efficiency.profiling.cells import BudgetSpentError, CellRefusedError
from helm_efficiency.profiling.endpoint.bounded_http import (
    MOST_ERROR_BYTES,
    UnboundedAnswerError,
    answer_to,
    read_body,
    read_lines,
)
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.replies import Reply, check_pieces, check_usage, decode_event

_RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_MAX_WAIT_S = 60.0
_PAGE_S = 10.0
"""Time limit of a page (s). A working server that has the page answers at once."""

_OPTIONAL_FIELDS = ("stream_options", "ignore_eos", "temperature")
_TOO_LONG_STATUSES = frozenset({400, 413, 422})


class TooLongError(CellRefusedError):
    """The server refuses a request that differs from answered ones only in its length."""


class Endpoint:
    """Connections to a server in a thread of their own; a context manager."""

    def __init__(self, options: EndpointOptions, *, deadline: float = math.inf) -> None:
        """Read the API key and keep the options; no connection is made yet.

        Args:
            options: Address of the server, and settings of its requests.
            deadline: Value of `time.perf_counter` (s) at which requests and waits end.

        Raises:
            InputError: A header cannot hold the API key.
        """
        self.options = options
        self._deadline = deadline
        self._key = os.environ.get(options.api_key_env, "")
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError(f"${options.api_key_env} holds a character that no API key has.")
        self._exits = ExitStack()
        self._dropped: set[str] = set()  # optional fields that this server refuses
        self._length_field = "max_tokens"
        self._answered = False

    def __enter__(self) -> "Endpoint":
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._portal = self._exits.enter_context(start_blocking_portal())
        client = httpx.AsyncClient(headers=headers, limits=limits)
        self._client = self._exits.enter_context(self._portal.wrap_async_context_manager(client))
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def request(self, prompt: str, output_tokens: int) -> Reply:
        """Send a request until it is answered, and time the attempt that succeeds.

        Raises:
            CellRefusedError: The server cannot be reached, refuses the request, or sends an unusable answer.
            BudgetSpentError: The deadline passed before an answer came.
        """
        return self._portal.call(self._ask, prompt, output_tokens)

    def request_all(self, prompts: Sequence[str], output_tokens: int) -> list[Reply]:
        """Send the requests of all prompts at the same time.

        Raises:
            CellRefusedError: One of the requests failed in the way of `request`; the others are cancelled.
            BudgetSpentError: The deadline passed before all answers came.
        """
        return self._portal.call(self._ask_all, prompts, output_tokens)

    def page(self, path: str, *, versioned: bool = False) -> bytes | None:
        """Return the content of a page of the server, such as `/metrics`; None if it is missing, too slow or too large.

        Args:
            path: Path of the page from the root of the server, or from the base URL.
            versioned: True if the path starts at the base URL.
        """
        base = self.options.base_url.rstrip("/")
        return self._portal.call(self._page, (base if versioned else base.removesuffix("/v1")) + path)

    async def _page(self, url: str) -> bytes | None:
        limit_s = min(_PAGE_S, self._deadline - time.perf_counter())
        try:
            async with answer_to(self._client, url, limit_s=limit_s) as response:
                return await read_body(response) if response.status_code == httpx.codes.OK else None
        except (httpx.TransportError, TimeoutError, UnboundedAnswerError):
            return None

    async def _ask_all(self, prompts: Sequence[str], output_tokens: int) -> list[Reply]:
        replies: dict[int, Reply] = {}
        problems: list[CellRefusedError | BudgetSpentError] = []

        async def ask(index: int, prompt: str) -> None:
            try:
                replies[index] = await self._ask(prompt, output_tokens)
            except (CellRefusedError, BudgetSpentError) as error:
                problems.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for index, prompt in enumerate(prompts):
                group.start_soon(ask, index, prompt)
        if problems:
            raise problems[0]
        return [replies[index] for index in range(len(prompts))]

    async def _ask(self, prompt: str, output_tokens: int) -> Reply:
        for attempt in range(self.options.max_retries + 1):
            try:
                reply = await self._attempt(prompt, output_tokens, retries=attempt)
            except httpx.TransportError as error:
                wait_s, problem = backoff_s(attempt), f"{type(error).__name__}: {error}"
            except _Busy as error:
                wait_s, problem = error.wait_s if error.wait_s is not None else backoff_s(attempt), str(error)
            else:
                self._answered = True
                return reply
            if attempt < self.options.max_retries:
                await self._wait(wait_s, problem)
        raise CellRefusedError(
            f"{self.options.base_url} did not answer in {self.options.max_retries + 1} attempts. "
            f"Last: {self._redact(problem)}"
        )

    async def _wait(self, wait_s: float, problem: str) -> None:
        """Wait before another attempt, or fail if the budget ends before it."""
        if wait_s >= self._deadline - time.perf_counter():
            raise BudgetSpentError(
                f"{self.options.base_url} did not answer within the budget. Last: {self._redact(problem)}"
            )
        await anyio.sleep(wait_s)

    async def _attempt(self, prompt: str, output_tokens: int, *, retries: int) -> Reply:
        """Make one attempt, or as many as it takes to learn which optional fields the server refuses."""
        path = "chat/completions" if self.options.chat else "completions"
        url = f"{self.options.base_url.rstrip('/')}/{path}"
        left_s = self._deadline - time.perf_counter()
        limit_s = min(self.options.timeout_s, left_s)
        while True:
            body = self._body(prompt, output_tokens)
            start = time.perf_counter()
            try:
                async with answer_to(self._client, url, body=body, limit_s=limit_s) as response:
                    if response.status_code == httpx.codes.OK:
                        return await self._read(response, start, output_tokens=output_tokens, retries=retries)
                    said = (await read_body(response, most_bytes=MOST_ERROR_BYTES, cut=True)).decode(errors="replace")
            except TimeoutError as error:
                raise self._too_slow(limit_s, left_s) from error
            except UnboundedAnswerError as error:
                raise CellRefusedError(f"{self.options.base_url} {error}.") from error
            if response.status_code in _RETRIED_STATUSES:
                raise _Busy(f"HTTP {response.status_code}", _retry_after_s(response))
            if not self._adapt(response.status_code, said, body):
                raise self._refusal(response.status_code, said)

    def _too_slow(self, limit_s: float, left_s: float) -> CellRefusedError | BudgetSpentError:
        if limit_s == left_s:
            return BudgetSpentError(f"the budget ended while {self.options.base_url} was answering.")
        return CellRefusedError(
            f"{self.options.base_url} had not ended its answer after {limit_s:g} s. "
            "Ask for shorter lengths, or allow more time."
        )

    def _body(self, prompt: str, output_tokens: int) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": prompt}]} if self.options.chat else {"prompt": prompt}
        body: dict[str, Any] = {"model": self.options.model, **asked, self._length_field: output_tokens}
        optional: dict[str, Any] = {"temperature": 0, "ignore_eos": True}
        if self.options.stream:
            body["stream"] = True
            optional["stream_options"] = {"include_usage": True}
        body |= {name: value for name, value in optional.items() if name not in self._dropped}
        return body | dict(self.options.extra_body)

    def _adapt(self, status: int, said: str, body: Mapping[str, Any]) -> bool:
        """Return whether the server refused an optional field; the field is then not sent again.

        This applies only before the first answer. Later, the fields are known, and a refusal concerns the length.
        """
        if status not in (400, 422) or self._answered:
            return False
        if "max_completion_tokens" in said and self._length_field == "max_tokens":
            self._length_field = "max_completion_tokens"
            return True
        sent = [name for name in _OPTIONAL_FIELDS if name in body and name not in self.options.extra_body]
        refused = [name for name in sent if name in said] or sent
        self._dropped.update(refused)
        return bool(refused)

    def _refusal(self, status: int, said: str) -> CellRefusedError:
        if status in (401, 403):
            key = f"the key in ${self.options.api_key_env}" if self._key else f"no key (${self.options.api_key_env})"
            return CellRefusedError(f"{self.options.base_url} answers HTTP {status} to {key}.")
        message = f"{self.options.base_url} answers HTTP {status}: {self._redact(' '.join(said.split()))[:300]}"
        return (TooLongError if self._answered and status in _TOO_LONG_STATUSES else CellRefusedError)(message)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    async def _read(self, response: httpx.Response, start: float, *, output_tokens: int, retries: int) -> Reply:
        texts_at: list[float] = []
        usage, timings = None, None
        if self.options.stream:
            async for line in read_lines(response):
                data = line.removeprefix(b"data:").strip()
                if not line.startswith(b"data:") or data in (b"", b"[DONE]"):
                    continue
                event = decode_event(data)
                if event.error is not None:
                    said = self._redact(str(event.error))[:300]
                    raise CellRefusedError(f"{self.options.base_url} failed midway: {said}")
                if event.has_text():
                    texts_at.append(time.perf_counter())
                    check_pieces(len(texts_at), output_tokens)
                usage, timings = event.usage or usage, event.timings or timings
        else:
            event = decode_event(await read_body(response))
            usage, timings = event.usage, event.timings
        seconds = time.perf_counter() - start
        prompt, output = check_usage(usage, asked_output_tokens=output_tokens, num_chunks=len(texts_at))
        return Reply(
            seconds,
            prompt,
            output,
            ttft_s=texts_at[0] - start if texts_at else None,
            gaps_s=tuple(later - earlier for earlier, later in itertools.pairwise(texts_at)),
            cached_tokens=max(usage.cached_tokens() if usage else 0, timings.cache_n if timings else 0),
            retries=retries,
            engine_s=(timings.prompt_ms / 1e3, timings.predicted_ms / 1e3) if timings else None,
            sent_s=start,
        )


class _Busy(Exception):
    """The server asks to try again later, and may say when."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def backoff_s(attempt: int) -> float:
    """Return the wait after a failed attempt (s): it doubles from a second, with jitter, up to a minute."""
    return random.uniform(0.5, 1.0) * min(2.0**attempt, _MAX_WAIT_S)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the wait that the server asks for (s); None if it names none or a date."""
    try:
        wait_s = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return min(max(wait_s, 0.0), _MAX_WAIT_S) if math.isfinite(wait_s) else None
