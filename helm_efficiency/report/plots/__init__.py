"""Figures: functions that take a table and return the axes they drew on. Needs the extra `report`."""

from helm_efficiency.report.plots.fit import fit_quality
from helm_efficiency.report.plots.runtimes import contention, providers, stacks
from helm_efficiency.report.plots.style import save, save_and_close, to_bytes
from helm_efficiency.report.plots.tradeoff import tradeoff, tradeoff_by_scenario

__all__ = [
    "contention",
    "fit_quality",
    "providers",
    "save",
    "save_and_close",
    "stacks",
    "to_bytes",
    "tradeoff",
    "tradeoff_by_scenario",
]
