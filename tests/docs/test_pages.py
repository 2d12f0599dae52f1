"""Every page of the documentation: its commands, in order, work and print what it says; its Python runs."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pages
import pytest
import typer.main

from helm_efficiency.cli import app

README = pages.ROOT / "README.md"
SMALL_RUNS = {"harnesses", "rescoring"}
"""Pages whose reader has the three small runs; all others have the fifteen of Llama 3."""
CONFIG = """{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 64,
"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000}"""


def _group() -> click.Group:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return group


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
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {text}: {error.message}")


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_no_command_is_left_untested(page: Path) -> None:
    assert pages.unfenced_commands(page) == []


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_command_stands_in_the_readme_and_has_an_example() -> None:
    text = README.read_text(encoding="utf-8")
    for name, command in _group().commands.items():
        assert f"helm-efficiency {name}" in text or name in {"architecture", "export"}, name
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            found = re.search(r"Example: (helm-efficiency .*)", " ".join((leaf.help or "").split()))
            assert found, f"{name} {leaf.name} has no example"
            pages.check_options(found[1])


def test_every_page_is_in_the_index() -> None:
    index = (pages.ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (pages.ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name}" in index, page.name


@pytest.fixture
def folder(page: Path, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader of a page stands: real logs and runs, and a model of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("megatron_logs", "latency", "helm_runs"):
        Path(name).symlink_to(data_dir / name)
    runs = "small" if page.stem in SMALL_RUNS else "mmlu_llama3"
    shutil.copytree(data_dir / "helm_runs" / runs / "runs" / "v1", Path("benchmark_output", "runs", "v1"))
    Path("logs").mkdir()
    shutil.copy(data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json", "logs")
    Path("prod_env", "cache").mkdir(parents=True)
    with closing(sqlite3.connect(Path("prod_env", "cache", "groq.sqlite"))) as cache:
        cache.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
    Path("my-model").mkdir()
    Path("my-model", "config.json").write_text(CONFIG)
    if page.stem == "profiling":
        _draw_weights(Path("my-model"))
    return tmp_path


def _draw_weights(model: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model)).save_pretrained(model)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_the_page_works(page: Path, folder: Path) -> None:
    pages.run_page(page)
