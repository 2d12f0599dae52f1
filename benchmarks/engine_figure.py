"""Draw the engines that `engines.py stacks` compared: python benchmarks/engine_figure.py [FILE.png]."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _harness import RESULTS, ROOT
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

COLORS = {
    "transformers-eager": "#D55E00",
    "transformers-compiled": "#E69F00",
    "vllm": "#0072B2",
    "llama.cpp": "#009E73",
    "llama.cpp-q8_0": "#56B4E9",
}
PANELS = (
    ("prefill_s", "Prefill of {prompt} tokens (s)"),
    ("decode_step_s", "Decode step (s)"),
    ("output_tokens_per_s", "Output tokens per second"),
)


def main() -> None:
    """Write the figure where the gallery is, or to a path."""
    found = json.loads((RESULTS / "engines" / "stacks.json").read_text())
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "plots" / "gallery" / "engines.png"
    draw(found["results"], prompt_tokens=found["results"][0]["prompt_tokens"]).savefig(path, dpi=150)


def draw(results: list[dict[str, Any]], *, prompt_tokens: int) -> Any:
    """A row of panels for each model, a line for each engine, over the requests at a time."""
    mpl.use("Agg")
    models = list(dict.fromkeys(result["model"] for result in results))
    figure, rows = plt.subplots(
        len(models), len(PANELS), figsize=(10, 3 * len(models)), squeeze=False, layout="constrained", sharex=True
    )
    for axes, model in zip(rows, models, strict=True):
        for axis, (measure, title) in zip(axes, PANELS, strict=True):
            for result in (each for each in results if each["model"] == model):
                points = [(load["concurrency"], load[measure]) for load in result["loads"] if load[measure]]
                axis.plot(*zip(*points, strict=True), "o-", color=COLORS[result["engine"]], label=result["engine"])
            axis.set(xscale="log", yscale="log", title=f"{model}: {title.format(prompt=prompt_tokens)}")
            axis.title.set_fontsize(9)
            axis.set_xticks([1, 4, 16], ["1", "4", "16"])
            axis.minorticks_off()
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.grid(alpha=0.3)
    for axis in rows[-1]:
        axis.set_xlabel("Requests at a time")
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=len(COLORS), frameon=False)
    return figure


if __name__ == "__main__":
    main()
