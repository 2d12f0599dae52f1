"""Decoding of JSON files of strangers: typed, with the file and the place in every error."""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from helm_efficiency.errors import FileFormatError

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]

T = TypeVar("T")

# The string is possessive and need not end, so that a truncated file is scanned once.
_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def decode(data: bytes, decoder: msgspec.json.Decoder[T], *, file: str) -> T:
    """Decode one file.

    Python writes NaN and Infinity, which JSON does not have. They are read as text, so that they do no harm where
    nobody looks (a token's log probability) and are refused where a number is needed.

    Raises:
        FileFormatError: The file is truncated, is not JSON, or a value is not what it should be; names file and place.
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
