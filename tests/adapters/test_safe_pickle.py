"""Pickles of strangers: plain containers equal what the standard library reads; nothing named is ever run."""

import enum
import os
import pickle
import sys
import types
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.adapters.helm.pickle_reader import UnsafePickleError, loads

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


class OpenAIObject(dict[str, Any]):
    """As in OpenAI's client before 2024, whose objects HELM kept as they were."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.get("id"), None, None), dict(self)


@pytest.fixture
def modules_of_clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, types.ModuleType]:
    """Modules that HELM's clients' values name, for as long as those are pickled."""
    names = ("google", "google.genai", "google.genai.types", "openai", "openai.openai_object")
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(OpenAIObject, "__module__", "openai.openai_object")
    modules["openai.openai_object"].OpenAIObject = OpenAIObject  # type: ignore[attr-defined]
    return modules


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_helms_clients_store_becomes_plain(
    modules_of_clients: dict[str, types.ModuleType], monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    reason = enum.Enum("FinishReason", {"STOP": "STOP"}, module="google.genai.types")
    modules_of_clients["google.genai.types"].FinishReason = reason  # type: ignore[attr-defined]
    usage = OpenAIObject(prompt_tokens=3)
    response = {
        "finish_reason": [reason.STOP, reason.STOP],
        "create_time": datetime(2025, 1, 1, tzinfo=UTC),
        "usage": usage,
        "choices": [OpenAIObject(id="x", usage=usage), OpenAIObject()],
        "ordered": OrderedDict(a=1),
    }
    data = pickle.dumps(response, protocol)
    for name in modules_of_clients:
        monkeypatch.delitem(sys.modules, name)  # not needed for reading
    if protocol < 3:  # the date's bytes are pickled as a call
        with pytest.raises(UnsafePickleError, match="_codecs"):
            loads(data)
        return
    back = loads(data)
    assert back == {
        "finish_reason": ["STOP", "STOP"],
        "create_time": None,
        "usage": {"prompt_tokens": 3},
        "choices": [{"id": "x", "usage": {"prompt_tokens": 3}}, {}],
        "ordered": {"a": 1},
    }
    assert all(type(value) is dict for value in (back["usage"], back["ordered"], *back["choices"]))


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
        b"}](Neb.",  # BUILD with a list, of a dict
        b"](dNNub.",
        b"NNR.",  # a call of None
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
