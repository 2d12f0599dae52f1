"""Tiers of evidence: the origin of the coefficients behind an idealized number."""

from enum import StrEnum


class Tier(StrEnum):
    """Evidence of an idealized number, strongest first."""

    measured = "measured"
    shared = "shared"
    simulated = "simulated"
    transferred = "transferred"
    roofline = "roofline"
    none = "none"

    @property
    def meaning(self) -> str:
        """Explanation of the tier in one sentence, as reports and docs print it."""
        return _MEANINGS[self]


_MEANINGS = {
    Tier.measured: "this model was profiled on this stack",
    Tier.shared: "a model with the same layers was profiled on this stack; vocabularies may differ by 5%",
    Tier.simulated: "AIConfigurator summed kernel times that others measured on this hardware and engine",
    Tier.transferred: "predicted from the architecture by a model calibrated on this stack's profiles",
    Tier.roofline: "predicted from the architecture and the accelerator's datasheet, without any profile of this stack",
    Tier.none: "there are no coefficients for this model on this stack",
}
