"""Coefficients and plans for tests that score archives."""

from pathlib import Path

from helm_efficiency.adapters.sources import HELM, iter_sources
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.rescoring.plan import Plan, make_plan

A100 = Stack("a100", "a100-80gb", 8, engine="megatron", dtype="fp16")
V100 = Stack("v100", "v100-32gb", 8, engine="megatron", dtype="fp16")
SERVICE = Stack("service-groq", "unknown")


def coefficients_of(decode_s: float = 0.02) -> RuntimeCoefficients:
    """Some that are easy to reckon with: 0.1 s a thousand prompt tokens and 0.02 s an output token."""
    domain = Domain(1, 1000, 1, 64)
    return RuntimeCoefficients("linear", ((1, 0.0001), (1000, 0.1)), decode_s, domain, relative_error=0.1)


def some_coefficients() -> Coefficients:
    """For a deployment by its name, another by its model, and a service."""
    return Coefficients.from_fits(
        [
            Fit("groq/llama3-70b-8192", A100, coefficients_of()),
            Fit("openai/gpt2", A100, coefficients_of(0.001)),
            Fit("groq/llama3-70b-8192", V100, coefficients_of(0.05)),
            Fit("groq/llama3-70b-8192", SERVICE, coefficients_of(0.03)),
        ]
    )


def plan_for(output: Path, **options: object) -> Plan:
    """A plan on the A100 stack unless other stacks are named."""
    return make_plan(some_coefficients(), **({"stacks": ["a100"], "output": output} | options))  # type: ignore[arg-type]


def helm_folders(root: Path) -> list[Path]:
    """The folders of HELM runs at or below a folder."""
    return [Path(source.url) for source in iter_sources([str(root)]) if source.harness == HELM]


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder but receipts, whose times differ."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".receipts" not in path.parts
    }
