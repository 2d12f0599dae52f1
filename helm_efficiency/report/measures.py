"""The columns of a leaderboard: what each measures, its direction, its unit in print.

Tables hold seconds, dollars and joules for one request; prefixes (dollars for a thousand requests, milliseconds) exist
only in print.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One column.

    Attributes:
        key: Name in tables.
        title: Name in headings.
        unit: Unit in print, after multiplication by `scale`; empty for pure numbers.
        scale: From the unit of the tables to the unit in print.
        higher_is_better: Direction; None where more is neither better nor worse.
        help: One sentence for legends and tooltips.
    """

    key: str
    title: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool | None = False
    help: str = ""

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float | None) -> str:
        """A value in print, with three significant digits; an em dash where there is none.

        >>> MEASURES["idealized_s"].text(0.111619)
        '0.112'
        >>> MEASURES["idealized_usd"].text(0.000127)
        '0.127'
        """
        return number(None if value is None else value * self.scale)


def number(value: float | None) -> str:
    """Three significant digits, without exponents between 0.0001 and a million; an em dash where there is none."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude == 0:
        return "0"
    if not 1e-4 <= magnitude < 1e6:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(magnitude)))
    text = f"{value:.{decimals}f}"
    return f"{round(value):,}" if magnitude >= 1000 else text


_PER_REQUEST = "mean over requests"

_ALL = (
    Measure("score", "Score", higher_is_better=True, help="Main score of the scenario, mean over instances."),
    Measure(
        "win_rate",
        "Win rate",
        higher_is_better=True,
        help="Share of the other models beaten in score, ties counting half; overall the mean over scenarios.",
    ),
    Measure("observed_s", "Observed", "s", help=f"Runtime the harness recorded that day, {_PER_REQUEST}."),
    Measure("denoised_s", "Denoised", "s", help=f"Runtime of this service without contention, {_PER_REQUEST}."),
    Measure("idealized_s", "Idealized", "s", help=f"Runtime on the stated stack, alone, {_PER_REQUEST}."),
    Measure(
        "provider_factor",
        "Provider factor",
        "×",
        higher_is_better=None,
        help="Denoised ÷ idealized: below 1 the provider is faster than the stated stack.",
    ),
    Measure(
        "accelerator_s", "Accelerator time", "s", help=f"Idealized runtime × accelerators occupied, {_PER_REQUEST}."
    ),
    Measure("idealized_usd", "Idealized cost", "$ / 1k requests", 1000, help="Accelerator time × price of the stack."),
    Measure("energy_j", "Energy", "J", help=f"Idealized energy, {_PER_REQUEST}."),
    Measure("api_usd", "API cost", "$ / 1k requests", 1000, help="What the provider billed on the day of the request."),
    Measure("api_usd_today", "API cost today", "$ / 1k requests", 1000, help="The same at today's price."),
    Measure("prompt_tokens", "Prompt tokens", higher_is_better=None, help=f"Tokens fed to prefill, {_PER_REQUEST}."),
    Measure(
        "output_tokens",
        "Output tokens",
        higher_is_better=None,
        help=f"Tokens generated, reasoning included, {_PER_REQUEST}.",
    ),
    Measure("idealized_s_per_correct", "Idealized / correct", "s", help="Idealized seconds for each correct answer."),
    Measure(
        "accelerator_s_per_correct", "Accelerator time / correct", "s", help="Accelerator time for each correct answer."
    ),
    Measure(
        "idealized_usd_per_correct",
        "Idealized cost / correct",
        "$ / 1k correct",
        1000,
        help="Idealized cost of a thousand correct answers.",
    ),
    Measure("energy_j_per_correct", "Energy / correct", "J", help="Idealized energy for each correct answer."),
    Measure(
        "api_usd_per_correct",
        "API cost / correct",
        "$ / 1k correct",
        1000,
        help="API cost of a thousand correct answers.",
    ),
)

MEASURES: dict[str, Measure] = {measure.key: measure for measure in _ALL}

QUANTITIES = (
    "observed_s",
    "denoised_s",
    "idealized_s",
    "accelerator_s",
    "idealized_usd",
    "energy_j",
    "api_usd",
    "api_usd_today",
    "prompt_tokens",
    "output_tokens",
)
"""Columns of the requests table that are averaged over requests."""

PER_CORRECT = ("idealized_s", "accelerator_s", "idealized_usd", "energy_j", "api_usd")
"""Those that are also divided by the number of correct answers."""

COSTS = ("observed_s", "denoised_s", "idealized_s", "accelerator_s", "idealized_usd", "energy_j", "api_usd")
"""Those that make a front against the score."""
