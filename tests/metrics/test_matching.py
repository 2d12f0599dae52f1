"""How deployments find their coefficients: by name, by model, by architecture."""

import pytest

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.metrics.efficiency import Coefficients

COEFFICIENTS = RuntimeCoefficients("linear", ((1, 0.1),), 0.01, Domain(1, 100, 1, 100))


def fit(deployment: str, tier: str = "measured") -> Fit:
    return Fit(deployment, Stack("s", "a100-80gb"), COEFFICIENTS, tier=tier)


STORE = Coefficients.from_fits(
    [fit("meta/llama-3-8b"), fit("mine"), fit("acme/other"), fit("meta/llama-3-70b", "transferred")]
)


@pytest.mark.parametrize(
    ("deployment", "model", "found", "matched_by", "tier"),
    [
        ("mine", "x", "mine", "name", "measured"),
        ("host/x", "acme/other", "acme/other", "model", "measured"),
        ("together/llama-3-8b", "meta/llama-3-8b", "meta/llama-3-8b", "model", "measured"),
        ("together/vicuna", "meta/llama-3.1-8b-instruct", "meta/llama-3-8b", "architecture", "shared"),
        ("groq/llama3-8b-8192", "groq/llama3-8b-8192", "meta/llama-3-8b", "architecture", "shared"),
        ("groq/llama3-70b-8192", "groq/llama3-70b-8192", "meta/llama-3-70b", "architecture", "transferred"),
    ],
)
def test_a_deployment_is_matched(deployment: str, model: str, found: str, matched_by: str, tier: str) -> None:
    match = STORE.match("s", deployment, model)
    assert match is not None
    assert (match.fit.deployment, match.matched_by, match.fit.tier) == (found, matched_by, tier)


def test_nothing_else_is_matched() -> None:
    assert STORE.match("s", "anthropic/claude-3", "anthropic/claude-3") is None
    assert STORE.match("another", "mine", "mine") is None


def test_a_measured_fit_is_shared_before_a_transferred_one() -> None:
    both = Coefficients.from_fits([fit("meta/llama-3-8b"), fit("marin-community/marin-8b-instruct", "transferred")])
    match = both.match("s", "groq/llama3-8b-8192", "groq/llama3-8b-8192")
    assert match is not None
    assert (match.fit.deployment, match.fit.tier) == ("meta/llama-3-8b", "shared")
