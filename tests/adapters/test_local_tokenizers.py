"""Tokenizers that lie on this machine: a model's own or none."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import InputError

REVISION = "0" * 40


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache in which `meta-llama/Meta-Llama-3.1-8B-Instruct` and `o/own` have a tokenizer."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for repository in ("meta-llama/Meta-Llama-3.1-8B-Instruct", "o/own", "Xenova/claude-tokenizer"):
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (snapshot / "tokenizer.json").write_bytes((tiny_model / "tokenizer.json").read_bytes())
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REVISION)
    return tmp_path


@pytest.mark.usefixtures("hub")
def test_the_models_own_or_none(tiny_model: Path) -> None:
    tokenizers = LocalTokenizers()
    text = "Is 24 even or odd?"
    own = len(AutoTokenizer.from_pretrained(tiny_model).encode(text))
    counts = {
        (deployment, model): tokenizers.count(text, deployment=deployment, model=model)
        for deployment, model in [
            ("together/llama-3-70b-chat", "meta/llama-3-70b-chat"),  # HELM names it, of open weights
            ("anything", "o/own"),  # the model's own repository
            ("anthropic/claude-3-opus-20240229", "anthropic/claude-3-opus-20240229"),  # HELM names a stand-in
            ("anything", "o/absent"),
            ("anything", "not a repository/at all/"),
            ("plain", "plain"),
        ]
    }
    assert list(counts.values()) == [own, own, None, None, None, None]


def test_named_ones_must_be_there(tiny_model: Path) -> None:
    named = LocalTokenizers({"d": str(tiny_model)})
    assert named.count("", deployment="x", model="d") == 0
    with pytest.raises(InputError, match=r"d: no tokenizer\.json of '/nowhere' on this machine"):
        LocalTokenizers({"d": "/nowhere"})
