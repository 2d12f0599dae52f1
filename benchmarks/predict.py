"""Predicted requests a second, on one core, beside HELM's own function in the same run.

    OMP_NUM_THREADS=1 python benchmarks/predict.py LOG          # LOG: a Megatron log, for coefficients of real size

Predicts a million requests (prompts of 1 to 1,920 tokens, outputs of 1 to 64) with what `fit --rule auto` gives,
always with intervals, and calls HELM's function as HELM does, once a request. The best of several rounds counts.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from helm.benchmark.metrics.efficiency_metrics import _compute_estimated_time_from_prompt_size_and_num_output_tokens

from helm_efficiency.core.fitting import fit_profile
from helm_efficiency.profiling.megatron_logs import read_megatron_log

NUM_REQUESTS = 1_000_000
NUM_HELM_REQUESTS = 20_000
ROUNDS = 7


def best_seconds(function: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    profile = read_megatron_log(parser.parse_args().log, stack_name="a100-80gb-megatron-fp16")
    coefficients = fit_profile(profile).coefficients
    table = fit_profile(profile, rule="paper-2022").coefficients

    rng = np.random.default_rng(0)
    prompts = rng.integers(1, 1921, NUM_REQUESTS)
    outputs = rng.integers(1, 65, NUM_REQUESTS)
    rates = {
        name: NUM_REQUESTS / best_seconds(lambda c=c: c.predict(prompts, outputs))
        for name, c in (("auto", coefficients), ("paper-2022", table))
    }

    request = SimpleNamespace(request=SimpleNamespace(model_deployment="x"))
    helm_table = {
        "x": {
            "runtime_per_output_token": table.decode_s_per_token,
            "runtime_for_prompt_tokens": {str(p): seconds for p, seconds in table.prefill_knots},
        }
    }
    pairs = list(zip(prompts[:NUM_HELM_REQUESTS].tolist(), outputs[:NUM_HELM_REQUESTS].tolist(), strict=True))

    def as_helm_does() -> list[float]:
        return [
            _compute_estimated_time_from_prompt_size_and_num_output_tokens(request, helm_table, p, o) for p, o in pairs
        ]

    helm_rate = NUM_HELM_REQUESTS / best_seconds(as_helm_does)
    np.testing.assert_allclose(table.predict(*np.array(pairs).T).seconds, as_helm_does())
    for name, rate in rates.items():
        print(json.dumps({"rule": name, "requests_per_s": round(rate), "times_helm": round(rate / helm_rate, 1)}))
    print(json.dumps({"rule": "HELM's function", "requests_per_s": round(helm_rate), "times_helm": 1.0}))


if __name__ == "__main__":
    main()
