"""The HELM plugin under its former name; it is `helm_efficiency.helm_plugin.plugin` now."""

from helm_efficiency.helm_plugin.plugin import EfficiencyMetric, EfficiencyRunner

__all__ = ["EfficiencyMetric", "EfficiencyRunner"]
