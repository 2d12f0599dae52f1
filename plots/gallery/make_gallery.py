"""Make the figures of the gallery and the pictures of the documentation anew: make gallery.

Takes a few minutes. Wants the public runs and logs (HELM_EFFICIENCY_DATA), crfm-helm and Chromium, for the two
pictures of pages. Everything is drawn by commands that any reader has; only `own_or_api` and `loads` are drawn here.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

import helm_efficiency as he
from helm_efficiency.report.plots.style import COLOURS, INK, MARKERS, MUTED, caption, heading, plain_ticks, style

ROOT = Path(__file__).parents[2]
GALLERY, IMAGES = ROOT / "plots" / "gallery", ROOT / "docs" / "images"
ACCELERATORS = ("h100-sxm", "b200")
MODELS = (
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen3-32B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V3",
)
PROMPT_TOKENS, OUTPUT_TOKENS = 1000, 300
CONCURRENCIES = (1, 4, 16, 64, 256)
NAMES = {"h100-sxm": "H100", "b200": "B200"}


def command(*arguments: object) -> str:
    """Run one command of this package and return what it prints."""
    words = [sys.executable, "-m", "helm_efficiency", *map(str, arguments)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def main() -> None:
    data = Path(os.environ["HELM_EFFICIENCY_DATA"])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        scored = {}
        for accelerator in ACCELERATORS:
            scored[accelerator] = work / accelerator
            runs = data / "helm_runs" / "mmlu_llama3" / "runs" / "v1"
            command("rescore", runs, "--on", accelerator, "--output", scored[accelerator])
            for load, measure in (("alone", "idealized_usd"), ("at_load", "loaded_usd")):
                path = GALLERY / f"llama3_{load}_{accelerator}.png"
                command("plot", scored[accelerator], "--x", measure, "--log-x", "--output", path)
        own_or_api(scored, GALLERY / "llama3_own_or_api.png")
        loads(MODELS, GALLERY / "loads.png")
        command("plot", scored["h100-sxm"], "--kind", "providers", "--output", GALLERY / "providers_llama3.png")
        store = work / "store.sqlite"
        command("import", *sorted((data / "megatron_logs" / "a100").glob("*.log")), "--store", store)
        command("fit", "--store", store)
        fit = ("--kind", "fit", "--deployment", "openai/davinci", "--output", GALLERY / "fit_davinci_a100.png")
        command("plot", store, *fit)
        command("paper", "--output", GALLERY)
        pictures(scored["h100-sxm"], work)


def own_or_api(scored: dict[str, Path], path: Path) -> None:
    """Draw what a thousand requests cost on own accelerators, alone and at load, beside the price of the API."""
    boards = {name: he.build_leaderboard(he.load_tables(folder)).part() for name, folder in scored.items()}
    first = next(iter(boards.values()))
    names = list(first[first["api_usd"].notna()].sort_values("api_usd")["deployment"])
    with style():
        figure, axes = plt.subplots(figsize=(8.4, 1.6 + 0.55 * len(names)))
        for at, (accelerator, part) in enumerate(boards.items()):
            rows = part.set_index("deployment").loc[names]
            for measure, fill, load in (
                ("idealized_usd", "white", "one at a time"),
                ("loaded_usd", COLOURS[at], "at load"),
            ):
                label = f"own {NAMES[accelerator]}, {load}"
                _points(
                    axes,
                    rows,
                    measure,
                    at - 0.5,
                    {"marker": MARKERS[at], "mec": COLOURS[at], "mfc": fill, "label": label},
                )
        prices = first.set_index("deployment").loc[names, "api_usd"] * 1000
        axes.plot(prices, range(len(names)), "|", ms=18, mew=2.4, color=INK, label="API")
        axes.set(xscale="log", xlabel="$ per 1,000 requests (prompts of about 460 tokens, answers of 1 to 20)")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        plain_ticks(axes.xaxis, few=False)
        handles, _ = axes.get_legend_handles_labels()
        heading(figure, "Own accelerators or an API: Llama 3 on MMLU, May 2024", handles)
        caption(
            figure,
            "Bars: 90 % intervals of own accelerators. At load: the most requests that keep the usual service "
            "level, on an accelerator that is busy all day. API: list price on the day of the requests, or "
            "today's where none of that day is known.",
        )
        he.save_figure(figure, path)
        plt.close(figure)


def _points(axes: Any, rows: pd.DataFrame, measure: str, shift: float, look: dict[str, Any]) -> None:
    values = rows[measure] * 1000
    ends = (values - rows[f"{measure}_low"] * 1000, rows[f"{measure}_high"] * 1000 - values)
    places = [at + 0.3 * shift for at in range(len(rows))]
    axes.errorbar(values, places, xerr=ends, ls="none", ms=7, ecolor="#C4C4C4", elinewidth=1, **look)


def loads(models: Sequence[str], path: Path) -> None:
    """Draw dollars for a million tokens against the pace of each user, from 1 user to 256, beside the cheapest API."""
    with style():
        figure, grid = plt.subplots(2, 2, figsize=(10, 7.4), squeeze=False)
        for axes, model in zip(grid.flat, models, strict=True):
            on = [option for accelerator in ACCELERATORS for option in ("--on", accelerator)]
            lengths = ("--input", PROMPT_TOKENS, "--output", OUTPUT_TOKENS)
            clients = ("--concurrency", ",".join(map(str, CONCURRENCIES)))
            rows = pd.DataFrame(json.loads(command("estimate", model, *on, *lengths, *clients, "--format", "json")))
            _curves(axes, rows)
            own = rows[rows["stack"].notna()].drop_duplicates("accelerator")
            counts = [
                f"{n:.0f}×{NAMES[key]}" for n, key in zip(own["num_accelerators"], own["accelerator"], strict=True)
            ]
            axes.set_title(f"{model.partition('/')[2]}: {' or '.join(counts)}", fontsize=10)
        figure.supxlabel("")
        for axes in grid[1]:
            axes.set_xlabel("Output tokens a second of each user, more is better")
        for axes in grid[:, 0]:
            axes.set_ylabel("$ per 1M tokens, less is better")
        handles, _ = grid[0, 0].get_legend_handles_labels()
        heading(figure, "Models of today on H100 and B200, from one user to 256 at a time", handles)
        caption(
            figure,
            f"Requests of {PROMPT_TOKENS:,} prompt and {OUTPUT_TOKENS} output tokens; vLLM, checkpoint precision, the "
            "fewest accelerators that hold the model. Numbers: requests in flight. Bands: 90 % intervals of dollars. "
            "Evidence: simulated from kernels timed on that hardware, or as written. Line: cheapest API price today.",
        )
        he.save_figure(figure, path)
        plt.close(figure)


_SMALL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5}


def _curves(axes: Any, rows: pd.DataFrame) -> None:
    for at, (_, own) in enumerate(rows[rows["stack"].notna()].groupby("accelerator", sort=False)):
        pace, usd = 1 / own["tpot_s"], own["usd_per_1m_tokens"]
        name = NAMES[own["accelerator"].iloc[0]]
        axes.plot(pace, usd, color=COLOURS[at], marker=MARKERS[at], ms=6, mfc="white", label=f"own {name}")
        ends = own["usd_per_1m_tokens_low"], own["usd_per_1m_tokens_high"]
        axes.fill_between(pace, *ends, color=COLOURS[at], alpha=0.12, lw=0)
        tier = own["tier"].iloc[0]
        axes.annotate("" if tier == "simulated" else tier, (pace.iloc[0], usd.iloc[0]), (-4, 6), **_SMALL, ha="right")
        named = own[own["usd_per_1m_tokens"].pct_change().abs().fillna(1) > 0.03]  # a full server takes no more
        for clients, x, y in zip(named["concurrency"], 1 / named["tpot_s"], named["usd_per_1m_tokens"], strict=True):
            axes.annotate(f"{clients:.0f}", (x, y), (5, 4), **_SMALL, color=COLOURS[at])
    axes.set(yscale="log")
    plain_ticks(axes.yaxis, few=True)
    offers = rows[rows["stack"].isna()]
    if len(offers):
        cheapest = offers.loc[offers["usd_per_1m_tokens"].idxmin()]
        axes.axhline(cheapest["usd_per_1m_tokens"], color=INK, lw=1, ls="--", label="cheapest API")
        place = (1, cheapest["usd_per_1m_tokens"])
        axes.annotate(
            cheapest["api"],
            place,
            (-3, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=MUTED,
        )


def pictures(scored: Path, work: Path) -> None:
    """Take the pictures of the HTML report and of helm-server."""
    browser = shutil.which("chromium")
    if browser is None:
        return
    page = work / "report.html"
    command("report", scored, "--output", page)
    screenshot(browser, page.as_uri(), IMAGES / "report.png", size=(1280, 1500))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "helm_efficiency", "serve", str(scored), "--port", str(port)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if line.startswith("http://"):
                    break
            screenshot(browser, f"http://localhost:{port}/#/groups/mmlu", IMAGES / "helm_server.png", size=(1600, 720))
        finally:
            server.send_signal(2)


def screenshot(browser: str, url: str, path: Path, *, size: tuple[int, int]) -> None:
    """Take a picture of a page."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=15000"]
    flags += [f"--window-size={size[0]},{size[1]}", f"--screenshot={path}"]
    subprocess.run([browser, *flags, url], check=True, capture_output=True)


if __name__ == "__main__":
    main()
