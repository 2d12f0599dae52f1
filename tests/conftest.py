"""What all tests share: where the real data lies, and that nothing else about the machine or the user counts."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # threads that wait for each other cost minutes
    os.environ.setdefault(_threads, "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: tests ask no network for anything
_OF_A_USER = (  # a terminal's width and colours, a proxy before servers on loopback, files of one's own
    *("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "GITHUB_ACTIONS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("HELM_EFFICIENCY_STORE", "HELM_EFFICIENCY_STACK", "HELM_EFFICIENCY_PRICES", "HELM_EFFICIENCY_API_PRICES"),
)
for _name in _OF_A_USER:
    os.environ.pop(_name, None)

# The same cases in every run, however busy the machine; `--hypothesis-profile default` looks for others.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

_ENV = "HELM_EFFICIENCY_DATA"
TOKENIZER_CORPUS = ["Question: Is 24 even or odd? A. Even B. Odd Answer: the quick brown fox"] * 4


_SLOW = (
    "quickstart/",
    "docs/",
    "helm_plugin/",
    "test_disasters",
    "test_same_bytes",
    "test_campaign",
    "test_wheel",
    "test_extras",
)
"""Parts of the names of files that take longest. They go first, so that no worker is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first; the order within each stays."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in _SLOW))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real logs and runs: named by HELM_EFFICIENCY_DATA, else beside the checkout, else skip."""
    named = os.environ.get(_ENV)
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        if named:
            pytest.fail(f"{_ENV}={named} is not a folder")
        pytest.skip(f"no real data at {path}; name its folder with {_ENV}")
    return path.resolve()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a two-layer GPT-2 with random weights and a byte-level tokenizer with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TOKENIZER_CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0], model_max_length=512
    )
    fast.chat_template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
    set_seed(0)
    size = GPT2Config(vocab_size=len(fast), n_positions=512, n_embd=16, n_layer=2, n_head=2, eos_token_id=None)
    GPT2LMHeadModel(size).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """matplotlib keeps every figure until it is closed, and warns of many, whichever tests made them."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
