"""HTTP in which nothing is without end: a time limit for a whole request, size limits for a body and for a line.

A time limit for each read, as HTTP libraries have it, does not end a server that sends a byte now and then; here the
clock runs from sending to the last byte, and whatever is going on is cancelled when it is over. Answers are asked for
uncompressed and refused otherwise: a few kilobytes of gzip can unfold to gigabytes, and unfolding takes time that is
not the model's.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

MOST_BODY_BYTES = 64_000_000
"""Of one answer. An event of a streamed token takes 200 to 400 bytes, so this is more than 100,000 tokens."""

MOST_LINE_BYTES = 1_000_000
"""Of one event, which holds a token or a count: thousands of times what any takes."""

MOST_ERROR_BYTES = 64_000
"""That are read of an error; what it says stands in front."""


class UnboundedAnswerError(Exception):
    """An answer is larger than any answer is, or comes compressed."""


@asynccontextmanager
async def answer_to(
    client: httpx.AsyncClient, url: str, *, body: Mapping[str, Any] | None = None, limit_s: float
) -> AsyncIterator[httpx.Response]:
    """The answer to a POST of a JSON body, or to a GET without one, its content still to be read.

    Args:
        client: Connections.
        url: Where to ask.
        body: JSON object to send.
        limit_s: Longest that it may take (s) until the block is left.

    Raises:
        TimeoutError: It took longer.
        httpx.TransportError: The connection failed.
    """
    method = "GET" if body is None else "POST"
    headers = {"Accept-Encoding": "identity"}
    with anyio.fail_after(limit_s):
        async with client.stream(method, url, json=body, headers=headers, timeout=None) as response:
            yield response


async def read_body(response: httpx.Response, *, most_bytes: int = MOST_BODY_BYTES, cut: bool = False) -> bytes:
    """The content of an answer.

    Args:
        response: The answer.
        most_bytes: That it may have.
        cut: Whether what is beyond is left unread; else it is refused.

    Raises:
        UnboundedAnswerError: It is larger, or compressed.
    """
    content = bytearray()
    async for part in _parts(response):
        content += part
        if len(content) > most_bytes:
            if cut:
                return bytes(content[:most_bytes])
            raise UnboundedAnswerError(f"sent more than {most_bytes:,} bytes for one answer")
    return bytes(content)


async def read_lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of an answer as they come, without their ends.

    Raises:
        UnboundedAnswerError: A line or the whole is larger than any is, or the answer is compressed.
    """
    line, num_bytes = bytearray(), 0
    async for part in _parts(response):
        num_bytes += len(part)
        if num_bytes > MOST_BODY_BYTES:
            raise UnboundedAnswerError(f"sent more than {MOST_BODY_BYTES:,} bytes for one answer")
        *ended, rest = part.split(b"\n")
        for end in ended:
            yield bytes(line + end).rstrip(b"\r")
            line.clear()
        line += rest
        if len(line) > MOST_LINE_BYTES:
            raise UnboundedAnswerError(f"sent a line of more than {MOST_LINE_BYTES:,} bytes")
    if line:
        yield bytes(line)


async def _parts(response: httpx.Response) -> AsyncIterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnboundedAnswerError(f"answered in Content-Encoding {encoding[:30]!r} though asked for plain text")
    async for part in response.aiter_raw():
        yield part
