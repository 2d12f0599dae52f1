"""Fits and predictions show themselves: on one line, and as a table in notebooks."""

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients

COEFFICIENTS = RuntimeCoefficients(
    PrefillRule.linear, ((1, 0.01), (1000, 0.11)), 0.02, Domain(1, 1000, 1, 64), relative_error=0.1, decode_error=0.05
)


def test_a_fit_shows_itself() -> None:
    fit = Fit("me/<model>", Stack("h100", "h100-sxm", engine="vllm"), COEFFICIENTS, notes=("one note",))
    assert repr(fit) == "<Fit of me/<model> on h100-sxm×1 vllm: measured, 20 ms an output token (± 5 %)>"
    shown = fit._repr_html_()
    assert "me/&lt;model&gt;" in shown
    assert "10 ms of 1 to 110 ms of 1,000 prompt tokens" in shown
    assert shown.endswith("<small>one note</small>")


def test_predictions_show_themselves() -> None:
    one, many = COEFFICIENTS.predict(1000, 2), COEFFICIENTS.predict([1000] * 12, range(1, 13))
    assert repr(one) == "<Prediction: 0.13 s (0.118–0.144)>"
    assert repr(many) == "<Prediction of 12 requests: 0.11 to 0.33 s>"
    assert repr(COEFFICIENTS.predict([], [])) == "<Prediction of 0 requests>"
    assert "<th>Request 1</th><td>0.13 s (0.118–0.144)</td>" in one._repr_html_()
    assert many._repr_html_().count("<tr>") == 10
    assert "outside what was measured" in COEFFICIENTS.predict(2000, 2)._repr_html_()
