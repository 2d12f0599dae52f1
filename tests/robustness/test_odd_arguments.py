"""Every option of every command with values that nobody means: done, or one line that says what was expected."""

import inspect
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from helpers import scored_tables as scored
from helpers.odd_places import copy_to_change
from helpers.run_commands import call, little_memory

from helm_efficiency import codec
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store

NUMBERS = ("-1", "0", "1.5", "nan", "-inf", "1e400", str(10**30), "")
COUNTS = (*NUMBERS, ",", "1,-1", "1;2")
DATES = ("", "0000-00-00", "9999-12-31", "0001-01-01", "2026-02-30", "now")
TEXTS = ("", "a\nb\x1b[31m", "x" * 5000)
NUMERIC = (int, float, int | None, float | None, list[int])
COUNT_LISTS = {"prompt_tokens", "output_tokens", "batch_sizes", "concurrency"}
"""Options of `profile` that take several counts in one text."""
NUM_VALUES = int(os.environ.get("HELM_EFFICIENCY_ODD_VALUES", "3"))
"""Values that each option gets; 11 are all there are."""
TOO_SLOW = {"quickstart", "paper", "doctor", "serve"}
"""Commands that take seconds whatever they are given; they have few options, of kinds that others have too."""


def commands() -> Iterator[tuple[str, Any]]:
    """All commands by name, those of groups too."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {part}", each) for part, each in command.commands.items())
        elif name not in TOO_SLOW:
            yield name, command


COMMANDS = dict(commands())


def odd_values(command: Any) -> Iterator[tuple[str, str]]:
    """Yield each option that takes a value with some values of its kind, others for each option in turn."""
    annotations = inspect.signature(command.callback).parameters
    for index, parameter in enumerate(command.params):
        if not parameter.opts[0].startswith("--") or parameter.is_flag:
            continue
        values = TEXTS
        if annotations[parameter.name].annotation.__origin__ in NUMERIC:
            values = NUMBERS
        elif command.name == "profile" and parameter.name in COUNT_LISTS:
            values = COUNTS
        elif parameter.name == "price_date":
            values = DATES
        yield from ((parameter.opts[0], values[(index + step) % len(values)]) for step in range(NUM_VALUES))


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Callable[..., list[str]]:
    """For each command what makes it work, with further or other options."""
    folder = tmp_path_factory.mktemp("odd")
    stack = Stack("a100-80gb-x", "a100-80gb")
    cells = [Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16)]
    profile = Profile("openai/gpt2", stack, tuple(cells))
    store = folder / "s.sqlite"
    Store(store).put_all([profile], [fit_profile(profile)])
    (folder / "profile.json").write_text(json.dumps(codec.to_plain(profile)))
    scored.write(folder / "scored", [scored.request(f"a/{n % 3}", "boolq", n // 3, float(n % 2)) for n in range(9)])
    real = next((data_dir / "helm_runs" / "small").rglob("run_spec.json")).parent
    copy_to_change(real, folder / "v1" / "run")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "llama", "vocab_size": 64, "max_position_embeddings": 64, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    assert (
        call("architecture", "add", folder / "config.json", "--name=x", f"--architectures={folder / 'a.yaml'}").code
        == 0
    )
    of = {"--store": str(store)}
    one = {"--deployment": "openai/gpt2", "--stack": stack.name, "--prompt-tokens": "10", "--output-tokens": "2"} | of
    architectures = {"--architectures": str(folder / "a.yaml")}
    known: dict[str, tuple[list[str], dict[str, str]]] = {
        "import": ([str(folder / "profile.json")], of),
        "export": ([], of),
        "show": ([], of),
        "fit": ([], of),
        "predict": ([], one),
        "validate": ([], of),
        "accelerators": ([], {}),
        "cost": ([], one),
        "savings": ([str(folder / "scored")], of),
        "example": ([], {"--output": str(folder / "example")}),
        "rescore": ([str(folder / "v1")], {"--output": str(folder / "out"), "--jobs": "1"} | of),
        "score": ([str(folder / "v1")], {"--output": str(folder / "all")} | of),
        "estimate": (["llama-3-8b"], {"--on": "h100-sxm", "--input": "100", "--output": "10"} | of),
        "denoise": ([str(folder / "v1")], of),
        "records": ([str(folder / "v1")], {}),
        "leaderboard": ([str(folder / "scored")], {}),
        "plot": ([str(folder / "scored")], {"--output": str(folder / "p.svg")}),
        "schema": ([], {}),
        "report": ([str(folder / "scored")], {"--output": str(folder / "r.html")}),
        "profile": (
            [str(folder / "config.json"), "--random-weights"],
            {"--budget-seconds": "0", "--device": "cpu", "--prompt-tokens": "4", "--output-tokens": "1,2"} | of,
        ),
        "transfer": (["llama-3-8b", "--dry-run"], {"--accelerator": "h100-sxm"} | of | architectures),
        "coverage": ([str(folder / "v1")], of | architectures),
        "architecture list": (["llama-3-8b"], architectures),
        "architecture show": (["llama-3-8b"], architectures),
        "architecture add": ([str(folder / "config.json")], {"--name": "x"} | architectures),
    }

    def build(name: str, **odd: str) -> list[str]:
        positional, options = known[name]
        return [*name.split(), *positional, *(f"{key}={value}" for key, value in (options | odd).items())]

    return build


@pytest.mark.parametrize("name", COMMANDS)
def test_values_that_nobody_means(
    name: str, arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments(name)).code in (0, 1)
    for option, value in odd_values(COMMANDS[name]):
        given = f"{option}={value[:40]!r}"
        with little_memory():
            try:
                code, stdout, stderr = call(*arguments(name, **{option: value}))
            except Exception as error:
                raise AssertionError(f"{given}: {type(error).__name__}: {error}") from error
        assert code in (0, 1, 2), given
        if code == 2:
            *notes, line = stderr.splitlines()
            is_ours = line.startswith("helm-efficiency: ") and len(notes) <= 1
            assert stdout == "" and (is_ours or stderr.startswith("Usage: ")), (given, stderr)
    assert call("show", *arguments("show")[1:]).code == 0, "what was stored can be read"


def test_a_name_that_is_not_utf8_is_refused(arguments: Callable[..., list[str]]) -> None:
    code, stdout, stderr = call(*arguments("import", **{"--deployment": "a\udcffb"}))
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and "is not UTF-8" in stderr, stderr
