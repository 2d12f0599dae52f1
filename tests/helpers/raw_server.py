"""A server on loopback that answers with bytes from a script, as servers should not, and with pages of its own."""

import json
import socketserver
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
PLAIN = HEAD + b"\r\n"
NO_PAGE = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
Answer = bytes | Iterable[bytes | float]


class Raw(socketserver.StreamRequestHandler):
    """Answers one request after the other with bytes from a script, the last one again and again.

    A float among the parts of an answer is a pause: it ends when the client has gone, or after so many seconds.
    """

    server: "RawServer"

    def handle(self) -> None:
        length, request = 0, self.rfile.readline().lower()
        while line := self.rfile.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if request.startswith(b"get"):
            self.wfile.write(self.server.page(request.split()[1].decode()))
            return
        asked = json.loads(self.rfile.read(length) or b"{}")
        self.server.asked.append(asked)
        answers = self.server.answers
        answer = answers[min(len(self.server.asked), len(answers)) - 1]
        try:
            for part in [answer] if isinstance(answer, bytes) else answer:
                if isinstance(part, float):
                    self.server.stopped.wait(part)
                else:
                    self.wfile.write(part)
                    self.wfile.flush()
                if self.server.stopped.is_set():
                    return
        except OSError:
            return  # the client has had enough


class RawServer(socketserver.ThreadingTCPServer):
    """A server on loopback that says what it is told to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Raw)
        self.answers: list[Answer] = []
        self.pages: dict[str, bytes | list[bytes]] = {}  # of a list, the first that is left, and the last again
        self.asked: list[dict[str, Any]] = []
        self.stopped = threading.Event()

    def page(self, path: str) -> bytes:
        """What a GET is answered."""
        page = self.pages.get(path, NO_PAGE)
        return page if isinstance(page, bytes) else page.pop(0) if len(page) > 1 else page[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def raw_server() -> Iterator[RawServer]:
    """A running server."""
    with RawServer() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.stopped.set()
        made.shutdown()
        thread.join()


def events(*items: Any) -> bytes:
    """A streamed answer; an item of bytes is sent as it is."""
    lines = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    return PLAIN + b"".join(b"data: " + line + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def text(word: str = "a") -> dict[str, Any]:
    return {"choices": [{"text": word}]}


def usage(prompt: Any = 5, output: Any = 4, **more: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output, **more}}


def good(prompt: int = 5, output: int = 4) -> bytes:
    return events(text(), usage(prompt, output))
