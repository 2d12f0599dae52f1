"""Draw figures: each function takes a table and returns the axes it drew on. The extra `report` is needed."""

from helm_efficiency.report.plots.fit import fit_quality
from helm_efficiency.report.plots.runtimes import contention, providers, stacks
from helm_efficiency.report.plots.style import Look, save, save_and_close, save_pages, to_bytes
from helm_efficiency.report.plots.tradeoff import most_different, tradeoff, tradeoff_pages

__all__ = [
    "Look",
    "contention",
    "fit_quality",
    "most_different",
    "providers",
    "save",
    "save_and_close",
    "save_pages",
    "stacks",
    "to_bytes",
    "tradeoff",
    "tradeoff_pages",
]
