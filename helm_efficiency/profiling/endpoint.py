"""One timed request to an OpenAI-compatible server: vLLM, SGLang, TGI, llama.cpp, `transformers serve`, an API.

Tokens are counted by the server (`usage`), never by chunks: a chunk may hold several tokens or half a character. Time
runs from sending the attempt that succeeded; attempts that failed and the waits between them are not part of it. The
API key is read from the environment, travels in one header, and is cut out of whatever a server says about it.
"""

import itertools
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from helm_efficiency.errors import InputError, ProfilingError

_RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_MAX_WAIT_S = 60.0
_OPTIONAL_FIELDS = ("stream_options", "ignore_eos", "temperature")


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Which server, and how it is asked.

    Attributes:
        base_url: Up to and including the version, such as `http://localhost:8000/v1`.
        model: As the server calls it.
        chat: Whether prompts go to `chat/completions` rather than `completions`.
        stream: Whether tokens are streamed; without it there is no time to the first one.
        api_key_env: Environment variable that holds the API key, if one is needed.
        extra_body: Further fields of every request.
        timeout_s: Longest silence of the server.
        max_retries: Attempts after the first at a request that met a busy or broken server.
    """

    base_url: str
    model: str
    chat: bool = False
    stream: bool = True
    api_key_env: str = "OPENAI_API_KEY"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 600.0
    max_retries: int = 5

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL as error:
            raise InputError(f"Base URL {self.base_url[:100]!r}: {error}.") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(f"Base URL {self.base_url!r}: expected such as http://localhost:8000/v1.")
        if url.userinfo or url.query:
            raise InputError(
                f"Base URL of {url.host}: no user, password or query expected. "
                "Put a key into the environment and name the variable with --api-key-env."
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request.

    Attributes:
        seconds: Sent to last byte.
        prompt_tokens: As the server counts them.
        output_tokens: As the server counts them, reasoning included.
        ttft_s: Sent to first text; None if not streamed, or if no text came.
        gaps_s: Times between chunks with text.
        cached_tokens: Prompt tokens that the server took from its prefix cache, if it says so.
        retries: Attempts before the one that was timed.
    """

    seconds: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    cached_tokens: int = 0
    retries: int = 0


class Endpoint:
    """A connection to a server; close it, or use it as a context manager. Requests may come from several threads."""

    def __init__(self, options: EndpointOptions) -> None:
        self._options = options
        self._key = os.environ.get(options.api_key_env, "")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.Client(headers=headers, timeout=options.timeout_s, limits=limits)
        self._dropped: set[str] = set()  # optional fields that this server does not take
        self._length_field = "max_tokens"

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, prompt: str, output_tokens: int) -> Reply:
        """Ask once, timed; as often as needed for one answer.

        Raises:
            ProfilingError: The server cannot be reached, refuses the request, or does not count tokens.
        """
        for attempt in range(self._options.max_retries + 1):
            try:
                reply = self._attempt(prompt, output_tokens, retries=attempt)
            except httpx.TransportError as error:
                wait_s, problem = backoff_s(attempt), f"{type(error).__name__}: {error}"
            except _Busy as error:
                wait_s, problem = error.wait_s if error.wait_s is not None else backoff_s(attempt), str(error)
            else:
                return reply
            if attempt < self._options.max_retries:
                time.sleep(wait_s)
        raise ProfilingError(
            f"{self._options.base_url} did not answer in {self._options.max_retries + 1} attempts. "
            f"Last: {self._redact(problem)}"
        )

    def _attempt(self, prompt: str, output_tokens: int, *, retries: int) -> Reply:
        """One attempt, or as many as it takes to learn which optional fields the server does not take."""
        while True:
            body = self._body(prompt, output_tokens)
            path = "chat/completions" if self._options.chat else "completions"
            start = time.perf_counter()
            with self._client.stream("POST", f"{self._options.base_url.rstrip('/')}/{path}", json=body) as response:
                if response.status_code == httpx.codes.OK:
                    return self._read(response, start, retries)
                response.read()
            if response.status_code in _RETRIED_STATUSES:
                raise _Busy(f"HTTP {response.status_code}", _retry_after_s(response))
            if not self._adapt(response, body):
                raise ProfilingError(self._refusal(response))

    def _body(self, prompt: str, output_tokens: int) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": prompt}]} if self._options.chat else {"prompt": prompt}
        body: dict[str, Any] = {"model": self._options.model, **asked, self._length_field: output_tokens}
        optional: dict[str, Any] = {"temperature": 0, "ignore_eos": True}
        if self._options.stream:
            body["stream"] = True
            optional["stream_options"] = {"include_usage": True}
        body |= {name: value for name, value in optional.items() if name not in self._dropped}
        return body | dict(self._options.extra_body)

    def _adapt(self, response: httpx.Response, body: Mapping[str, Any]) -> bool:
        """Whether the server refused a field that it can be asked without; then it will not be sent again."""
        if response.status_code not in (400, 422):
            return False
        if "max_completion_tokens" in response.text and self._length_field == "max_tokens":
            self._length_field = "max_completion_tokens"
            return True
        sent = [name for name in _OPTIONAL_FIELDS if name in body and name not in self._options.extra_body]
        refused = [name for name in sent if name in response.text] or sent
        self._dropped.update(refused)
        return bool(refused)

    def _refusal(self, response: httpx.Response) -> str:
        if response.status_code in (401, 403):
            key = f"the key in ${self._options.api_key_env}" if self._key else f"no key (${self._options.api_key_env})"
            return f"{self._options.base_url} answers HTTP {response.status_code} to {key}."
        said = " ".join(response.text.split())[:300]
        return f"{self._options.base_url} answers HTTP {response.status_code}: {self._redact(said)}"

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _read(self, response: httpx.Response, start: float, retries: int) -> Reply:
        texts_at: list[float] = []
        usage: Mapping[str, Any] = {}
        if not self._options.stream:
            response.read()
            usage = response.json().get("usage") or {}
        for event in _events(response) if self._options.stream else ():
            if "error" in event:
                raise ProfilingError(
                    f"{self._options.base_url} failed midway: {self._redact(str(event['error']))[:300]}"
                )
            if _has_text(event):
                texts_at.append(time.perf_counter())
            usage = event.get("usage") or usage
        seconds = time.perf_counter() - start
        if "prompt_tokens" not in usage or "completion_tokens" not in usage:
            raise ProfilingError(
                f"{self._options.base_url} does not say how many tokens it used (usage), and chunks are not tokens. "
                "Try --no-stream."
            )
        return Reply(
            seconds,
            int(usage["prompt_tokens"]),
            int(usage["completion_tokens"]),
            ttft_s=texts_at[0] - start if texts_at else None,
            gaps_s=tuple(later - earlier for earlier, later in itertools.pairwise(texts_at)),
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            retries=retries,
        )


class _Busy(Exception):
    """The server asks to come back later, perhaps saying when."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def backoff_s(attempt: int) -> float:
    """How long to wait after a failed attempt: doubling from a second, with jitter, at most a minute."""
    return random.uniform(0.5, 1.0) * min(2.0**attempt, _MAX_WAIT_S)


def _retry_after_s(response: httpx.Response) -> float | None:
    """What the server asks for, in seconds; dates are not read."""
    try:
        return min(max(float(response.headers["Retry-After"]), 0.0), _MAX_WAIT_S)
    except (KeyError, ValueError):
        return None


def _events(response: httpx.Response) -> Iterator[Mapping[str, Any]]:
    """Server-sent events that hold JSON objects."""
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            event = json.loads(data)
            if isinstance(event, Mapping):
                yield event


def _has_text(event: Mapping[str, Any]) -> bool:
    """Whether an event brings text, visible or reasoning, rather than a role or a count."""
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        if choice.get("text") or any(delta.get(name) for name in ("content", "reasoning_content", "reasoning")):
            return True
    return False
