"""LLMPerf's individual responses: a real file, and damaged ones."""

from pathlib import Path

import pytest

from helm_efficiency.adapters.llmperf import read_llmperf
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.errors import FileFormatError, InputError

ROW = """[{"error_code": null, "error_msg": "", "inter_token_latency_s": 0.006, "ttft_s": 0.3,
 "end_to_end_latency_s": 0.9, "request_output_throughput_token_per_s": 167.4,
 "number_total_tokens": 700, "number_output_tokens": 150, "number_input_tokens": 550},
 {"error_code": 429, "error_msg": "slow down", "inter_token_latency_s": 0, "ttft_s": 0,
 "end_to_end_latency_s": 0, "request_output_throughput_token_per_s": 0,
 "number_total_tokens": 0, "number_output_tokens": 0, "number_input_tokens": 550}]"""


def test_a_row_is_a_record(tmp_path: Path) -> None:
    file = tmp_path / "groq_70b.json"
    file.write_text(ROW)
    run = read_llmperf(file)
    assert (run.deployment, run.model, run.name, run.warnings) == ("groq/70b", "70b", "groq_70b", ())
    common = {
        "harness": "llmperf",
        "suite": tmp_path.name,
        "run": "groq_70b",
        "scenario": "llmperf",
        "model": "70b",
        "deployment": "groq/70b",
        "prompt_tokens": 550,
        "prompt_provenance": "harness",
    }
    assert run.records == (
        RequestRecord(
            **common, instance_id="0", output_tokens=150, output_provenance="harness", observed_s=0.9, ttft_s=0.3
        ),
        RequestRecord(**common, instance_id="1", success=False),
    )


def test_a_name_without_a_model_is_the_host(tmp_path: Path) -> None:
    (tmp_path / "myhost.json").write_text(ROW)
    assert read_llmperf(tmp_path / "myhost.json").deployment == "myhost"


def test_real_responses(data_dir: Path) -> None:
    run = read_llmperf(data_dir / "latency" / "llmperf" / "bedrock_13b.json")
    assert len(run.records) == 150
    assert sum(record.success for record in run.records) == 53


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ROW[:200], "truncated"),
        (ROW.replace("0.9", '"long"'), r"Expected `float`, got `str` - at `\$\[0\].end_to_end_latency_s`"),
        (ROW.replace("0.9", "-3"), r"Expected `float` >= 0.0 - at `\$\[0\].end_to_end_latency_s`"),
        (ROW.replace('"ttft_s": 0.3,', ""), r"missing required field `ttft_s` - at `\$\[0\]`"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "groq_70b.json"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=reason) as caught:
        read_llmperf(file)
    assert str(file) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"groq_70b.json: No such file"):
        read_llmperf(tmp_path / "groq_70b.json")
