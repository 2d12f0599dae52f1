"""One measure: its name, unit and direction, where its values come from, and how it is printed."""

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from operator import attrgetter
from typing import Any

from helm_efficiency.metrics.quantities import DOLLARS_PER_1K, JOULES, SECONDS, number

EFFICIENCY_GROUP = "efficiency"
DETAILED_GROUP = "efficiency_detailed"
"""HELM's metric groups: the one shown next to scores, and the one shown on request."""


_ADAPTIVE = {"s": SECONDS, "$/1k": DOLLARS_PER_1K, "J": JOULES}


@dataclass(frozen=True, slots=True)
class HelmStat:
    """A HELM stat that carries a measure.

    Attributes:
        name: HELM's own name if HELM has the same stat, else a name that contains the unit.
        display_name: Heading on HELM's pages.
        description: One sentence below the heading.
        short_display_name: Heading of narrow tables; None for the long one.
        group: HELM's metric group.
        factor: Factor from the unit of the tables to the unit of the stat.
        end: End of the interval that the stat carries: `low`, `high`, or empty for the value itself.
    """

    name: str
    display_name: str
    description: str
    short_display_name: str | None = None
    group: str = DETAILED_GROUP
    factor: float = 1.0
    end: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    Attributes:
        key: Name in tables.
        title: Name in headings.
        name: Name in sentences and on axes.
        unit: Unit in print, after multiplication by `scale`; empty for pure numbers.
        scale: Factor from the unit of the tables to the unit in print.
        decimals: Fixed number of decimals in print; None for three significant digits.
        higher_is_better: True if more is better, False if less is, None if neither is.
        source: Attribute of `ScoredRequests` that holds its values, as a dotted path; `record` for a fact of the
            record itself; empty for a measure that single requests do not have.
        has_interval: True if requests have an interval of it: columns `X_low_s` and `X_high_s` next to `X_s`, from
            attributes `low_s` and `high_s` next to the `seconds` that `source` names.
        proportional_to: Key of the measure with an interval that it shares the error of prediction of; empty for none.
        upper_bound: Key of the measure that holds an upper bound of it if only a bound is known; empty for none.
        lower_bound: Key of the measure that holds a lower bound of it if token counts are too low; empty for none.
        is_on_stack: True if it belongs to a stack, and is blank for requests that are not scored on the stack.
        is_as_observed: True if it depends on a provider's day or prices, and so does not compare between providers.
        is_cost: True if less of it trades off against the score: it can be the axis of a Pareto front.
        is_published: True if only published results have it, not scored tables.
        per_correct: Title of its cost of a correct answer; empty for measures without one.
        priority: Order in which a narrow terminal hides it, the highest number first; None if it is shown on request
            only.
        shows_interval: True if tables print its interval when there is room.
        stats: HELM stats that carry it.
    """

    key: str
    title: str
    name: str
    unit: str = ""
    _: KW_ONLY
    scale: float = 1.0
    decimals: int | None = None
    higher_is_better: bool | None = False
    source: str = ""
    has_interval: bool = False
    proportional_to: str = ""
    upper_bound: str = ""
    lower_bound: str = ""
    is_on_stack: bool = False
    is_as_observed: bool = False
    is_cost: bool = False
    is_published: bool = False
    per_correct: str = ""
    priority: int | None = None
    shows_interval: bool = False
    stats: tuple[HelmStat, ...] = ()

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

    @property
    def fitted_to(self) -> str:
        """Key of the measure that this one shares its error of prediction with; empty for none."""
        return self.key if self.has_interval else self.proportional_to

    @property
    def interval_columns(self) -> tuple[str, ...]:
        """Columns of the requests table that hold the ends of its interval; empty for a measure without an interval."""
        stem = self.key.removesuffix("_s")
        return (f"{stem}_low_s", f"{stem}_high_s") if self.has_interval else ()

    def values(self, scored: object, end: str = "") -> Any:
        """Return the measure's values in `ScoredRequests`; with `low` or `high`, that end of its interval."""
        return attrgetter(f"{self.source.rpartition('.')[0]}.{end}_s" if end else self.source)(scored)

    def in_unit_of(self, values: Iterable[float]) -> "Measure":
        """Return the same measure in the unit that suits some values.

        >>> Measure(key="idealized_s", title="Idealized", name="time", unit="s").in_unit_of([0.002, 0.004]).heading
        'Idealized (ms)'
        """
        if self.unit not in _ADAPTIVE:
            return self
        unit, scale = _ADAPTIVE[self.unit].unit(values)
        return replace(self, unit=unit, scale=scale)

    def text(self, value: float) -> str:
        """Return the text of a value in print; an em dash for NaN.

        >>> Measure(key="idealized_usd", title="GPU cost, alone", name="cost", unit="$/1k", scale=1000).text(0.000127)
        '0.127'
        """
        if self.decimals is not None and math.isfinite(value) and abs(value) < 10:
            return f"{value * self.scale:.{self.decimals}f}"
        return number(value * self.scale)
