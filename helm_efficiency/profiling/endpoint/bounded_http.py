"""HTTP with limits: a time limit for a whole request, and size limits for a body and for a line.

HTTP libraries limit the time of each read, which does not stop a server that sends a byte now and then. Here the clock
runs from sending to the last byte, and the request is cancelled when the time is over. Answers are requested without
compression and refused with it: a few kilobytes of gzip can decompress to gigabytes, and decompressing takes time that
is not the model's.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

MOST_BODY_BYTES = 64_000_000
"""Size limit of one answer. An event of a streamed token takes 200 to 400 bytes, so this is over 100,000 tokens."""

MOST_LINE_BYTES = 1_000_000
"""Size limit of one event, which holds a token or a count: thousands of times the size of any real one."""

MOST_ERROR_BYTES = 64_000
"""Number of bytes that are read of an error; its message comes first."""


class UnboundedAnswerError(Exception):
    """An answer is larger than the limits, or is compressed."""


@asynccontextmanager
async def answer_to(
    client: httpx.AsyncClient, url: str, *, body: Mapping[str, Any] | None = None, limit_s: float
) -> AsyncIterator[httpx.Response]:
    """Yield the answer to a POST of a JSON body, or to a GET without one, before its content is read.

    Args:
        client: Client that holds the connections.
        url: Address to send the request to.
        body: JSON object to send.
        limit_s: Longest time until the block is left (s).

    Raises:
        TimeoutError: The request took longer.
        httpx.TransportError: The connection failed.
    """
    method = "GET" if body is None else "POST"
    headers = {"Accept-Encoding": "identity"}
    with anyio.fail_after(limit_s):
        async with client.stream(method, url, json=body, headers=headers, timeout=None) as response:
            yield response


async def read_body(response: httpx.Response, *, most_bytes: int = MOST_BODY_BYTES, cut: bool = False) -> bytes:
    """Read the content of an answer.

    Args:
        response: Answer to read.
        most_bytes: Largest number of bytes that it may have.
        cut: True to leave bytes beyond the limit unread; otherwise a larger answer is refused.

    Raises:
        UnboundedAnswerError: The content is larger, or compressed.
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
    """Yield the lines of an answer as they come, without their ends.

    Raises:
        UnboundedAnswerError: A line or the whole answer is larger than the limits, or the answer is compressed.
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
