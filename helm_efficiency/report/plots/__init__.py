"""Figures: functions that take a table and return the axes they drew on."""

from helm_efficiency.report.plots.style import save
from helm_efficiency.report.plots.tradeoff import tradeoff

__all__ = ["save", "tradeoff"]
