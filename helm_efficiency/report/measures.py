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
        name: Name in sentences and on axes.
        unit: Unit in print, after multiplication by `scale`; empty for pure numbers.
        scale: From the unit of the tables to the unit in print.
        decimals: Fixed number of decimals in print; None for three significant digits.
        higher_is_better: Direction; None where more is neither better nor worse.
    """

    key: str
    title: str
    name: str
    unit: str = ""
    scale: float = 1.0
    decimals: int | None = None
    higher_is_better: bool | None = False

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def axis_label(self) -> str:
        """Name with unit, spelled out."""
        unit = {"$/1k": "$ per 1,000 " + ("answers" if "correct" in self.key else "requests")}.get(self.unit, self.unit)
        name = self.name[0].upper() + self.name[1:]
        return f"{name} ({unit})" if unit else name

    def text(self, value: float) -> str:
        """A value in print; an em dash for NaN.

        >>> MEASURES["idealized_s"].text(0.111619)
        '0.112'
        >>> MEASURES["idealized_usd"].text(0.000127)
        '0.127'
        """
        if self.decimals is not None and math.isfinite(value) and abs(value) < 10:
            return f"{value * self.scale:.{self.decimals}f}"
        return number(value * self.scale)


def number(value: float) -> str:
    """Three significant digits, without exponents between 0.0001 and a million; an em dash where there is none."""
    if math.isnan(value):
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


_ALL = (
    Measure("score", "Score", "score", decimals=3, higher_is_better=True),
    Measure("win_rate", "Win rate", "mean win rate", decimals=3, higher_is_better=True),
    Measure("observed_s", "Observed", "observed runtime", "s"),
    Measure("denoised_s", "Denoised", "denoised runtime", "s"),
    Measure("idealized_s", "Idealized", "idealized runtime", "s"),
    Measure("provider_factor", "Provider factor", "denoised ÷ idealized runtime", "×", higher_is_better=None),
    Measure("accelerator_s", "Accelerator time", "idealized accelerator time", "s"),
    Measure("idealized_usd", "Cost", "idealized cost", "$/1k", 1000),
    Measure("energy_j", "Energy", "idealized energy", "J"),
    Measure("api_usd", "API cost", "API cost on the day", "$/1k", 1000),
    Measure("api_usd_today", "API cost today", "API cost at today's price", "$/1k", 1000),
    Measure("flops", "FLOPs", "FLOPs", "TFLOP", 1e-12),
    Measure("parameters", "Parameters", "parameters", "B", 1e-9),
    Measure("prompt_tokens", "Prompt tokens", "prompt tokens", higher_is_better=None),
    Measure("output_tokens", "Output tokens", "output tokens", higher_is_better=None),
    Measure("idealized_s_per_correct", "Time/correct", "idealized time per correct answer", "s"),
    Measure("accelerator_s_per_correct", "Acc. time/correct", "accelerator time per correct answer", "s"),
    Measure("idealized_usd_per_correct", "Cost/correct", "idealized cost per correct answer", "$/1k", 1000),
    Measure("energy_j_per_correct", "Energy/correct", "idealized energy per correct answer", "J"),
    Measure("api_usd_per_correct", "API cost/correct", "API cost per correct answer", "$/1k", 1000),
)

MEASURES: dict[str, Measure] = {measure.key: measure for measure in _ALL}

ESTIMATED = tuple(name for name in MEASURES if name not in ("flops", "parameters"))
"""Those that scored tables give; the others are known of published results only."""

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

COSTS = (
    "observed_s",
    "denoised_s",
    "idealized_s",
    "accelerator_s",
    "idealized_usd",
    "energy_j",
    "api_usd",
    "flops",
    "parameters",
)
"""Those that make a front against the score."""
