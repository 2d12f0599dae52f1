"""Read a long JSON list in parts that fit memory.

Python's `json` indents its output, and a JSON string cannot contain a line break. So a file written by HELM can be
divided at the lines that are only a closing brace at the indentation of the list's elements: nothing has to be parsed
to find them. A file of any other form is one part.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, BinaryIO, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from helm_efficiency.errors import FileFormatError, InputError

PART_BYTES = 250_000
"""Approximate size of one part, chosen to fit the processor's cache."""

MAX_PIECE_BYTES = 100_000_000
"""Size limit of a file that cannot be divided: decoding it in one piece takes a few times its size in memory."""


class Part(NamedTuple):
    """A part as JSON text.

    Attributes:
        text: List of elements; the last part has the same form as the whole file.
        start: Byte offset in the file at which its elements start; 0 for the first part.
        is_last: True for the last part, which also holds the text around the list.
    """

    text: bytes
    start: int
    is_last: bool


def list_parts(opened: BinaryIO, *, file: str, key: str | None = None) -> Iterator[Part]:
    """Yield the parts of a file, which together hold all of its elements in order.

    The end of a list under a key is not searched for, as that takes as long as decoding it: the caller that decodes a
    part notices the end, because the text after the list is not an element, and then takes the `last_part` instead.

    Args:
        opened: The file.
        file: Its path, for messages.
        key: Key of the list in the file's top-level object; None if the file is the list.

    Raises:
        FileFormatError: The file is too large and cannot be divided.
        InputError: The file cannot be read.
    """
    indent, opening = (b"", rb"\A\[\n") if key is None else (b"  ", _opening_of(key))
    first, start = _read(opened, PART_BYTES, file=file), 0
    pieces = [first]
    head = re.match(opening + b"(?=" + indent + rb"  \{)", first)
    if head is not None:
        divider = b"\n" + indent + b"  },\n"
        pieces = [first[head.end() :]]
        while block := _read(opened, PART_BYTES, file=file):
            end = block.rfind(divider) + len(divider)
            if end < len(divider):
                pieces.append(block)
                _check_size(pieces, file=file)
                continue
            text = b"".join([b"[\n", *pieces, memoryview(block)[: end - len(",\n")], b"\n]"])
            yield Part(text, start, is_last=False)
            start = (start or head.end()) + len(text) - len("[\n\n]") + len(",\n")
            pieces = [block[end:]]
        pieces.insert(0, head[0])
    yield Part(read_whole(opened, pieces, file=file), start, is_last=True)


def last_part(opened: BinaryIO, part: Part, *, file: str, key: str) -> Part:
    """Return the last part, from the elements on that a part holds which could not be decoded as a list.

    Args:
        opened: The file, which is read again from there on.
        part: The part.
        file: Path of the file, for messages.
        key: Key of the list in the file's top-level object.

    Raises:
        FileFormatError: The rest of the file is too large.
        InputError: The file cannot be read.
    """
    opened.seek(0)
    head = re.match(_opening_of(key), _read(opened, PART_BYTES, file=file))
    opened.seek(part.start)
    begun = [head[0]] if head is not None and part.start else []
    return Part(read_whole(opened, begun, file=file), part.start, is_last=True)


def read_whole(opened: BinaryIO, begun: Sequence[bytes] = (), *, file: str) -> bytes:
    """Read a file in one piece.

    Raises:
        FileFormatError: The file is too large.
        InputError: The file cannot be read.
    """
    pieces = list(begun)
    for block in blocks(opened, file=file):
        pieces.append(block)
        _check_size(pieces, file=file)
    return b"".join(pieces)


def blocks(opened: BinaryIO, *, file: str) -> Iterator[bytes]:
    """Yield the blocks of a file, without looking at their content.

    Raises:
        InputError: The file cannot be read.
    """
    while block := _read(opened, PART_BYTES, file=file):
        yield block


def _read(opened: BinaryIO, num_bytes: int, *, file: str) -> bytes:
    try:
        return opened.read(num_bytes)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}.") from error


def _opening_of(key: str) -> bytes:
    """Return a pattern of an object's text up to the list under a key: all its lines are indented."""
    return rb'\A\{\n(?:  .*\n)*?  "' + re.escape(key).encode() + rb'": \[\n'


def _check_size(pieces: list[bytes], *, file: str) -> None:
    if sum(map(len, pieces)) > MAX_PIECE_BYTES:
        raise FileFormatError(
            f"{file}: more than {MAX_PIECE_BYTES / 1e6:.0f} MB in one piece; expected a list in the indented form in "
            "which HELM writes it. `python -m json.tool --indent 2` writes it so."
        )


Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]

T = TypeVar("T")

# The string is possessive and need not end, so that a truncated file is scanned once.
_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def decode(data: bytes, decoder: msgspec.json.Decoder[T], *, file: str) -> T:
    """Decode one file.

    Python writes NaN and Infinity, which JSON does not have. They are read as text, so that they do no harm in unused
    values (a token's log probability) and are refused where a number is needed.

    Raises:
        FileFormatError: The file is truncated, is not JSON, or a value is not as expected; names file and position.
    """
    try:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            quoted = _STRING_OR_NAN.sub(_quote_nan, data)
            if quoted == data:
                raise
            return decoder.decode(quoted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{file}: {error}.") from error


def _quote_nan(match: re.Match[bytes]) -> bytes:
    text = match[0]
    return text if text.startswith(b'"') else b'"%s"' % text
