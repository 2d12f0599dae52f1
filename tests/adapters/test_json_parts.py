"""A long list in parts: together they are the whole, whatever the form of the file and wherever it is divided."""

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from helpers.archives import helm_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helm_efficiency.adapters import json_stream as json_parts
from helm_efficiency.adapters.helm.files import open_local
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.json_stream import Part, last_part, list_parts
from helm_efficiency.errors import FileFormatError

ONE_AFTER_THE_OTHER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

leaves = st.none() | st.booleans() | st.integers() | st.text() | st.just("\n  },\n  {")
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
elements = st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=8)
layouts = st.sampled_from([{"indent": 2}, {"indent": 1}, {"indent": 4}, {}, {"separators": (",", ":")}])


def parts_of(document: Any, layout: Any, key: str | None) -> list[Any]:
    """The parts decoded, as one does who tells when a part is no list."""
    text = json.dumps(document, **layout).encode()
    parts = list(decodable_parts(io.BytesIO(text), key))
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(text)
        with open_local(file.name) as opened:
            assert list(decodable_parts(opened, key)) == parts
    assert parts[0].start == 0
    for part in parts[1:]:
        assert text[part.start :].lstrip().startswith(b"{"), "an element starts there"
    assert [part.start for part in parts] == sorted({part.start for part in parts})
    assert [part.is_last for part in parts] == [*[False] * (len(parts) - 1), True]
    return [json.loads(part.text) for part in parts]


def decodable_parts(opened: BinaryIO, key: str | None) -> Iterator[Part]:
    for part in list_parts(opened, file="x.json", key=key):
        try:
            json.loads(part.text)
        except json.JSONDecodeError:
            assert key is not None
            yield last_part(opened, part, file="x.json", key=key)
            return
        yield part


@ONE_AFTER_THE_OTHER
@given(elements, layouts, st.integers(1, 200))
def test_a_list(monkeypatch: pytest.MonkeyPatch, document: list[Any], layout: Any, part_bytes: int) -> None:
    monkeypatch.setattr(json_parts, "PART_BYTES", part_bytes)
    parts = parts_of(document, layout, None)
    assert [element for part in parts for element in part] == document


@ONE_AFTER_THE_OTHER
@given(elements, values, st.lists(st.dictionaries(st.text(), leaves)), layouts, st.integers(1, 200))
def test_a_list_under_a_key(
    monkeypatch: pytest.MonkeyPatch, states: list[Any], before: Any, after: list[Any], layout: Any, part_bytes: int
) -> None:
    monkeypatch.setattr(json_parts, "PART_BYTES", part_bytes)
    document = {"adapter_spec": before, "request_states": states, "annotator_specs": after}
    parts = parts_of(document, layout, "request_states")
    *lists, last = parts
    assert [state for part in lists for state in part] + last["request_states"] == states
    assert last | {"request_states": states} == document


def test_parts_are_small() -> None:
    text = json.dumps([{"number": number} for number in range(200_000)], indent=2).encode()
    sizes = [len(part.text) for part in list_parts(io.BytesIO(text), file="x.json")]
    assert len(sizes) > 4
    assert max(sizes) < 2.1 * json_parts.PART_BYTES


@pytest.mark.parametrize("layout", [{"indent": 2}, {}])
def test_one_piece_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, layout: Any) -> None:
    monkeypatch.setattr(json_parts, "MAX_PIECE_BYTES", 10_000)
    monkeypatch.setattr(json_parts, "PART_BYTES", 100)
    with pytest.raises(FileFormatError, match=r"^run/x\.json: more than .* MB in one piece; expected a list"):
        list(list_parts(io.BytesIO(json.dumps([{"text": "x" * 20_000}], **layout).encode()), file="run/x.json"))


def test_real_runs_in_parts_are_the_same(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = helm_folders(data_dir / "helm_runs" / "small")
    whole = [read_run(folder).records for folder in folders]
    monkeypatch.setattr(json_parts, "PART_BYTES", 3000)
    assert [read_run(folder).records for folder in folders] == whole
    assert sum(map(len, whole)) == 25


def test_a_run_with_another_list_after_its_requests(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = helm_folders(data_dir / "helm_runs" / "small")[0]
    whole = read_run(folder)
    copy = shutil.copytree(folder, tmp_path / folder.parent.name / folder.name)
    state = json.loads((copy / "scenario_state.json").read_bytes())
    state["annotator_specs"] = [{"class_name": "some.Annotator", "args": {"number": number}} for number in range(50)]
    (copy / "scenario_state.json").write_text(json.dumps(state, indent=2))
    monkeypatch.setattr(json_parts, "PART_BYTES", 1000)
    assert read_run(copy).records == whole.records


def test_a_damaged_part_is_named(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = max(
        helm_folders(data_dir / "helm_runs" / "small"), key=lambda run: (run / "scenario_state.json").stat().st_size
    )
    copy = shutil.copytree(folder, tmp_path / folder.name)
    text = (copy / "scenario_state.json").read_bytes()
    (copy / "scenario_state.json").write_bytes(text.replace(b'"num_completions": 1', b'"num_completions": ]', 1))
    monkeypatch.setattr(json_parts, "PART_BYTES", 3000)
    for most in (2 * len(text), len(text) // 2):  # whether or not what follows fits one piece
        monkeypatch.setattr(json_parts, "MAX_PIECE_BYTES", most)
        with pytest.raises(FileFormatError, match=r"scenario_state\.json.*: JSON is malformed"):
            read_run(copy)
