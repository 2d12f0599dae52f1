"""The folder in which the reader of a page works."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from helpers.odd_places import copy_to_change

SMALL_RUNS = {"harnesses"}
"""Pages whose reader has the three small runs; all others have the fifteen of Llama 3."""
CONFIG = """{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 64,
"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000}"""


@pytest.fixture
def reader(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Return a function that moves to a folder with real logs and runs, and a model of the reader's own."""

    def go(page: Path) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        _furnish(page, data_dir)
        return tmp_path

    return go


def _furnish(page: Path, data_dir: Path) -> None:
    for name in ("megatron_logs", "latency", "helm_runs", "other_harnesses"):
        Path(name).symlink_to(data_dir / name)
    runs = "small" if page.stem in SMALL_RUNS else "mmlu_llama3"
    copy_to_change(data_dir / "helm_runs" / runs / "runs" / "v1", Path("benchmark_output", "runs", "v1"))
    Path("logs").mkdir()
    copy_to_change(data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json", Path("logs"))
    Path("prod_env", "cache").mkdir(parents=True)
    with closing(sqlite3.connect(Path("prod_env", "cache", "groq.sqlite"))) as cache:
        cache.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
    Path("my-model").mkdir()
    for config in (Path("my-model", "config.json"), Path("config.json")):
        config.write_text(CONFIG)
    if page.stem == "profiling":
        _draw_weights(Path("my-model"))


def _draw_weights(model: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model)).save_pretrained(model)
