"""Folders of models that are hostile: no Python of theirs is run unasked, and each is refused in one line."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from helpers.run_commands import call, refused

from helm_efficiency.helm_plugin.local_models import write_configs

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""
AUTO_MAPS: dict[str, dict[str, Any]] = {
    "a config of its own": {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}},
    "a model of its own": {"model_type": "vit", "auto_map": {"AutoModelForCausalLM": "own.OwnModel"}},
    "code of another place": {"model_type": "own", "auto_map": {"AutoConfig": "somebody/else--own.OwnConfig"}},
}
CELLS = ("--prompt-tokens", "4,8", "--output-tokens", "1,2", "--repetitions", "2", "--device", "cpu")


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A tiny model with weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder = tmp_path / "own-model"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).save_pretrained(folder)
    return folder


def put_code(folder: Path, mark: Path, **values: Any) -> None:
    """Let a folder bring Python of its own, which leaves a mark when it is run."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))


@pytest.mark.parametrize("random_weights", [False, True])
@pytest.mark.parametrize("values", AUTO_MAPS.values(), ids=AUTO_MAPS)
def test_python_of_a_model_is_refused(
    llama: Path, tmp_path: Path, values: dict[str, Any], random_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    put_code(llama, mark, **values)
    answers = io.StringIO("y\n" * 20)
    monkeypatch.setattr(sys, "stdin", answers)
    more = ["--random-weights"] if random_weights else []
    line = refused("profile", llama, *CELLS, *more, "--store", tmp_path / "s.sqlite", naming=llama)
    assert "comes with Python code of its own" in line and "--trust-remote-code" in line
    assert not mark.exists() and answers.tell() == 0, "nothing was run, and nothing was asked"


def test_trusted_python_of_a_model_is_run(llama: Path, tmp_path: Path) -> None:
    """In a process of its own, as what is run stays loaded."""
    mark, store = tmp_path / "mark", tmp_path / "s.sqlite"
    put_code(
        llama, mark, model_type="own", auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    )
    command = [sys.executable, "-m", "helm_efficiency.cli", "profile", str(llama), *CELLS, "--store", str(store)]
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [*command, "--trust-remote-code"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert mark.exists() and "own-model" in call("show", "--store", store).stdout


def test_a_campaign_trusts_no_python(llama: Path, tmp_path: Path) -> None:
    mark, campaign = tmp_path / "mark", tmp_path / "campaign.yaml"
    put_code(llama, mark, **AUTO_MAPS["a config of its own"])
    campaign.write_text(f"models:\n- model: {llama}\n  trust_remote_code: true\n")
    code, _, stderr = call("profile", "--campaign", campaign, "--store", tmp_path / "s.sqlite")
    assert code in (1, 2) and not mark.exists() and str(llama) in stderr


def test_helm_is_told_of_no_tokenizer_with_python(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    put_code(llama, mark)
    (llama / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}})
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    with pytest.raises(ValueError, match="custom code"):
        write_configs([llama], tmp_path / "prod_env", release_date=date(2026, 1, 1))
    assert not mark.exists()


class Runs:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def zipped(data: bytes) -> bytes:
    """A pickle as torch keeps it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["raw", "zipped", "cut", "empty", "text", "zip of nothing"])
def test_weights_that_are_hostile_pickles(llama: Path, tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    (llama / "model.safetensors").unlink()
    hostile = pickle.dumps({"weight": Runs(mark)})
    contents = {
        "raw": hostile,
        "zipped": zipped(hostile),
        "cut": zipped(hostile)[:-40],
        "empty": b"",
        "text": b"weights",
        "zip of nothing": zipped(b""),
    }
    (llama / "pytorch_model.bin").write_bytes(contents[kind])
    refused("profile", llama, *CELLS, "--store", tmp_path / "s.sqlite", naming=llama)
    assert not mark.exists()
