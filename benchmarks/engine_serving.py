"""What `engines.py` measures of a busy server: predicted from a profile at concurrency 1 and 8, and timed."""

import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import engine_checks
from engine_servers import MAX_BATCH_SIZE, MEASURING, Server, running

from helm_efficiency import Store
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import Load
from helm_efficiency.core.serving.served import Served
from helm_efficiency.core.serving.server import Server as Limits
from helm_efficiency.core.serving.steady_state import capacity, solve
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.prompts import PromptMaker
from helm_efficiency.profiling.endpoint.replies import Reply

PROFILED = ("--prompt-tokens", "32,256,768", "--output-tokens", "1,16,64", "--concurrency", "1,8", "--repetitions", "3")
MIX = ((32, 64), (256, 16), (256, 64), (768, 16))
"""Prompt and output tokens of the requests, in equal shares."""

CLIENTS = (2, 4, 16)
SHARES_OF_CAPACITY = (0.5, 0.75)
ROUNDS = 10
"""Requests of each client; as many come to sixteen clients in a Poisson run."""


def loads(wanted: Sequence[str] | None, *, small: bool) -> Iterator[dict[str, Any]]:
    """Closed loops and Poisson arrivals on each engine, each beside its prediction."""
    rounds = 3 if small else ROUNDS
    for engine in wanted or MEASURING:
        with running(engine, "30M") as server, tempfile.TemporaryDirectory() as scratch:
            steps = profiled(server, Path(scratch) / "s.sqlite")
            lengths = Lengths.of(*zip(*MIX, strict=True))
            limits = Limits(max_batch_size=MAX_BATCH_SIZE, chunk_tokens=2048)
            for clients in CLIENTS:
                predicted = solve(steps, lengths, Load(clients=clients, rounds=rounds), server=limits)
                timed = closed_loop(server, clients, rounds)
                yield {"engine": engine, "load": f"{clients} clients", **ratios(predicted, timed)}
            highest = capacity(steps, lengths, server=limits)
            for share in SHARES_OF_CAPACITY:
                predicted = solve(steps, lengths, Load(requests_per_s=share * highest), server=limits)
                timed = poisson(server, share * highest, 16 * rounds)
                yield {"engine": engine, "load": f"{share:.0%} of capacity", **ratios(predicted, timed)}


def profiled(server: Server, store: Path) -> StepTimes:
    """The times of passes of a server, from a profile at two levels of concurrency."""
    engine_checks.profile(server, store, *PROFILED)
    (fit,) = Store(store).fits()
    return StepTimes.from_coefficients(fit.coefficients)


def closed_loop(server: Server, clients: int, rounds: int) -> dict[str, float]:
    """So many clients, each with its next request as soon as the last is answered."""
    num_requests = clients * rounds
    begun = time.perf_counter()
    replies = answered(server, [0.0] * num_requests, clients=clients)
    tokens = sum(reply.output_tokens for reply in replies)
    return {**means(replies), "output_tokens_per_s": tokens / (time.perf_counter() - begun)}


def poisson(server: Server, requests_per_s: float, num_requests: int) -> dict[str, float]:
    """Requests that arrive at random, whatever is still in flight; the last after exactly the mean time."""
    chance = random.Random(0)
    pauses = [chance.expovariate(1.0) for _ in range(num_requests)]
    scale = num_requests / requests_per_s / sum(pauses)
    return means(answered(server, [pause * scale for pause in pauses], clients=num_requests))


def answered(server: Server, pauses_s: Sequence[float], *, clients: int) -> list[Reply]:
    """Send requests of the mix, each after its pause and not more at a time than there are clients."""
    maker = PromptMaker()
    shapes = [MIX[number % len(MIX)] for number in range(len(pauses_s))]
    random.Random(1).shuffle(shapes)
    with Endpoint(EndpointOptions(server.base_url, server.model)) as endpoint, ThreadPoolExecutor(clients) as pool:
        answers = []
        for pause_s, (prompt_tokens, output_tokens) in zip(pauses_s, shapes, strict=True):
            prompt = maker.prompt(prompt_tokens)
            time.sleep(pause_s)
            answers.append(pool.submit(endpoint.request, prompt, output_tokens))
        return [answer.result() for answer in answers]


def means(replies: Sequence[Reply]) -> dict[str, float]:
    """Means over the requests (s)."""
    decoded = [reply for reply in replies if reply.output_tokens > 1]
    return {
        "ttft_s": statistics.fmean(reply.ttft_s or 0.0 for reply in replies),
        "tpot_s": statistics.fmean((r.seconds - (r.ttft_s or 0.0)) / (r.output_tokens - 1) for r in decoded),
        "request_s": statistics.fmean(reply.seconds for reply in replies),
    }


def ratios(predicted: Served | None, timed: dict[str, float]) -> dict[str, Any]:
    """Predicted and timed means, and one over the other."""
    if predicted is None:
        return {"timed": timed, "predicted": None}
    found = {
        "ttft_s": predicted.ttft_s.mean,
        "tpot_s": predicted.tpot_s.mean,
        "request_s": predicted.request_s.mean,
        "output_tokens_per_s": predicted.output_tok_per_s_per_accelerator,
    }
    over = {name: found[name] / seconds for name, seconds in timed.items()}
    return {"timed": timed, "predicted": found, "predicted_over_timed": over}
