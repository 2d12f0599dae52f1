"""A long JSON list in parts that fit memory, each a small file of the same form as the whole.

Python's `json` indents what it writes, and a line break cannot stand inside a JSON string. So in a file written by HELM
the lines that are only a closing brace, at the indentation of the list's elements, are the places to divide it: nothing
has to be parsed to find them. A file of any other form is one part.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from helm_efficiency.errors import FileFormatError, InputError

PART_BYTES = 250_000
"""Of one part, about: what stays in the processor's cache."""

MAX_PIECE_BYTES = 100_000_000
"""What cannot be divided is decoded in one piece, which takes a few times its size in memory."""


_NEXT_KEY = b'\n  ],\n  "'
"""What follows the list under a key may hold a list that looks alike."""


class Part(NamedTuple):
    """A part as JSON text, and where in the file its elements start; 0 for the first."""

    text: bytes
    start: int


def list_parts(opened: BinaryIO, *, file: str, key: str | None = None) -> Iterator[Part]:
    """Parts of a file: together they hold what the file holds, elements in their order.

    Args:
        opened: The file.
        file: Its path, for messages.
        key: The key of a top-level object under which the list stands; None where the file is the list. What stands
            around the list comes with the last part.

    Raises:
        FileFormatError: It is too large, and cannot be divided.
        InputError: It cannot be read.
    """
    indent, opening = (b"", rb"\A\[\n") if key is None else (b"  ", _opening_of(key))
    first, start = _read(opened, PART_BYTES, file=file), 0
    pieces = [first]
    head = re.match(opening + b"(?=" + indent + rb"  \{)", first)
    if head is not None:
        before, after = (b"[\n", b"\n]") if key is None else (b'{"%s": [\n' % key.encode(), b"\n]}")
        divider = b"\n" + indent + b"  },\n"
        pieces = [first[head.end() :]]
        while block := _read(opened, PART_BYTES, file=file):
            end = block.rfind(divider) + len(divider)
            if end < len(divider):
                pieces.append(block)
                _check_size(pieces, file=file)
                continue
            text = b"".join([before, *pieces, memoryview(block)[: end - len(",\n")], after])
            if key is not None and text.rfind(_NEXT_KEY) >= 0:
                pieces.append(block)
                break
            yield Part(text, start)
            start = (start or head.end()) + len(text) - len(before) - len(after) + len(",\n")
            pieces = [block[end:]]
        pieces.insert(0, head[0])
    yield Part(read_whole(opened, pieces, file=file), start)


def read_whole(opened: BinaryIO, begun: Sequence[bytes] = (), *, file: str) -> bytes:
    """A file in one piece.

    Args:
        opened: The file.
        begun: What has been read of it.
        file: Its path, for messages.

    Raises:
        FileFormatError: It is too large.
        InputError: It cannot be read.
    """
    pieces = list(begun)
    for block in blocks(opened, file=file):
        pieces.append(block)
        _check_size(pieces, file=file)
    return b"".join(pieces)


def blocks(opened: BinaryIO, *, file: str) -> Iterator[bytes]:
    """A file in blocks, whatever is in it.

    Raises:
        InputError: It cannot be read.
    """
    while block := _read(opened, PART_BYTES, file=file):
        yield block


def _read(opened: BinaryIO, num_bytes: int, *, file: str) -> bytes:
    try:
        return opened.read(num_bytes)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}.") from error


def _opening_of(key: str) -> bytes:
    """How an object begins up to the list under a key: all its lines are indented."""
    return rb'\A\{\n(?:  .*\n)*?  "' + re.escape(key).encode() + rb'": \[\n'


def _check_size(pieces: list[bytes], *, file: str) -> None:
    if sum(map(len, pieces)) > MAX_PIECE_BYTES:
        raise FileFormatError(
            f"{file}: more than {MAX_PIECE_BYTES / 1e6:.0f} MB in one piece; expected a list in the indented form in "
            "which HELM writes it. `python -m json.tool --indent 2` writes it so."
        )
