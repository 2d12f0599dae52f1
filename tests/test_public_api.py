"""The public surface: all of it is written down, documented and typed, and importing it costs nothing."""

import doctest
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import pages
from helpers.odd_places import copy_to_change

import helm_efficiency as he

PAGE = pages.ROOT / "docs" / "python.md"
NAMES = [name for name in he.__all__ if name != "__version__"]
HEAVY = ("helm", "torch", "transformers", "pandas", "pyarrow", "matplotlib", "scipy", "numpy", "yaml", "typer")
SCRIPT = """
import helm_efficiency as he

fit = he.Store("prod_env/efficiency.sqlite").fit("openai/davinci", "a100-80gb-megatron-fp16")
runtime: he.Prediction = fit.coefficients.predict([128, 512], [16, 64])
price = he.prices_as_of(he.load_accelerators())[fit.stack.accelerator]
cost = he.idealized_cost(runtime.seconds, fit.stack.num_accelerators, price.usd_per_accelerator_hour)
board = he.build_leaderboard(he.load_tables("scored"), he.LeaderboardOptions(sort="idealized_s"))
he.plot_tradeoff(board.part()).set_title("mine")
"""
WRONG = """
he.predict_everything
he.Store(7)
runtime.minutes
cost.usd.round(2)
"""


def members(public: Any) -> Iterator[tuple[str, Any]]:
    """A public function, or a public class and its public methods and properties."""
    yield public.__name__, public
    if inspect.isclass(public):
        for name, member in vars(public).items():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if not name.startswith("_") and inspect.isfunction(function):
                yield f"{public.__name__}.{name}", function


def test_names_are_those_of_the_page() -> None:
    listed = re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8").partition("- **Measure and fit**")[2])
    assert sorted(listed) == sorted(NAMES)
    assert len(listed) == len(set(listed))
    assert set(he.__all__) <= set(dir(he))


def test_names_are_imported_when_they_are_used() -> None:
    names = {name: getattr(he, name) for name in NAMES}
    assert {public.__module__.partition(".")[0] for public in names.values()} == {"helm_efficiency"}
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        he.predict  # type: ignore[attr-defined]  # noqa: B018


def test_import_is_light() -> None:
    program = f"import sys, helm_efficiency; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_is_documented_and_typed(name: str) -> None:
    public = inspect.unwrap(getattr(he, name))
    for where, function in members(public):
        assert inspect.getdoc(function), where
        if inspect.isfunction(function):
            parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
            assert typing.get_type_hints(function).keys() >= {*parameters, "return"}, where
    doc = inspect.getdoc(public) or ""
    fields = [field for field in getattr(public, "__annotations__", {}) if not field.startswith("_")]
    if inspect.isclass(public):
        described = re.findall(r"^    (\w+): ", doc.partition("Attributes:\n")[2], re.MULTILINE)
        assert set(fields) <= set(described), name
    else:
        assert ">>> " in doc, f"{name} has no example"
        documented = re.findall(r"^    (\w+): ", doc.partition("Args:\n")[2], re.MULTILINE)
        assert set(inspect.signature(public).parameters) <= set(documented), name
        assert "Returns:\n" in doc or "yield" in inspect.getsource(public), name


@pytest.fixture(scope="module")
def folder(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader of the page stands after its first commands."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "megatron_logs").symlink_to(data_dir / "megatron_logs")
    copy_to_change(data_dir / "helm_runs" / "mmlu_llama3" / "runs", folder / "benchmark_output" / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in pages.commands(pages.blocks(PAGE)[0]):
            assert pages.run(command.text).status == 0, command.text
        yield folder


@pytest.mark.parametrize("name", NAMES)
def test_examples_work(name: str, folder: Path) -> None:
    public = getattr(he, name)
    runner = doctest.DocTestRunner()
    for _, function in members(public):
        for example in doctest.DocTestFinder(recurse=False).find(function, globs=dict(vars(inspect.getmodule(public)))):
            assert runner.run(example).failed == 0


def test_is_typed_for_its_users(tmp_path: Path) -> None:
    """mypy --strict takes the package for an installed one here: it needs py.typed, and looks at nothing else of it.

    It skips what the package imports from others: reading pandas and matplotlib takes it twenty seconds.
    """
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + WRONG)
    first_wrong = SCRIPT.count("\n") + 2
    others = ("pandas", "matplotlib", "pyarrow", "scipy", "msgspec", "fsspec", "yaml", "jinja2", "genai_prices")
    skipped = ",".join(f"mypy-{name}.*" for name in others)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\n[{skipped}]\nfollow_imports = skip\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(pages.ROOT / ".mypy_cache" / "users"), script.name]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(pages.ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert re.findall(r"^script.py:(\d+): error: .*\[(.*)\]$", done.stdout, re.MULTILINE) == [
        (str(first_wrong), "attr-defined"),
        (str(first_wrong + 1), "arg-type"),
        (str(first_wrong + 2), "attr-defined"),
        (str(first_wrong + 3), "union-attr"),
    ], done.stdout + done.stderr
