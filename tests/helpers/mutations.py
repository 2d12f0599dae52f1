"""Damage of every common kind, drawn from a seeded generator."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

ODD_TEXTS = (
    "",
    "../../../etc/passwd",
    "/dev/null",
    "a" * 5000,
    "\x00",
    "\ud800",
    "\u202eevil\u2066",
    "naïve 模型 🦙",
    "<script>alert(1)</script>",
    "=cmd()",
    "line\nbreak\ttab",
    "%s {0} {x!r}",
)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 1e-320, -0.0, float("nan"), float("inf"), -float("inf"))
_NUMBER_TEXTS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"inf",
    b"1e999",
    b"-1",
    b"0",
    b"9" * 400,
    b"9" * 5000,
    b"1e-400",
    b"1.5.2",
    b"",
)
_ODD_BYTES = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"[" * 5000, b'{"a":' * 5000, b",", b"\x1a")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three mutations that know nothing of the format, but for what a number looks like."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice((_flipped, _cut_short, _without_a_piece, _twice_a_piece, _with_odd_bytes, _odd_number))(
            data, rng
        )
    return data


def damaged_json(data: bytes, rng: random.Random) -> bytes:
    """The same of a JSON document; mostly it stays JSON and one to three of its values are wrong or gone."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    document = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        document = _one_value_changed(document, rng)
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def odd_value(rng: random.Random) -> Any:
    """Of any JSON type; sometimes nested deeply."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(ODD_NUMBERS)
    if kind == 1:
        return rng.choice(ODD_TEXTS)
    if kind == 2:
        return _nested(rng.choice((50, 900)), rng)
    return rng.choice((None, True, False, [], {}, [None], {"": None}, [[]], "12", 12, 1.5, {"a": [1, {"b": 2}]}))


def _nested(depth: int, rng: random.Random) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _one_value_changed(document: Any, rng: random.Random) -> Any:
    """Walk down to a random depth, and there replace, drop, double or rename."""
    if not isinstance(document, dict | list) or not document:
        return odd_value(rng)
    here: Any = document
    while True:
        key = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        below = here[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.15:
            break
        here = below
    action = rng.randrange(5)
    if action == 0:
        del here[key]
    elif action == 1 and isinstance(here, dict):
        here[rng.choice(ODD_TEXTS)] = here.pop(key)
    elif action == 1:
        here.append(here[key])
    else:
        here[key] = odd_value(rng)
    return document


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_short(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _piece(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 10, 200)))


def _without_a_piece(data: bytes, rng: random.Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:start] + data[end:]


def _twice_a_piece(data: bytes, rng: random.Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:end] + data[start:]


def _with_odd_bytes(data: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + rng.choice(_ODD_BYTES) + data[start:]


def _odd_number(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    number = rng.choice(found)
    return data[: number.start()] + rng.choice(_NUMBER_TEXTS) + data[number.end() :]


Damage = Callable[[bytes, random.Random], bytes]
