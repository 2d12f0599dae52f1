"""Pickles of strangers: plain containers equal what the standard library reads; nothing named is ever run."""

import enum
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.harness.safe_pickle import UnsafePickleError, loads

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_containers_come_back(value: Any, protocol: int) -> None:
    # Before protocol 3 bytes are pickled as a call of a codec, which is refused.
    data = pickle.dumps(value, protocol)
    if b"_codecs" in data or b"__builtin__\nbytes" in data:
        with pytest.raises(UnsafePickleError):
            loads(data)
    else:
        assert loads(data) == value


def test_shared_and_cyclic_containers_come_back() -> None:
    shared = ["a"]
    value = {"x": shared, "y": shared}
    back = loads(pickle.dumps(value))
    assert back == value
    assert back["x"] is back["y"]
    cycle: list[Any] = []
    cycle.append(cycle)
    back = loads(pickle.dumps(cycle))
    assert back[0] is back


class Runs:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    data = pickle.dumps({"usage": {"prompt_tokens": Runs(mark)}}, protocol)
    with pytest.raises(UnsafePickleError, match=r"names (posix|nt)\.system, which is not run"):
        loads(data)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists()  # it would have run


@pytest.mark.parametrize("value", [{1, 2}, frozenset("a"), bytearray(b"a"), 1j, object(), len, {("a", "b"): 1}, Path()])
def test_anything_but_plain_containers_is_refused(value: Any) -> None:
    with pytest.raises(UnsafePickleError):
        loads(pickle.dumps(value))


def test_members_of_enumerations_that_helms_clients_store_become_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("google.genai.types")
    reason = enum.Enum("FinishReason", {"STOP": "STOP"}, module="google.genai.types")
    module.FinishReason = reason  # type: ignore[attr-defined]
    for name in ("google", "google.genai"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "google.genai.types", module)
    response = {"candidates": [{"finish_reason": reason.STOP}, {"finish_reason": reason.STOP}]}
    data = pickle.dumps(response)
    monkeypatch.delitem(sys.modules, "google.genai.types")  # not needed for reading
    assert loads(data) == {"candidates": [{"finish_reason": "STOP"}, {"finish_reason": "STOP"}]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x05",
        b"\x80\x05.",
        b"\x80\x05}u.",
        b"\x80\x05\x8c\x05ab",
        b"\x80\x05Nh\x00.",
        b"\x80\x05\x85.",
        b"\x80\x05)\x81.",  # NEWOBJ
        b"\x80\x05]]\x93.",  # STACK_GLOBAL of lists
        b"cgoogle.genai.types\nX\n(lR.",  # called with no value
        b"cgoogle.genai.typesX\n.",
        b"P0\n.",  # persistent id
    ],
)
def test_damaged_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(UnsafePickleError):
        loads(data)


def test_a_small_pickle_reserves_no_memory() -> None:
    """The standard library's reader in C grows its memo to the index, here to 64 GB."""
    assert loads(b"\x80\x04Nr\xff\xff\xff\xff.") is None


def test_hashing_cannot_be_made_to_take_forever() -> None:
    bomb: tuple[Any, ...] = ()
    for _ in range(80):
        bomb = (bomb, bomb)
    with pytest.raises(UnsafePickleError, match="keys that are neither text nor numbers"):
        loads(b"\x80\x05}" + pickle.dumps(bomb)[2:-1] + b"Ns.")


@given(st.data())
def test_mutated_pickles_are_read_or_refused_never_worse(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps({"choices": [{"text": "x"}], "usage": {"n": 1, "f": 0.5}, "pair": (1, 2)}))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        loads(bytes(content))
    except UnsafePickleError as error:
        assert str(error)
