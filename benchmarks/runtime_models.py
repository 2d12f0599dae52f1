"""How good fitted runtime models are on what they have not seen, beside HELM's rule, on the paper's logs.

    python benchmarks/runtime_models.py

The three protocols of `helm_efficiency.core.fitting.validation`, as `validate` prints them: each interior prompt length
left out in turn; five prompt lengths known; the longest 45% left out.
"""

from pathlib import Path
from typing import Any

from _harness import Benchmark, Options, Results, main, table, times

from helm_efficiency.core.fitting.validation import validate
from helm_efficiency.core.measurement import Profile
from helm_efficiency.formats.megatron import read_megatron_log

RULES = {"auto": "ours", "helm": "HELM's rule"}
LABELS = {
    "leave-one-knot-out": "a prompt length left out",
    "few-knots": "five prompt lengths known",
    "extrapolation": "longest 45% left out",
}
ERRORS = ("end_to_end_error_fraction", "one_token_error_fraction")


def profiles_of(data: Path, accelerator: str, *, quick: bool = False) -> list[Profile]:
    """The paper's logs of one accelerator, or three of them."""
    logs = sorted((data / "megatron_logs" / accelerator).glob("*.log"))
    return [read_megatron_log(path) for path in (logs[:3] if quick else logs)]


def measure(options: Options) -> Results:
    """A row for each accelerator, protocol, rule and deployment, and the mean over deployments."""
    rows: list[dict[str, Any]] = []
    for accelerator in ("a100", "v100"):
        profiles = profiles_of(options.real_data, accelerator, quick=options.quick)
        for rule in RULES:
            rows += [{"accelerator": accelerator, **score._asdict()} for score in validate(profiles, rule=rule)]
    return {"rows": rows}


def section(results: Results) -> str:
    """What the page says."""
    means = {
        (row["accelerator"], row["protocol"], row["rule"]): row
        for row in results["rows"]
        if row["deployment"] == "mean"
    }
    lines = []
    for accelerator, protocol in dict.fromkeys(key[:2] for key in means):
        ours, helm = (means[accelerator, protocol, rule] for rule in RULES)
        ratios = [times(helm[name] / ours[name]) for name in ERRORS]
        lines.append([accelerator.upper(), LABELS[protocol], *ratios, str(ours["num_requests"])])
    header = ["log", "held out", "HELM's error ÷ ours, end to end", "one token", "requests held out"]
    return (
        "Mean absolute errors over held-out requests and then over models; the errors themselves and the coverage of "
        "intervals: [trust](trust.md#a-measured-model-at-other-lengths). Constants were set while looking at these "
        "logs.\n\n" + table(header, lines)
    )


BENCHMARK = Benchmark("runtime_models", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
