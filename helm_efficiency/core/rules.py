"""The closed choices of fitting and validation: prefill rules and held-out protocols."""

from enum import StrEnum

from helm_efficiency.errors import InputError


class PrefillRule(StrEnum):
    """Rule by which prefill is fitted, and read between measured prompt lengths.

    `auto` lets the data choose among straight lines, tiles and the steps of other models on the stack. `linear` and
    `tile` fix that choice. `parametric` is one smooth curve. `helm`, `paper-2022` and `paper-2023` read a table as HELM
    does: they take the next larger key and scale it by the prompt's share of that key.
    """

    auto = "auto"
    linear = "linear"
    tile = "tile"
    parametric = "parametric"
    helm = "helm"
    paper_2022 = "paper-2022"
    paper_2023 = "paper-2023"

    @classmethod
    def _missing_(cls, value: object) -> "PrefillRule":
        raise InputError(f"No rule {value!r}. Known rules: {', '.join(cls)}.")


HELM_RULES = (PrefillRule.helm, PrefillRule.paper_2022, PrefillRule.paper_2023)
"""Rules with knots that are read as HELM reads its tables."""


class Protocol(StrEnum):
    """Protocol by which a validation holds measurements out of the fit. Each holds out whole prompt lengths."""

    leave_one_knot_out = "leave-one-knot-out"
    few_knots = "few-knots"
    extrapolation = "extrapolation"

    @classmethod
    def _missing_(cls, value: object) -> "Protocol":
        raise InputError(f"No protocol {value!r}. Known protocols: {', '.join(cls)}.")
