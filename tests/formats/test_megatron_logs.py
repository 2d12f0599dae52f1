"""Logs of the paper, read into profiles."""

import ast
import re
from pathlib import Path

import pytest

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.formats.measurement_files import read_profiles
from helm_efficiency.formats.megatron import read_megatron_log

HEADER = """\
------------------------ arguments ------------------------
  ffn_hidden_size ................................. 64
  hidden_size ..................................... 16
  kv_channels ..................................... 8
  num_attention_heads ............................. 2
  num_layers ...................................... {layers}
  params_dtype .................................... torch.float16
  pipeline_model_parallel_size .................... 1
  tensor_model_parallel_size ...................... {tensor}
-------------------- end of arguments ---------------------
 > padded vocab (size: 50257) with 47 dummy tokens (new size: 50304)
"""


def row(p: int, o: int, seconds: str, std: str = "0.001") -> str:
    return f"Runtime for {{'num_input_tokens': {p}, 'num_output_tokens': {o}}}: {seconds} seconds +- {std}\n"


def write(folder: Path, text: str, name: str = "a100/tiny.log") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_header_and_rows(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER.format(layers=4, tensor=2) + row(16, 2, "0.050") + row(1, 1, "0.021", "0.002"))
    profile = read_megatron_log(path)
    assert profile.deployment == "megatron/tiny"
    assert str(profile.stack) == "a100-80gb×2 megatron fp16 tp2"
    assert profile.stack.name == "a100-80gb-megatron-fp16"
    assert profile.measurements == (
        Measurement(1, 1, 0.021, seconds_std=0.002, num_repetitions=50),
        Measurement(16, 2, 0.050, seconds_std=0.001, num_repetitions=50),
    )
    assert profile.resolution_s == 0.001
    assert profile.architecture == Architecture("tiny", 4, 16, 2, 2, 8, 64, 50304, tied_embeddings=True)


def test_one_stage_of_three_stands_for_the_whole_model(tmp_path: Path) -> None:
    text = HEADER.format(layers=35, tensor=8) + row(1, 1, "0.042")
    profile = read_megatron_log(write(tmp_path, text, "v100/mt_nlg.log"))
    assert profile.measurements[0].seconds == pytest.approx(0.126)
    assert profile.measurements[0].seconds_std == pytest.approx(0.003)
    assert profile.resolution_s == pytest.approx(0.003)
    assert profile.architecture is not None and profile.architecture.num_layers == 105
    assert str(profile.stack) == "v100-32gb×24 megatron fp16 tp8 pp3"
    assert profile.deployment == "microsoft/TNLGv2_530B"


def test_a_failed_start_does_not_say_what_was_profiled(tmp_path: Path) -> None:
    text = HEADER.format(layers=4, tensor=1) + "RuntimeError: out of memory\n" + HEADER.format(layers=4, tensor=2)
    assert read_megatron_log(write(tmp_path, text + row(1, 1, "0.021"))).stack.num_accelerators == 2


def test_runs_of_one_kind_are_joined_and_the_last_time_wins(tmp_path: Path) -> None:
    head = HEADER.format(layers=4, tensor=1)
    text = head + row(1, 1, "0.030") + row(1, 2, "0.040") + head + row(1, 1, "0.021")
    profile = read_megatron_log(write(tmp_path, text))
    assert [(m.output_tokens, m.seconds) for m in profile.measurements] == [(1, 0.021), (2, 0.040)]


def test_rows_of_another_run_are_left_out_and_counted(tmp_path: Path) -> None:
    text = (
        HEADER.format(layers=4, tensor=1) + row(1, 1, "0.030") + HEADER.format(layers=4, tensor=2) + row(1, 2, "0.040")
    )
    profile = read_megatron_log(write(tmp_path, text))
    assert [m.output_tokens for m in profile.measurements] == [2]
    assert profile.source.endswith("(1 rows of an earlier run with other arguments left out)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing\n", r"no line 'Runtime for"),
        (HEADER.format(layers=4, tensor=1) + row(1, 1, "0.021") + "Runtime for {'num_input_", r"line 13: .*expected"),
        (HEADER.format(layers=4, tensor=1) + row(0, 1, "0.021"), r"line 12: prompt_tokens is 0"),
        (HEADER.format(layers=4, tensor=1) + row(1, 1, "0.021").replace("num_input", "num"), r"line 12: .*num_input"),
        (HEADER.format(layers=4, tensor=1).replace("hidden_size", "x") + row(1, 1, "0.021"), r"hidden_size .*None"),
        (HEADER.format(layers="many", tensor=1) + row(1, 1, "0.021"), r"num_layers .*'many'"),
    ],
)
def test_damaged(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_megatron_log(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="No such file"):
        read_megatron_log(tmp_path / "a100" / "none.log")


def test_stack_must_be_known(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER.format(layers=4, tensor=1) + row(1, 1, "0.021"), "elsewhere/tiny.log")
    with pytest.raises(InputError, match="--stack"):
        read_megatron_log(path)
    profile = read_megatron_log(path, deployment="x/y", stack_name="h100-80gb-megatron-fp16")
    assert (profile.deployment, profile.stack.accelerator) == ("x/y", "h100-80gb")


def test_all_real_logs(data_dir: Path) -> None:
    """Every cell of every log, against a reading of the text that shares nothing with ours."""
    pattern = re.compile(r"^Runtime for (\{.*?\}): (\d+\.\d+) seconds", re.MULTILINE)
    accelerators = {}
    for path in sorted((data_dir / "megatron_logs").glob("*/*.log")):
        expected = {}
        for cell, seconds in pattern.findall(path.read_text()):
            cell = ast.literal_eval(cell)
            expected[cell["num_input_tokens"], cell["num_output_tokens"]] = float(seconds) * (
                3 if path.stem == "mt_nlg" else 1
            )
        (profile,) = read_profiles(path)
        assert {(m.prompt_tokens, m.output_tokens): m.seconds for m in profile.measurements} == expected
        accelerators[path.parent.name, path.stem] = profile.stack.num_accelerators
    assert accelerators == {
        ("a100", "ai21_j1_grande"): 1, ("a100", "ai21_j1_jumbo"): 8, ("a100", "ai21_j1_large"): 1,
        ("a100", "anthropic"): 4, ("a100", "bloom"): 8, ("a100", "gptj_6b"): 1, ("a100", "mt_nlg"): 24,
        ("a100", "openai_davinci"): 8, ("a100", "yalm"): 4, ("v100", "ai21_j1_grande"): 2,
        ("v100", "ai21_j1_jumbo"): 16, ("v100", "ai21_j1_large"): 1, ("v100", "anthropic"): 4, ("v100", "bloom"): 16,
        ("v100", "gptj_6b"): 1, ("v100", "mt_nlg"): 48, ("v100", "openai_davinci"): 16, ("v100", "yalm"): 8,
    }  # fmt: skip
