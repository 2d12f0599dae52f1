"""What `engines.py` measures under load: stacks compared, and denoised runtimes of loaded runs against quiet truth."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engine_checks
from engine_servers import MEASURING, Server, counters, model_folder, running

from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.prompts import PromptMaker

CONCURRENCY = (1, 4, 16)
PROMPT_TOKENS, OUTPUT_TOKENS = 128, 32
SERVED = ("vllm", "llama.cpp", "llama.cpp-q8_0")
LOCAL = ("transformers-eager", "transformers-compiled")
NUM_PAIRS = 10
"""Of each engine that states its own times."""

TRIALS = 5
SHAPES = "32+256+768x1+16+48"
"""Prompt by output tokens: with five trials of each, 45 requests a run."""

LOADS = ("clients", "bursts", "compiling")
COUNTERS = {
    "vllm": {
        "queue": "vllm:request_queue_time_seconds_sum",
        "prefill": "vllm:request_prefill_time_seconds_sum",
        "decode": "vllm:request_decode_time_seconds_sum",
        "count": "vllm:request_queue_time_seconds_count",
    },
    "llama.cpp": {
        "prefill": "llamacpp:prompt_seconds_total",
        "decode": "llamacpp:tokens_predicted_seconds_total",
        "count": "",  # not stated
    },
}
_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def stacks(wanted: Sequence[str] | None, *, small: bool) -> Iterator[dict[str, Any]]:
    """Prefill, decode and throughput of each model on each engine under each load, and what profiling took."""
    for size in ("8M",) if small else ("100M", "500M"):
        for engine in wanted or (*LOCAL, *SERVED):
            yield stack(engine, size, repetitions=2 if small else 3)


def stack(engine: str, size: str, *, repetitions: int) -> dict[str, Any]:
    """One model on one engine."""
    loads = ",".join(map(str, CONCURRENCY))
    lengths = ["--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", f"1,{OUTPUT_TOKENS}"]
    options = [*lengths, "--repetitions", str(repetitions)]
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "s.sqlite"
        if engine in LOCAL:
            local = ["--engine", engine, "--dtype", "bf16", "--batch-sizes", loads, "--store", str(store)]
            before_j, begun = _energy_j(), time.monotonic()
            told = engine_checks.command("profile", str(model_folder(size)), *local, *options, "--format", "json")
            cells = json.loads(told.stdout)
        else:
            with running(engine, size) as server:
                before_j, begun = _energy_j(), time.monotonic()
                cells = engine_checks.profile(server, store, *options, "--concurrency", loads)["cells"]
        seconds, joules = time.monotonic() - begun, _energy_j()
    return {
        "engine": engine,
        "model": size,
        "stack": cells[0]["stack"],
        "prompt_tokens": PROMPT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "profile_s": seconds,
        "profile_j": joules - before_j if joules is not None and before_j is not None else None,
        "loads": [_load(cells, concurrency) for concurrency in CONCURRENCY],
    }


def _load(cells: Sequence[dict[str, Any]], concurrency: int) -> dict[str, Any]:
    """Prefill (s), decode (s a step) and throughput (tokens/s) of one load; None where a cell could not be timed."""
    seconds = {cell["output_tokens"]: cell["seconds"] for cell in cells if cell["batch_size"] == concurrency}
    first_s, all_s = seconds.get(1), seconds.get(OUTPUT_TOKENS)
    both = first_s is not None and all_s is not None
    return {
        "concurrency": concurrency,
        "prefill_s": first_s,
        "decode_step_s": (all_s - first_s) / (OUTPUT_TOKENS - 1) if both else None,
        "output_tokens_per_s": concurrency * OUTPUT_TOKENS / all_s if all_s else None,
    }


def _energy_j() -> float | None:
    """Joules of the processor so far, where RAPL may be read."""
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def denoise_pairs(wanted: Sequence[str] | None, *, small: bool) -> Iterator[dict[str, Any]]:
    """HELM runs of the same requests beside other work, each between two that have the machine to themselves.

    The truth is what the engine says that the requests of the quiet runs before and after took it, prefill and decode.
    """
    for engine in wanted or MEASURING:
        with running(engine, "30M") as server, tempfile.TemporaryDirectory() as scratch:
            probe = Probe(server, Path(scratch), trials=3 if small else TRIALS)
            probe.run("warm-up")
            before = probe.run("quiet")
            for number in range(2 if small else NUM_PAIRS):
                kind = LOADS[number % len(LOADS)]
                with load(server, kind, seed=number):
                    loaded = probe.run(kind)
                after = probe.run("quiet")
                yield {"engine": engine, "pair": number, "load": kind, **compared(loaded, (before, after))}
                before = after


def compared(loaded: dict[str, Any], quiet: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The denoised mean of a loaded run against the engine's own mean seconds of the quiet ones."""
    truths = [run["engine_means_s"]["prefill"] + run["engine_means_s"]["decode"] for run in quiet]
    truth_s = statistics.fmean(truths)
    found, is_bound = loaded["denoised_s"], loaded["is_upper_bound"]
    return {
        "truths_s": truths,
        "observed_over_truth": loaded["observed_s"] / truth_s,
        "denoised_over_truth": found["value"] / truth_s,
        "is_upper_bound": is_bound,
        "holds": truth_s <= found["high"] and (is_bound or found["low"] <= truth_s),
        "loaded": loaded,
        "quiet": quiet[0],
    }


class Probe:
    """HELM runs of one probe against one server, each with prompts of its own.

    Args:
        server: Server of a 30M model.
        folder: Folder for everything that HELM writes.
        trials: Requests of each shape.
    """

    def __init__(self, server: Server, folder: Path, *, trials: int) -> None:
        self._server, self._folder, self._trials = server, folder, trials
        self._home = folder / "prod_env"
        self._number = 0
        engine_checks.write_deployment(self._home, server, "completions", model_folder("30M"))

    def run(self, kind: str) -> dict[str, Any]:
        """Send the requests, denoise them, and read the engine's own mean seconds of all requests meanwhile."""
        self._number += 1
        suite = f"{self._number}-{kind}"
        before = engine_seconds(self._server)
        self._helm_run(suite)
        after = engine_seconds(self._server)
        options = ["--store", str(self._folder / f"{suite}.sqlite"), "--cache", str(self._home / "cache")]
        runs = self._folder / "out" / "runs" / suite
        (found,) = json.loads(engine_checks.command("denoise", str(runs), *options, "--format", "json").stdout)
        count = after["count"] - before["count"] or found["num_requests"]
        means = {name: (after[name] - before[name]) / count for name in after if name != "count"}
        kept = ("num_requests", "observed_s", "denoised_s", "is_upper_bound", "contended_share", "notes")
        return {**{name: found[name] for name in kept}, "engine_means_s": means, "engine_requests": count}

    def _helm_run(self, suite: str) -> None:
        model = f"model={engine_checks.NAME},model_deployment=local/completions"
        entry = f"efficiency_probe:trials={self._trials},session={self._number},{model},probe={SHAPES}"
        arguments = ["--run-entries", entry, "--suite", suite, "--output-path", str(self._folder / "out")]
        arguments += ["--num-threads", "1", "--local-path", str(self._home), "--max-eval-instances", "1000"]
        subprocess.run(
            [sys.executable, "-m", "helm.benchmark.run", *arguments],
            capture_output=True,
            check=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            cwd=self._folder,
        )


def engine_seconds(server: Server) -> dict[str, float]:
    """Sums of the engine's own seconds by now, by part, and how many requests; 0 for what it does not state."""
    found = counters(server)
    return {part: found.get(name, 0.0) for part, name in COUNTERS[server.engine].items()}


@contextmanager
def load(server: Server, kind: str, *, seed: int) -> Iterator[None]:
    """Other work while a block runs: 2 to 8 clients in turn, bursts of eight with pauses, or a build."""
    ended = threading.Event()
    if kind == "compiling":
        with compiling():
            yield
        return
    thread = threading.Thread(target=_other_clients, args=(server, kind, random.Random(seed), ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def compiling() -> Iterator[None]:
    """Byte-compile the standard library with four processes, again and again, as somebody else's build."""
    source = sysconfig.get_path("stdlib")
    work = f"while true; do {sys.executable} -m compileall -q -f -j 4 {source}; sleep 1; done"
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": scratch}
        build = subprocess.Popen(
            ["sh", "-c", work],
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            os.killpg(build.pid, signal.SIGKILL)
            build.wait()


def _other_clients(server: Server, kind: str, chance: random.Random, ended: threading.Event) -> None:
    maker = PromptMaker()
    with Endpoint(EndpointOptions(server.base_url, server.model)) as endpoint:
        while not ended.is_set():
            clients = 8 if kind == "bursts" else chance.randint(2, 8)
            prompts = [maker.prompt(chance.choice((16, 128, 512))) for _ in range(clients)]
            endpoint.request_all(prompts, chance.choice((8, 32, 64)))
            if kind == "bursts":
                ended.wait(chance.expovariate(1.0))
