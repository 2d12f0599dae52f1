"""CSV, JSON and the Splitwise table, read into profiles."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency import codec
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.formats.csv_measurements import resolution_s, write_measurement_csv
from helm_efficiency.formats.measurement_files import read_profiles

SPLITWISE_HEADER = (
    "model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,prompt_time,token_time,e2e_time,"
    "tensor_parallel\n"
)


def write(folder: Path, text: str, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv(tmp_path: Path) -> None:
    text = "prompt_tokens,output_tokens,batch_size,seconds,seconds_std\n1,1,1,0.021,\n1,2,4,0.042,0.001\n"
    (profile,) = read_profiles(write(tmp_path, text), deployment="x/y", stack_name="a100-80gb-vllm-fp8")
    assert profile == Profile(
        "x/y",
        Stack("a100-80gb-vllm-fp8", "a100-80gb"),
        (Measurement(1, 1, 0.021), Measurement(1, 2, 0.042, batch_size=4, seconds_std=0.001)),
        resolution_s=0.001,
        source="CSV m.csv",
    )


def test_a_stack_of_unknown_hardware_is_its_own_accelerator(tmp_path: Path) -> None:
    path = write(tmp_path, "prompt_tokens,output_tokens,seconds\n1,1,0.5\n")
    (profile,) = read_profiles(path, deployment="x/y", stack_name="toaster")
    assert profile.stack.accelerator == "toaster"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: ''; expected measurements"),
        ("a,b\n1,2\n", "line 1: 'a,b'; expected measurements"),
        ("prompt_tokens,seconds\n1,2\n", "given columns prompt_tokens,seconds; expected prompt_tokens,output_tokens,"),
        ("prompt_tokens,output_tokens,seconds,ttft\n", "given columns .*ttft; expected"),
        ("prompt_tokens,output_tokens,seconds,seconds\n", "given columns"),
        ("prompt_tokens,output_tokens,seconds\n", "no rows"),
        ("prompt_tokens,output_tokens,seconds\n1,1\n", "line 2: expected 3 values"),
        ("prompt_tokens,output_tokens,seconds\n1,1,2,3\n", "line 2: expected 3 values"),
        ("prompt_tokens,output_tokens,seconds\n1,1,1\n1.5,1,2\n", "line 3: prompt_tokens is '1.5', expected a whole"),
        ("prompt_tokens,output_tokens,seconds\n1,1,fast\n", "line 2: seconds is 'fast', expected a number of seconds"),
        ("prompt_tokens,output_tokens,seconds\n1,1,\n", "line 2: seconds is ''"),
        ("prompt_tokens,output_tokens,seconds\n1,1,nan\n", "line 2: seconds is nan, expected a positive number"),
        ("prompt_tokens,output_tokens,seconds\n1,0,1\n", "line 2: output_tokens is 0, expected 1 or more"),
        ('prompt_tokens,output_tokens,seconds\n1,1,"1\n', "not a CSV text file"),
        (SPLITWISE_HEADER + "m,h,1,1,1,0,0,x,1,1,1\n", "line 2: could not convert"),
        (SPLITWISE_HEADER + "m,h100-80gb-pcap,1,1,1,0,0,1,1,1,1\n", "no measured rows"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_profiles(write(tmp_path, text), deployment="x/y", stack_name="s")


def test_not_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"prompt_tokens,output_tokens,seconds\n\xff\xfe,1,1\n")
    with pytest.raises(FileFormatError, match="not a CSV text file"):
        read_profiles(path, deployment="x/y", stack_name="s")


@pytest.mark.parametrize(
    ("options", "option"), [({"stack_name": "s"}, "--deployment"), ({"deployment": "x"}, "--stack")]
)
def test_names_must_come_from_somewhere(tmp_path: Path, options: dict[str, str], option: str) -> None:
    path = write(tmp_path, "prompt_tokens,output_tokens,seconds\n1,1,0.5\n")
    with pytest.raises(InputError, match=option):
        read_profiles(path, **options)


MEASUREMENTS = st.builds(
    Measurement,
    prompt_tokens=st.integers(1, 10**6),
    output_tokens=st.integers(1, 10**6),
    seconds=st.floats(1e-9, 1e9),
    batch_size=st.integers(1, 512),
    seconds_std=st.none() | st.floats(0, 1e9),
    num_repetitions=st.integers(1, 100),
    ttft_s=st.none() | st.floats(0, 1e9),
)


@given(st.lists(MEASUREMENTS, min_size=1, max_size=5))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, measurements: list[Measurement]) -> None:
    profiles = [Profile(d, Stack("s", "s"), tuple(measurements)) for d in ("x/y", "x/z")]
    text = io.StringIO()
    write_measurement_csv(profiles, text)
    read = read_profiles(write(tmp_path_factory.mktemp("csv"), text.getvalue()))
    assert [(p.deployment, p.stack, p.measurements) for p in read] == [
        (p.deployment, p.stack, p.measurements) for p in profiles
    ]


def test_json_of_one_profile_of_several_and_of_a_store(tmp_path: Path) -> None:
    profile = Profile("x/y", Stack("cpu-eager", "cpu"), (Measurement(1, 1, 0.1),), versions={"torch": "2"})
    for data in (codec.to_plain(profile), [codec.to_plain(profile)], {"profiles": [codec.to_plain(profile)]}):
        assert read_profiles(write(tmp_path, json.dumps(data), "m.json")) == [profile]
    (renamed,) = read_profiles(tmp_path / "m.json", deployment="a/b", stack_name="a100-80gb-x")
    assert (renamed.deployment, renamed.stack) == ("a/b", Stack("a100-80gb-x", "a100-80gb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "profile 0 is int"),
        ('{"deployment": "x"}', "profile 0: Not a profile"),
        ("none", "line 1: 'none'; expected"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_profiles(write(tmp_path, text, "m.json"))


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="No such file"):
        read_profiles(tmp_path / "m.csv")
    path = tmp_path / "m.json"
    path.write_bytes(b'["\xff"]')
    with pytest.raises(FileFormatError, match="not a text file"):
        read_profiles(path)


def test_splitwise_duplicates_and_derived_rows_are_left_out(tmp_path: Path) -> None:
    rows = "llama,a100-80gb,512,2,3,0,0,100,20,999,4\n" * 2 + "llama,h100-80gb-pcap,512,2,3,0,0,100,20,999,4\n"
    (profile,) = read_profiles(write(tmp_path, SPLITWISE_HEADER + rows))
    # 100 ms + 2 further tokens of 20 ms
    assert profile.measurements == (Measurement(512, 3, 0.1 + 2 * 0.02, batch_size=2, ttft_s=0.1),)
    assert (profile.deployment, str(profile.stack)) == ("splitwise/llama", "a100-80gb×4 splitwise tp4")


def test_splitwise_table(data_dir: Path) -> None:
    profiles = read_profiles(data_dir / "latency" / "splitwise_perf_model.csv")
    counts = {(p.deployment, p.stack.name): len(p.measurements) for p in profiles}
    assert not any("pcap" in stack for _, stack in counts)
    assert counts == {
        (f"splitwise/{model}", f"{hardware}-splitwise-tp{degree}"): 95
        for hardware in ("a100-80gb", "h100-80gb")
        for model, degree in (("llama2-70b", 2), ("llama2-70b", 4), ("llama2-70b", 8), ("bloom-176b", 8))
    }


@given(st.integers(1, 50), st.lists(st.integers(1, 10**6), min_size=8, max_size=20, unique=True))
def test_resolution_is_a_common_divisor(step_ms: int, multiples: list[int]) -> None:
    step = resolution_s([f"{multiple * step_ms / 1000:.6f}" for multiple in multiples])
    assert step >= step_ms / 1000 * (1 - 1e-9)
    assert all(abs(m * step_ms / 1000 / step - round(m * step_ms / 1000 / step)) < 1e-6 for m in multiples)


def test_resolution_of_words_is_unknown() -> None:
    assert resolution_s(["inf", "a"]) == 0.0
