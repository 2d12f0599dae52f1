"""A long JSON list in parts that fit memory, each a small file of the same form as the whole.

Python's `json` indents what it writes, and a line break cannot stand inside a JSON string. So in a file written by HELM
the lines that are only a closing brace, at the indentation of the list's elements, are the places to divide it: nothing
has to be parsed to find them. A file of any other form is one part.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from helm_efficiency.errors import FileFormatError, InputError

PART_BYTES = 1_000_000
"""Of one part, about: what stays in the processor's cache."""

MAX_PIECE_BYTES = 200_000_000
"""What cannot be divided is decoded in one piece, which takes a few times its size in memory."""


class Part(NamedTuple):
    """A part as JSON text, and where in the file its elements start."""

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
    rest, start = _read(opened, PART_BYTES, file=file), 0
    head = re.match(opening + b"(?=" + indent + rb"  \{)", rest)
    if head is not None:
        before, after = (b"[\n", b"\n]") if key is None else (b'{"%s": [\n' % key.encode(), b"\n]}")
        divider, end_of_list = b"\n" + indent + b"  },\n", b"\n" + indent + b"]"
        rest, start = rest[head.end() :], head.end()
        while end_of_list not in rest and (block := _read(opened, max(PART_BYTES, len(rest)), file=file)):
            end = rest.rfind(divider)
            if end >= 0:
                yield Part(b"".join([before, memoryview(rest)[: end + len(divider) - len(",\n")], after]), start)
                rest, start = rest[end + len(divider) :], start + end + len(divider)
            rest += block
            _check_size(rest, file=file)
        rest, start = head[0] + rest, start - head.end()
    while len(rest) <= MAX_PIECE_BYTES and (block := _read(opened, MAX_PIECE_BYTES, file=file)):
        rest += block
    _check_size(rest, file=file)
    yield Part(rest, start)


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


def _check_size(piece: bytes, *, file: str) -> None:
    if len(piece) > MAX_PIECE_BYTES:
        raise FileFormatError(
            f"{file}: more than {MAX_PIECE_BYTES / 1e6:.0f} MB in one piece; expected a list in the indented form in "
            "which HELM writes it. `python -m json.tool --indent 2` writes it so."
        )
