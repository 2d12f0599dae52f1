"""What `engines.py` measures under load: stacks compared, and denoised runtimes of loaded runs against quiet truth."""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engine_checks
from engine_servers import Server, model_folder, running

from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.prompts import PromptMaker
from helm_efficiency.profiling.endpoint.replies import Reply

CONCURRENCY = (1, 4, 16)
PROMPT_TOKENS, OUTPUT_TOKENS = 256, 32
SERVED = ("vllm", "llama.cpp", "llama.cpp-q8_0")
LOCAL = ("transformers-eager", "transformers-compiled")
NUM_PAIRS = 20
_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def stacks(wanted: Sequence[str] | None, *, small: bool) -> Iterator[dict[str, Any]]:
    """Prefill, decode and throughput of each model on each engine under each load, and what profiling took."""
    for size in ("8M",) if small else ("100M", "500M"):
        for engine in wanted or (*LOCAL, *SERVED):
            yield stack(engine, size, repetitions=2 if small else 5)


def stack(engine: str, size: str, *, repetitions: int) -> dict[str, Any]:
    """One model on one engine."""
    loads = ",".join(map(str, CONCURRENCY))
    lengths = ["--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", f"1,{OUTPUT_TOKENS}"]
    options = [*lengths, "--repetitions", str(repetitions)]
    before_j, begun = _energy_j(), time.monotonic()
    loops: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "s.sqlite"
        if engine in LOCAL:
            local = ["--engine", engine, "--dtype", "bf16", "--batch-sizes", loads, "--store", str(store)]
            told = engine_checks.command("profile", str(model_folder(size)), *local, *options, "--format", "json")
            cells = json.loads(told.stdout)
            seconds, joules = time.monotonic() - begun, _energy_j()
        else:
            with running(engine, size) as server:
                begun = time.monotonic()
                cells = engine_checks.profile(server, store, *options, "--concurrency", loads)["cells"]
                seconds, joules = time.monotonic() - begun, _energy_j()
                loops += [closed_loop(server, clients, requests_each=repetitions) for clients in CONCURRENCY]
    return {
        "engine": engine,
        "model": size,
        "stack": cells[0]["stack"],
        "profile_s": seconds,
        "profile_j": joules - before_j if joules is not None and before_j is not None else None,
        "closed_loops": loops,
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


def closed_loop(server: Server, concurrency: int, *, requests_each: int) -> dict[str, float]:
    """So many clients, each with its next request as soon as the last is answered; means over the requests.

    What a model of a server under load is to predict from the rounds of a profile.
    """
    maker = PromptMaker()
    with (
        Endpoint(EndpointOptions(server.base_url, server.model)) as endpoint,
        ThreadPoolExecutor(concurrency) as clients,
    ):

        def ask(_: int) -> Reply:
            return endpoint.request(maker.prompt(PROMPT_TOKENS), OUTPUT_TOKENS)

        begun = time.perf_counter()
        replies = list(clients.map(ask, range(concurrency * requests_each)))
        seconds = time.perf_counter() - begun
    return {
        "concurrency": concurrency,
        "request_s": statistics.fmean(reply.seconds for reply in replies),
        "ttft_s": statistics.fmean(reply.ttft_s or 0.0 for reply in replies),
        "output_tokens_per_s": sum(reply.output_tokens for reply in replies) / seconds,
    }


def _energy_j() -> float | None:
    """Joules of the processor so far, where RAPL may be read."""
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def denoise_pairs(wanted: Sequence[str] | None, *, small: bool) -> Iterator[dict[str, Any]]:
    """Pairs of HELM runs of the same requests, alone and beside other clients: denoised time against the engine's own.

    The truth is what the engine says the requests of the quiet run took it (vLLM's `/metrics`, without its queue).
    """
    for engine in wanted or ("vllm",):
        with running(engine, "8M") as server, tempfile.TemporaryDirectory() as scratch:
            for number in range(2 if small else NUM_PAIRS):
                quiet = helm_probe(
                    server, Path(scratch), f"quiet{number}", session=2 * number, trials=3 if small else 10
                )
                kind = ("clients", "bursts", "compiling")[number % 3]
                with load(server, kind, seed=number):
                    loaded = helm_probe(
                        server, Path(scratch), f"loaded{number}", session=2 * number + 1, trials=3 if small else 10
                    )
                yield {"engine": engine, "pair": number, "load": kind, "quiet": quiet, "loaded": loaded}


def helm_probe(server: Server, folder: Path, suite: str, *, session: int, trials: int) -> dict[str, Any]:
    """A HELM run of a probe and its denoised runtime; the engine's own mean seconds of its requests."""
    home = folder / "prod_env"
    engine_checks.write_deployment(home, server, "completions", model_folder("8M"))
    entry = f"efficiency_probe:trials={trials},session={session},model=local/completions,probe=16+128+512x1+8+32"
    arguments = ["--run-entries", entry, "--suite", suite, "--output-path", str(folder / "out"), "--num-threads", "1"]
    arguments += ["--local-path", str(home), "--max-eval-instances", "1000"]
    before = engine_seconds(server)
    subprocess.run(
        [sys.executable, "-m", "helm.benchmark.run", *arguments],
        capture_output=True,
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        cwd=folder,
    )
    after = engine_seconds(server)
    options = ["--store", str(folder / f"{suite}.sqlite"), "--cache", str(home / "cache"), "--format", "json"]
    found = json.loads(engine_checks.command("denoise", str(folder / "out" / "runs" / suite), *options).stdout)
    count = after.pop("count") - before.pop("count")
    means = {name: (after[name] - before[name]) / count for name in after} if count else {}
    return {"denoised": found, "engine_means_s": means, "engine_requests": count}


def engine_seconds(server: Server) -> dict[str, float]:
    """Sums of vLLM's own seconds by now: queue, prefill, decode; and how many requests."""
    from helm_efficiency.profiling.endpoint.engine_times import read_counters

    with Endpoint(EndpointOptions(server.base_url, server.model)) as endpoint:
        counters = read_counters(endpoint.page("/metrics") or b"")
    sums = {name: counters.get(f"vllm:request_{name}_time_seconds_sum".encode(), 0.0) for name in _PARTS}
    return {**sums, "count": counters.get(b"vllm:request_queue_time_seconds_count", 0.0)}


_PARTS = ("queue", "prefill", "decode")


@contextmanager
def load(server: Server, kind: str, *, seed: int) -> Iterator[None]:
    """Other work while a block runs: 2 to 8 clients in turn, bursts of eight with pauses, or two busy processes."""
    ended = threading.Event()
    if kind == "compiling":
        busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(2)]
        try:
            yield
        finally:
            for process in busy:
                process.kill()
                process.wait()
        return
    thread = threading.Thread(target=_other_clients, args=(server, kind, random.Random(seed), ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _other_clients(server: Server, kind: str, chance: random.Random, ended: threading.Event) -> None:
    maker = PromptMaker()
    with Endpoint(EndpointOptions(server.base_url, server.model)) as endpoint:
        while not ended.is_set():
            clients = 8 if kind == "bursts" else chance.randint(2, 8)
            prompts = [maker.prompt(chance.choice((16, 128, 512))) for _ in range(clients)]
            endpoint.request_all(prompts, chance.choice((8, 32, 64)))
            if kind == "bursts":
                ended.wait(chance.expovariate(1.0))
