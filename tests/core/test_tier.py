"""Tiers of evidence and the closed choices of fitting: in the store, in documents and in reports."""

import pytest
from helpers.pages import ROOT

from helm_efficiency.codec import from_plain, to_plain
from helm_efficiency.core.fitting.fit import Fit, fit_profile
from helm_efficiency.core.fitting.validation import validate
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import InputError
from helm_efficiency.report.html import METHOD


def a_fit() -> Fit:
    cells = [(1, 1), (1, 65), (512, 1), (512, 65), (1024, 1), (1024, 65)]
    timed = tuple(Measurement(p, o, seconds=0.01 + 1e-4 * p + 0.02 * (o - 1)) for p, o in cells)
    return fit_profile(Profile("me/model", Stack("s", "a100-80gb"), timed), rule="linear")


def test_strongest_evidence_comes_first() -> None:
    assert list(Tier) == ["measured", "shared", "simulated", "transferred", "roofline", "none"]


def test_reports_and_docs_explain_every_tier() -> None:
    page = (ROOT / "docs" / "runtime-models.md").read_text(encoding="utf-8")
    rows = [f"| `{tier}` | {tier.meaning} |" for tier in Tier]
    assert "\n".join(rows) in page
    assert dict(METHOD)["Evidence"] == " ".join(f"{tier}: {tier.meaning}." for tier in Tier)


def test_stored_fit_keeps_tier_and_rule() -> None:
    stored = to_plain(a_fit())
    assert (stored["tier"], stored["coefficients"]["rule"]) == ("measured", "linear")
    read = from_plain(stored | {"tier": "simulated"}, Fit)
    assert (read.tier, read.coefficients.rule) == (Tier.simulated, PrefillRule.linear)
    assert from_plain(stored, Fit) == a_fit()


def test_stored_fit_of_unknown_tier_is_refused() -> None:
    stored = to_plain(a_fit())
    with pytest.raises(InputError, match=r"'guessed'.*tier"):
        from_plain(stored | {"tier": "guessed"}, Fit)
    with pytest.raises(InputError, match="'cubic'"):
        from_plain(stored | {"coefficients": stored["coefficients"] | {"rule": "cubic"}}, Fit)


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(InputError, match=r"No protocol 'half'\. Known protocols: leave-one-knot-out, few-knots"):
        validate([], protocols=["half"])
