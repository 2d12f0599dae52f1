"""Real causal LMs with random weights, small enough to time in milliseconds, and a real server of one."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
import transformers
from helpers.odd_places import reserved_port
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from helm_efficiency.profiling.endpoint.prompts import WORDS


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a two-layer Llama whose own settings end every output after one token."""
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    model.generation_config.eos_token_id = list(range(config.vocab_size))
    path = tmp_path_factory.mktemp("models") / "tiny-llama"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Folder and base URL of an eight-layer Llama behind a real `transformers serve` on loopback."""
    path = tmp_path_factory.mktemp("served") / "small-llama"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([f" {' '.join(WORDS)}"] * 2, trainer)
    chat = "<user>{% for message in messages %}{{ message['content'] }}{% endfor %}<assistant>"
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=chat)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    # Single bytes come first in the vocabulary; half a character would be held back by the server and not be seen.
    model.generation_config.suppress_tokens = list(range(256))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    with reserved_port() as port, (path / "server.log").open("w") as log:
        script = "from transformers.cli.transformers import main; main()"
        arguments = ["serve", str(path), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
        command = [sys.executable, "-c", script, *arguments]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}/health", server, path / "server.log")
            yield (path, f"http://127.0.0.1:{port}/v1")
        finally:
            server.kill()
            server.wait()


def _wait_until_it_answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise AssertionError(f"transformers serve did not start: {log.read_text()[-2000:]}")
