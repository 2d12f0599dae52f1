"""A real model with random weights, a real OpenAI-compatible server, and real HELM runs made by HELM's own runner."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.helm_home import HelmHome, Server
from helpers.odd_places import reserved_port


@pytest.fixture(scope="session")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Starts `transformers serve` with the tiny model at once; calling the fixture waits until it answers.

    The server of transformers 4 refuses HELM's requests, so where HELM keeps to that version another Python can serve.
    """
    log = tmp_path_factory.mktemp("serve") / "log"
    python = os.environ.get("HELM_EFFICIENCY_SERVER_PYTHON", sys.executable)
    program = "from transformers.cli.transformers import main; main()"

    def ready() -> Server:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return Server(f"http://127.0.0.1:{port}/v1", str(tiny_model))
        raise AssertionError(f"transformers serve did not start: {log.read_text()[-2000:]}")

    with reserved_port() as port, log.open("wb") as output:
        command = [python, "-c", program, "serve", str(tiny_model), "--port", str(port), "--device", "cpu"]
        process = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=output, stderr=output)
        yield ready
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def responses_url(server: Callable[[], Server]) -> Iterator[str]:
    """The same server for HELM's Responses client, which does not say that it wants no stream."""

    class Forward(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            data = json.dumps({**body, "stream": False}).encode()
            url = server().base_url + self.path.removeprefix("/v1")
            request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    forwarder = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    threading.Thread(target=forwarder.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{forwarder.server_port}/v1"
    forwarder.shutdown()
    forwarder.server_close()


@pytest.fixture(scope="session")
def helm_home(
    tiny_model: Path, server: Callable[[], Server], responses_url: str, tmp_path_factory: pytest.TempPathFactory
) -> HelmHome:
    """HELM with four deployments of the tiny model: `tiny/chat`, `tiny/completions`, `tiny/responses`, `tiny/local`."""
    import helm.benchmark.metrics.basic_metrics  # noqa: F401 (slow; the server starts meanwhile)
    from helm.benchmark.config_registry import register_builtin_configs_from_helm_package
    from helm.benchmark.executor import ExecutionSpec
    from helm.benchmark.model_deployment_registry import ClientSpec, ModelDeployment, register_model_deployment
    from helm.benchmark.model_metadata_registry import get_unknown_model_metadata, register_model_metadata
    from helm.benchmark.runner import Runner
    from helm.benchmark.tokenizer_config_registry import TokenizerConfig, TokenizerSpec, register_tokenizer_config
    from helm.common.cache_backend_config import SqliteCacheBackendConfig

    root = tmp_path_factory.mktemp("helm")
    cache = root / "prod_env" / "cache"
    cache.mkdir(parents=True)
    register_builtin_configs_from_helm_package()
    hugging_face = {"pretrained_model_name_or_path": str(tiny_model)}
    register_tokenizer_config(
        TokenizerConfig(
            name="tiny/tokenizer",
            tokenizer_spec=TokenizerSpec("helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer", hugging_face),
            end_of_text_token="<|endoftext|>",
            prefix_token="",
        )
    )
    served = server()
    clients = {
        "chat": (
            "helm.clients.vllm_client.VLLMChatClient",
            {"base_url": served.base_url, "vllm_model_name": served.model},
        ),
        "responses": (
            "helm.clients.openai_responses_client.OpenAIResponseClient",
            {"base_url": responses_url, "openai_model_name": served.model, "api_key": "none"},
        ),
        "local": ("helm.clients.huggingface_client.HuggingFaceClient", hugging_face),
        "completions": (
            "helm_efficiency.helm_plugin.completions_client.CompletionsClient",
            {"base_url": served.base_url, "served_model": served.model},
        ),
    }
    for name, (client, args) in clients.items():
        register_model_metadata(get_unknown_model_metadata(f"tiny/{name}"))
        register_model_deployment(
            ModelDeployment(
                name=f"tiny/{name}",
                model_name=f"tiny/{name}",
                tokenizer_name="tiny/tokenizer",
                max_sequence_length=400,
                client_spec=ClientSpec(client, args),
            )
        )

    def run(run_spec: Any, *, with_cache: bool = True) -> Path:
        backend = SqliteCacheBackendConfig(str(cache)) if with_cache else None
        spec = ExecutionSpec(
            url=None,
            auth=None,
            local_path=str(root / "prod_env"),
            parallelism=2,
            sqlite_cache_backend_config=backend,
        )
        runner = Runner(spec, str(root / "out"), "suite", False, False, False, False, True)
        runner.run_one(run_spec)
        return root / "out" / "runs" / "suite" / run_spec.name

    return HelmHome(root / "out", cache, run)
