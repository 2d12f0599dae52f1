"""Names that would steer a terminal, turn what follows or be taken for markup, through everything that shows names."""

import csv
import io
import json
from pathlib import Path

import pytest
from helpers import scored_tables as scored
from helpers.odd_places import copy_to_change
from helpers.run_commands import call

from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store

HOSTILE = (
    "\x1b]52;c;ZXZpbA==\x07"  # writes into the clipboard
    "\x1b[2J\x1b[H\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\"  # clears the screen; a link
    "\x9b2J\x9d52;c;x\x9c\x90"  # the same in single characters
    "\u202eevil\u2066\u2069\u200f\u061c"  # directions
    "a\x00b\x7f\ufeff\u200b\u00ad\U000e0041"
    "a\nb\rc\u2028d\x85e\x0bf\tg"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scored tables whose every name is hostile."""
    name = HOSTILE
    facts = {"suite": f"v{name}", "stack": f"s{name}", "stack_detail": f"d{name}", "model": f"m{name}"}
    rows = [
        scored.request(f"host{name}/{which}", f"{scenario}{name}", n, float(n % 2), **facts)
        for which in "ab"
        for scenario in ("one", "two")
        for n in range(4)
    ]
    rows += [scored.request(f"c{name}", f"one{name}", n, None, success=False, **facts) for n in range(2)]
    second = [row | {"stack": f"other{name}", "idealized_s": 2.0} for row in rows]
    return scored.write(tmp_path / "scored", rows + second)


def require_printable(text: str) -> None:
    """Check that text has nothing but printable characters, spaces that do not break and ends of lines."""
    odd = sorted({character for character in text if not character.isprintable() and character not in "\n\xa0"})
    assert not odd, [hex(ord(character)) for character in odd]


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "csv", "json"])
def test_leaderboards_steer_no_terminal(folder: Path, format: str) -> None:
    plot = ["--plot"] if format == "table" else []
    code, stdout, stderr = call("leaderboard", folder, "--each", "--available", "--format", format, *plot)
    assert code == 0, stderr
    require_printable(stdout)
    require_printable(stderr)
    if format == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(stdout))}) == 1


def test_json_keeps_names_as_they_are(folder: Path) -> None:
    code, stdout, _ = call("leaderboard", folder, "--available", "--format", "json")
    deployments = {row["deployment"] for row in json.loads(stdout)}
    assert code == 0 and any(deployment.endswith("/a") and not deployment.isprintable() for deployment in deployments)


def test_pages_and_figures_steer_nothing(folder: Path, tmp_path: Path) -> None:
    page, figure = tmp_path / "r.html", tmp_path / "t.svg"
    assert call("report", folder, "--output", page).code == 0
    require_printable(page.read_text(encoding="utf-8"))
    for kind in ("tradeoff", "providers", "stacks", "contention"):
        code, stdout, stderr = call("plot", folder, "--kind", kind, "--output", figure, "--available")
        assert code in (0, 2), stderr
        require_printable(stdout + stderr)
        if code == 0:
            require_printable(figure.read_text(encoding="utf-8"))


@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_records_and_predictions_steer_no_terminal(data_dir: Path, tmp_path: Path, format: str) -> None:
    """A run, a price and its source, each with hostile names."""
    real = next((data_dir / "helm_runs" / "small").rglob("run_spec.json")).parent
    run = copy_to_change(real, tmp_path / "v1" / "run")
    spec = json.loads((run / "run_spec.json").read_bytes())
    spec["adapter_spec"] |= {"model": f"m{HOSTILE}", "model_deployment": f"d{HOSTILE}"}
    (run / "run_spec.json").write_text(json.dumps(spec | {"name": f"r:x={HOSTILE}"}))
    prices, store = tmp_path / "p.yaml", tmp_path / "s.sqlite"
    prices.write_text(json.dumps({"prices": [PRICE | {"source": f"an invoice {HOSTILE}"}]}))
    measured = tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16))
    profile = Profile(f"me/{HOSTILE}", Stack("a100-80gb-x", "a100-80gb"), measured)
    Store(store).put_all([profile], [fit_profile(profile)])
    predicted = ("--deployment", profile.deployment, "--prompt-tokens", 10, "--output-tokens", 2, "--prices", prices)
    for command in (
        ("records", run.parent),
        ("show", "--store", store),
        ("predict", "--store", store, *predicted),
        ("rescore", run.parent, "--store", store, "--output", tmp_path / "out", "--jobs", 1, "--force", "--explain"),
    ):
        code, stdout, stderr = call(*command, "--format", format)
        assert code in (0, 1), stderr
        require_printable(stdout)
        require_printable(stderr)


PRICE = {"accelerator": "a100-80gb", "usd_per_accelerator_hour": 1.1, "date": "2026-06-30"}

FORMULAS = ["=cmd|'/C calc'!A0", "+1", "-1+1", "@cf/meta/llama-2-7b"]


def test_csv_keeps_cells_that_look_like_formulas(tmp_path: Path) -> None:
    """They are data for programs, as in every CSV of pandas or sqlite: a name that is changed is another name."""
    rows = [scored.request(name, "boolq", n, 1.0, model=name) for name in FORMULAS for n in range(3)]
    folder = scored.write(tmp_path / "scored", rows)
    _, stdout, _ = call("leaderboard", folder, "--format", "csv")
    assert {row["deployment"] for row in csv.DictReader(io.StringIO(stdout))} == set(FORMULAS)
