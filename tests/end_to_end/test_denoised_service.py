"""The whole way: HELM probes a real server, with and without other people's load, and the service model is the same."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.cli import app
from helm_efficiency.core.services.denoise import denoise, fit_service
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import Interval
from helm_efficiency.metrics.services import services

if TYPE_CHECKING:
    from conftest import Server

DEPLOYMENT = "loopback/llama"
GRID = "16+512x1+32"
CELLS = [(16, 1), (16, 32), (512, 1), (512, 32)]
TRIALS = 12

LOAD = """
import json, sys, threading, time, urllib.request
url, model = sys.argv[1:]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
body = json.dumps({"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": "go on"}]}).encode()
end = time.monotonic() + 60
print("begun", flush=True)
while time.monotonic() < end and not stop.is_set():
    began = time.monotonic()
    request = urllib.request.Request(url + "/chat/completions", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).read()
    stop.wait(0.8 * (time.monotonic() - began))
"""


@contextmanager
def other_users(server: "Server") -> Iterator[None]:
    """A second process that keeps the server busy about half of the time, for a minute at most."""
    command = [sys.executable, "-c", LOAD, server.base_url, str(server.model)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    try:
        yield
        assert process.poll() is None, "the load ended before the probe did"
    finally:
        process.communicate(timeout=60)  # ends its input, and so the load after its last request


@pytest.fixture(scope="module")
def run_one(server: "Server", tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Path]:
    """HELM's own runner with one deployment, through HELM's own client; returns the folder of the run."""
    from helm.benchmark.config_registry import register_builtin_configs_from_helm_package
    from helm.benchmark.executor import ExecutionSpec
    from helm.benchmark.model_deployment_registry import ClientSpec, ModelDeployment, register_model_deployment
    from helm.benchmark.model_metadata_registry import get_unknown_model_metadata, register_model_metadata
    from helm.benchmark.runner import Runner
    from helm.benchmark.tokenizer_config_registry import TokenizerConfig, TokenizerSpec, register_tokenizer_config
    from helm.common.cache_backend_config import SqliteCacheBackendConfig

    register_builtin_configs_from_helm_package()
    hugging_face = TokenizerSpec(
        "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer",
        {"pretrained_model_name_or_path": str(server.model)},
    )
    register_tokenizer_config(TokenizerConfig(DEPLOYMENT, hugging_face, end_of_text_token="", prefix_token=""))
    register_model_metadata(get_unknown_model_metadata(DEPLOYMENT))
    client_args = {"base_url": server.base_url, "vllm_model_name": str(server.model)}
    register_model_deployment(
        ModelDeployment(
            name=DEPLOYMENT,
            model_name=DEPLOYMENT,
            tokenizer_name=DEPLOYMENT,
            max_sequence_length=1024,
            client_spec=ClientSpec("helm.clients.vllm_client.VLLMChatClient", client_args),
        )
    )
    root = tmp_path_factory.mktemp("helm")
    (root / "cache").mkdir()
    execution = ExecutionSpec(
        url=None,
        auth=None,
        local_path=str(root),
        parallelism=1,
        sqlite_cache_backend_config=SqliteCacheBackendConfig(str(root / "cache")),
    )
    runner = Runner(execution, str(root), "probe", False, False, False, False, True)

    def run(run_spec: Any) -> Path:
        runner.run_one(run_spec)
        return root / "runs" / "probe" / run_spec.name

    return run


def probe_runs(session: str) -> Sequence[Any]:
    """Run specs of one session, from the run entry."""
    from helm.benchmark.run_spec_factory import construct_run_specs
    from helm.common.object_spec import parse_object_spec

    import helm_efficiency.helm_plugin.probe_run_specs  # noqa: F401 (registers the run entry)

    entry = f"efficiency_probe:trials={TRIALS},session={session},model={DEPLOYMENT},probe={GRID}"
    return list(construct_run_specs(parse_object_spec(entry)))


def log_of(folders: Sequence[Path]) -> ServiceLog:
    """What the runs recorded of the one service."""
    (service,) = services(record for folder in folders for record in read_run(folder).records)
    assert service.deployment == DEPLOYMENT
    assert not service.set_apart
    return service.log


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two estimates agree within their intervals."""
    assert one is not None
    assert other is not None
    return bool(one.low <= other.high and other.low <= one.high)


def quiet_and_busy(run_one: Callable[[Any], Path], server: "Server", attempt: int) -> tuple[list[Path], list[Path]]:
    """Runs without and with other users' load, in turn, so that whatever else the machine does meets both."""
    quiet, busy = [], []
    for quiet_spec, busy_spec in zip(probe_runs(f"quiet{attempt}"), probe_runs(f"busy{attempt}"), strict=True):
        quiet.append(run_one(quiet_spec))
        with other_users(server):
            busy.append(run_one(busy_spec))
    return quiet, busy


def agree(one: ServiceLog, other: ServiceLog) -> bool:
    """Whether the denoised coefficients of two logs agree within their intervals."""
    alone, contended = fit_service(one), fit_service(other)
    return (
        overlap(alone.overhead_s(), contended.overhead_s())
        and overlap(alone.prefill_s_per_token(), contended.prefill_s_per_token())
        and overlap(alone.decode_s_per_token(), contended.decode_s_per_token())
    )


def test_load_doubles_observed_but_not_denoised(
    run_one: Callable[[Any], Path], server: "Server", tmp_path: Path
) -> None:
    # What else runs on the machine may slow one of the two sessions down all the while: then both are taken again.
    for attempt in range(5):
        quiet, busy = quiet_and_busy(run_one, server, attempt)
        quiet_log, busy_log = log_of(quiet), log_of(busy)
        slower = busy_log.seconds.mean() / quiet_log.seconds.mean()
        if agree(quiet_log, busy_log) and slower >= 2.0:
            break
    assert slower >= 2.0
    assert agree(quiet_log, busy_log)
    # and not because the intervals are wide: what is left of the contention is small beside what was seen
    left = fit_service(busy_log).denoised_s(512, 32).value / fit_service(quiet_log).denoised_s(512, 32).value
    assert abs(np.log(left)) < np.log(slower) / 2.0

    # by the server's own count, every request was of exactly the lengths that were asked for
    caches = RequestCaches()
    caches.add_folder(quiet[0].parents[2] / "cache")
    counted = [record for folder in quiet + busy for record in read_run(folder, caches=caches).records]
    assert {(r.prompt_provenance, r.output_provenance) for r in counted} == {("usage", "usage")}
    assert Counter((r.prompt_tokens, r.output_tokens) for r in counted) == dict.fromkeys(CELLS, 2 * TRIALS)

    # the command says the same of both sessions together, and predict finds the service model
    store = str(tmp_path / "store.sqlite")
    folders = map(str, quiet + busy)
    result = CliRunner().invoke(app, ["denoise", *folders, "--store", store, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    (report,) = json.loads(result.stdout)
    assert (report["deployment"], report["stack"], report["num_requests"]) == (DEPLOYMENT, "service-loopback", 96)
    options = ["--deployment", DEPLOYMENT, "--stack", "service-loopback", "--format", "json"]
    request = ["--prompt-tokens", "512", "--output-tokens", "32"]
    result = CliRunner().invoke(app, ["predict", "--store", store, *options, *request])
    prediction = json.loads(result.stdout)
    prediction = prediction[0] if isinstance(prediction, list) else prediction
    assert prediction["in_domain"]
    assert prediction["stack"] == "service-loopback"
    pooled = denoise(log_of(quiet + busy)).service.denoised_s(512, 32)
    assert prediction["idealized_s"] == pytest.approx(float(pooled.value), rel=1e-6)
