"""Predicted requests a second, on one core, beside HELM's own function in the same run.

    python benchmarks/predict.py

Predicts a million requests (prompts of 1 to 1,920 tokens, outputs of 1 to 64) with what `fit --rule auto` gives for a
log of the paper, always with intervals, and calls HELM's function as HELM does, once a request. Both read the same
table under the rule `paper-2022`, and must agree.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from _harness import SEED, Benchmark, Options, Results, cpu_seconds, main, table, times

from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.formats.megatron import read_megatron_log

LOG = "megatron_logs/a100/bloom.log"
HELM = "HELM's function"


def measure(options: Options) -> Results:
    """Requests, and CPU seconds a round, by way of predicting them."""
    num_requests, num_helm, rounds = (200_000, 5_000, 2) if options.quick else (1_000_000, 20_000, 7)

    profile = read_megatron_log(options.real_data / LOG, stack_name="a100-80gb-megatron-fp16")
    auto, paper = (fit_profile(profile, rule=rule).coefficients for rule in ("auto", "paper-2022"))
    rng = np.random.default_rng(SEED)
    p, o = rng.integers(1, 1921, num_requests), rng.integers(1, 65, num_requests)
    results: Results = {
        rule: {"requests": num_requests, "cpu_s": cpu_seconds(lambda c=c: c.predict(p, o), rounds=rounds)}
        for rule, c in (("auto", auto), ("paper-2022", paper))
    }
    results[HELM] = _helm(paper, p[:num_helm], o[:num_helm], rounds)
    return results


def _helm(coefficients: RuntimeCoefficients, p: Any, o: Any, rounds: int) -> Results:
    """The same of HELM's function, which must give what our reading of its table gives."""
    from helm.benchmark.metrics.efficiency_metrics import (
        _compute_estimated_time_from_prompt_size_and_num_output_tokens as estimate,
    )

    request = SimpleNamespace(request=SimpleNamespace(model_deployment="x"))
    knots = {str(tokens): seconds for tokens, seconds in coefficients.prefill_knots}
    by_deployment = {
        "x": {"runtime_per_output_token": coefficients.decode_s_per_token, "runtime_for_prompt_tokens": knots}
    }
    pairs = list(zip(p.tolist(), o.tolist(), strict=True))

    def as_helm_does() -> list[float]:
        return [estimate(request, by_deployment, *pair) for pair in pairs]

    np.testing.assert_allclose(coefficients.predict(p, o).seconds, as_helm_does())
    return {"requests": len(pairs), "cpu_s": cpu_seconds(as_helm_does, rounds=rounds)}


def section(results: Results) -> str:
    """What the page says."""
    rates = {name: found["requests"] / min(found["cpu_s"]) for name, found in results.items()}
    rows = [[name, times(rate / rates[HELM]), f"{rate:,.0f}"] for name, rate in rates.items()]
    return (
        "Requests predicted on one core. We give intervals and take whole columns; HELM's function gives none and is "
        "called once a request, as HELM does. Under `paper-2022` both read one table and agree. Best of "
        f"{len(results['auto']['cpu_s'])} rounds.\n\n" + table(["rule", "times HELM's rate", "requests a second"], rows)
    )


BENCHMARK = Benchmark("predict", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
