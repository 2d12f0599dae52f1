"""Every page of the documentation: its commands, in order, work and print what it says; its Python runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from helpers import module_list, pages

from helm_efficiency import store
from helm_efficiency.adapters import every_eval_ever
from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.cli import app
from helm_efficiency.formats import detect as coefficient_files
from helm_efficiency.metrics import table
from helm_efficiency.profiling import checkpoint

README = pages.ROOT / "README.md"
OWN_TESTS = {"tables", "trust"}
"""Pages that are run, and whose figures are checked, in modules of their own."""
OWN_COMMAND_TESTS = {"quickstart", "paper", "doctor", "denoise", "serve", "example"}
"""Commands that no page runs, as they take long or tell of the machine; they have tests of their own."""


def _run_on(page: Path) -> list[str]:
    """All commands that `run_page` runs."""
    console = [b for b in pages.blocks(page) if b.language == "console" and "elsewhere" not in b.words]
    return [command.text for block in console for command in pages.commands(block)]


def _ours(page: Path) -> list[str]:
    """All commands of ours on a page: those of console blocks, and those mentioned in the text."""
    in_blocks = [
        command.text for block in pages.blocks(page) if block.language == "console" for command in pages.commands(block)
    ]
    return [text for text in [*in_blocks, *pages.inline_commands(page)] if text.startswith(pages.OURS)]


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_options_exist(page: Path) -> None:
    for text in _ours(page):
        try:
            pages.check_options(re.split(r" (?:\||>|2>) ", text)[0])
        except (KeyError, pages.USAGE_ERROR) as error:
            pytest.fail(f"{page.name}: {text}: {error}")


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_no_command_is_left_untested(page: Path) -> None:
    assert pages.unfenced_commands(page) == []


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), target
            assert not anchor or anchor in _anchors(path), target


def test_every_command_is_documented_and_run() -> None:
    text = README.read_text(encoding="utf-8")
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        assert f"helm-efficiency {name}" in text or name in {"architecture", "export"}, name
        if name not in OWN_COMMAND_TESTS:
            assert any(f"helm-efficiency {name}" in text for page in pages.PAGES for text in _run_on(page)), name
        leaves = command.commands.values() if hasattr(command, "commands") else [command]
        for leaf in leaves:
            found = re.search(r"Example: (helm-efficiency .*)", " ".join((leaf.help or "").split()))
            assert found, f"{name} {leaf.name} has no example"
            for example in found[1].split(" && "):
                pages.check_options(example)


def test_every_page_is_in_the_index() -> None:
    index = (pages.ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (pages.ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name}" in index, page.name


@pytest.mark.parametrize(
    "page", [page for page in pages.PAGES if page.stem not in OWN_TESTS], ids=lambda page: page.stem
)
def test_the_page_works(page: Path, reader: Callable[[Path], Path]) -> None:
    reader(page)
    pages.run_page(page)


def test_the_list_of_modules_is_current() -> None:
    stale = "docs/modules.md is not what the docstrings say; write it again: python tests/helpers/module_list.py"
    assert module_list.PAGE.read_text(encoding="utf-8") == module_list.page(), stale
    assert all(module_list.purpose(file) for files in module_list.rooms().values() for file in files)


def test_versions_of_formats() -> None:
    text = (pages.ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    assert f"| schema {store.SCHEMA_VERSION};" in text
    assert f"`format_version` {coefficient_files.FORMAT_VERSION} |" in text
    assert f"`helm_efficiency_schema_version` {table.SCHEMA_VERSION}," in text
    assert f"| `records --every-eval-ever` | {every_eval_ever.SCHEMA_VERSION} |" in text
    assert f'`"schema": "{checkpoint.SCHEMA}"` in its first line' in text


def test_counts_of_the_catalog() -> None:
    num_architectures = len(load_architectures().entries)
    accelerators = {accelerator.key: accelerator for accelerator in load_accelerators().values()}
    num_priced = sum(bool(accelerator.prices) for accelerator in accelerators.values())
    models, costs = ((pages.ROOT / "docs" / name).read_text("utf-8") for name in ("runtime-models.md", "costs.md"))
    assert all(f"sizes of {num_architectures} architectures" in text for text in (models, costs))
    assert f"knows {len(accelerators)} accelerators, {num_priced} of them with dated prices" in costs
