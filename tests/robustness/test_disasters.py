"""Killed at random moments, short of disk, in folders that cannot be written to, or many at once.

HELM_EFFICIENCY_KILLS sets how often each command is killed. Some of the moments are times, which may come when it is
done already; the others are steps of its work, which are the same however busy the machine is.
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import scored_tables as scored
from helpers.odd_places import filled, read_only, small_disk
from helpers.run_commands import call, in_child, refused

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import OutputError, StoreError
from helm_efficiency.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

NUM_KILLS = int(os.environ.get("HELM_EFFICIENCY_KILLS", "2"))
STACK = Stack("a100-80gb-x", "a100-80gb")


def a_profile(deployment: str, num_repetitions: int = 3) -> Profile:
    measured = [
        Measurement(p, o, 0.01 + p * 1e-4 + (o - 1) * 0.02 + repetition * 1e-5)
        for p in (1, 64, 256, 1024)
        for o in (1, 16, 64)
        for repetition in range(num_repetitions)
    ]
    return Profile(deployment, STACK, tuple(measured))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed(work: Callable[[], object], *, within_s: float, chance: random.Random) -> None:
    """Do something in a process of its own and kill it at a random moment."""
    with in_child(work) as process:
        time.sleep(chance.uniform(0, within_s))
        os.kill(process, signal.SIGKILL)


Hook = Callable[[Callable[[int], object]], None]
"""From now on calls something with the number of each step of this process that is about to be taken."""


def on_statements(do: Callable[[int], object]) -> None:
    """Steps are what is given to sqlite."""
    number = itertools.count()

    def look(_frame: object, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__name__", "") in ("execute", "executemany", "connect"):
            do(next(number))

    sys.setprofile(look)


def on_writes(do: Callable[[int], object]) -> None:
    """Steps are what changes a folder, or opens a file or a store to write to it."""
    number = itertools.count()

    def look(event: str, arguments: tuple[object, ...]) -> None:
        opens_to_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if opens_to_write or event in ("os.mkdir", "os.rename", "os.remove", "sqlite3.connect"):
            do(next(number))

    sys.addaudithook(look)  # for good: only in a process of its own


def steps_of(work: Callable[[], object], hook: Hook) -> int:
    """Do something in a process of its own, and count its steps."""
    read, write = os.pipe()

    def counted() -> None:
        hook(lambda number: os.write(write, b"."))
        work()

    with in_child(counted):
        os.close(write)
        with os.fdopen(read, "rb") as steps:
            return len(steps.read())


def killed_at(work: Callable[[], object], step: int, hook: Hook) -> None:
    """Do something in a process of its own that is killed when it is about to take a step."""

    def work_until() -> None:
        hook(lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == step else None)
        work()

    with in_child(work_until):
        pass


def contents(store: Path) -> tuple[list[Profile], list[Fit]]:
    opened = Store(store, create=False)
    return opened.profiles(), opened.fits()


@pytest.mark.parametrize("start", ["new", "old"])
def test_import_and_fit_killed_at_random_moments(tmp_path: Path, start: str) -> None:
    """What was there before stays; all of a command, or nothing, is there after; the next call finishes."""
    files, store, sound = tmp_path / "files.json", tmp_path / "here" / "s.sqlite", tmp_path / "sound.sqlite"
    files.write_text(json.dumps([codec.to_plain(a_profile(f"me/{n}", 10)) for n in range(3)]))
    if start == "old":
        Store(sound).put_all([a_profile("old/one")], ())

    def begin() -> None:
        store.parent.mkdir()
        if start == "old":
            shutil.copy(sound, store)

    commands = [("import", files, "--store", store), ("fit", "--store", store)]
    states: list[tuple[list[Profile], list[Fit]] | None] = [contents(sound) if start == "old" else None]
    begin()
    seconds = []
    num_steps = []
    for command in commands:
        began = time.monotonic()
        num_steps.append(steps_of(partial(call, *command), on_statements))
        seconds.append(time.monotonic() - began)
        states.append(contents(store))
    shutil.rmtree(store.parent)
    chance = random.Random(start)
    num_early = 0
    for kill in range(NUM_KILLS):
        begin()
        for step, command in enumerate(commands):
            work = partial(call, *command)
            if kill % 2:
                killed(work, within_s=1.2 * seconds[step], chance=chance)
            else:
                killed_at(work, int(num_steps[step] * (kill + chance.random()) / NUM_KILLS), on_statements)
            found = contents(store) if store.exists() else None
            empty_store = step == 0 and start == "new" and found == ([], [])
            assert empty_store or found in (states[step], states[step + 1])
            num_early += kill % 2 == 0 and found != states[step + 1]
            assert call(*command).code == 0
            assert contents(store) == states[step + 1]
        left = {path.name.split("-")[0] for path in store.parent.iterdir()}
        assert left <= {store.name, ".store"}, "nothing but what a kill during the making of a store leaves"
        shutil.rmtree(store.parent)
    assert num_early


def on_kept_cells(do: Callable[[int], object]) -> None:
    """Steps are cells that a profile is about to keep."""
    number = itertools.count()

    def look(frame: Any, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_qualname == "Checkpoint.append":
            do(next(number))

    sys.setprofile(look)


def test_profile_killed_at_random_moments(tmp_path: Path) -> None:
    """Each finished cell is kept as it was measured, none is measured twice, and the last call has them all."""
    import torch
    import transformers

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model, store = tmp_path / "model", tmp_path / "s.sqlite"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=32, **sizes)).save_pretrained(model)
    arguments = ["--deployment", "me/tiny", "--store", store, "--prompt-tokens", "4,8,16,32,64,128"]
    arguments += ["--output-tokens", "1,4", "--repetitions", "3", "--device", "cpu"]
    work = partial(call, "profile", model, *arguments)
    chance = random.Random(0)
    kept = b""
    for number in range(NUM_KILLS + 1):
        if number == 0:
            killed_at(work, 2, on_kept_cells)
        elif number < NUM_KILLS:
            killed(work, within_s=0.15, chance=chance)
        else:
            assert work().code == 0
        (cells,) = tmp_path.glob("s.cells/*.jsonl")
        data = cells.read_bytes()
        assert data.startswith(kept)
        kept = data[: data.rfind(b"\n") + 1]
        assert number or len(list(map(json.loads, kept.splitlines()))) == 1 + 2
        if store.exists():
            Store(store, create=False).profiles()
    (profile,) = Store(store).profiles()
    results = [json.loads(line) for line in kept.splitlines()[1:]]
    assert len(results) == 12 == len({tuple(result["cell"]) for result in results})
    seconds = [m["seconds"] for result in results for m in result["measurements"]]
    assert sorted(seconds) == sorted(m.seconds for m in profile.measurements)


@pytest.fixture
def made(tmp_path: Path, data_dir: Path) -> dict[str, Path]:
    """What commands read: a store, files of measurements, scored tables, latencies, a run."""
    files, store = tmp_path / "files.json", tmp_path / "store.sqlite"
    files.write_text(json.dumps([codec.to_plain(a_profile(f"me/{n}", 40)) for n in range(6)]))
    assert call("import", files, "--store", store).code == 0
    folder = scored.write(
        tmp_path / "scored", [scored.request(f"a/{n % 3}", "boolq", n // 3, float(n % 2)) for n in range(30)]
    )
    config = tmp_path / "config.json"
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config.write_text(json.dumps({"model_type": "llama", "vocab_size": 256, **sizes}))
    latencies, run = data_dir / "latency" / "llmperf" / "groq_70b.json", data_dir / "helm_runs" / "small"
    return {"files": files, "store": store, "scored": folder, "config": config, "latencies": latencies, "run": run}


def writing_commands(made: dict[str, Path], place: Path) -> list[tuple[object, ...]]:
    """Every command that writes a file, each into `place`."""
    return [
        ("import", made["files"], "--store", place / "s.sqlite"),
        ("fit", "--store", place / "s.sqlite"),
        ("denoise", made["latencies"], "--store", place / "s.sqlite"),
        ("transfer", "llama-3-8b", "--accelerator", "h100-sxm", "--store", place / "s.sqlite"),
        ("records", made["run"], "--every-eval-ever", place / "every-eval-ever"),
        ("export", "--store", made["store"], "--output", place / "export.json"),
        ("plot", made["scored"], "--output", place / "t.png"),
        ("report", made["scored"], "--output", place / "r.html"),
        ("schema", "lite", "--output", place / "schema.yaml"),
        ("architecture", "add", made["config"], "--name", "x", "--architectures", place / "architectures.yaml"),
    ]


def test_every_writing_command_killed_at_steps_of_its_work(made: dict[str, Path], tmp_path: Path) -> None:
    """Each file and the store are as before or as after, whole; the next call ends as one that nobody killed."""
    place, before = tmp_path / "place", tmp_path / "before"
    place.mkdir()
    chance = random.Random(0)

    def state() -> dict[str, object]:
        found: dict[str, object] = {"": contents(place / "s.sqlite")} if (place / "s.sqlite").exists() else {}
        for name, data in tree(place).items():
            if "every-eval-ever" in name and ".unfinished-" not in name:  # it holds the time at which it was written
                found[name] = len([json.loads(part) for part in (data.splitlines() if "jsonl" in name else [data])])
            elif ".unfinished-" not in name and ".sqlite" not in name:
                found[name] = data
        return found

    for command in writing_commands(made, place):
        work = partial(call, *command)
        shutil.copytree(place, before)
        old = state()
        num_steps = steps_of(work, on_writes)
        new = state()
        assert new != old and num_steps >= 3, command
        for _ in range(max(NUM_KILLS // 4, 1)):
            shutil.rmtree(place)
            shutil.copytree(before, place)
            killed_at(work, chance.choice([num_steps - 1, chance.randrange(num_steps)]), on_writes)
            found = state()
            assert all(found.get(name) in (old.get(name), value, ([], [])) for name, value in new.items()), command
            assert found.keys() <= new.keys(), command
            assert work().code in (0, 1), command
            assert state() == new, command
        shutil.rmtree(before)


def test_full_disks(made: dict[str, Path], tmp_path: Path) -> None:
    """Each command, on disks of several sizes: done, or one line that names the file, and what was there is whole."""
    num_refused = 0
    for kilobytes in (8, 60):
        with small_disk(tmp_path / "full", kilobytes) as full:
            for command in writing_commands(made, full):
                if command[0] == "fit" and not (full / "s.sqlite").exists():
                    continue
                before = tree(full)
                code, stdout, stderr = call(*command)
                if code == 0:
                    continue
                num_refused += 1
                assert (code, stdout) == (2, "")
                assert stderr.startswith("helm-efficiency: ") and stderr.count("\n") == 1 and str(full) in stderr
                after = tree(full)
                assert {name: after[name] for name in before if "sqlite" not in name} == {
                    name: data for name, data in before.items() if "sqlite" not in name
                }
                assert not [name for name in after if ".unfinished" in name or "-journal" in name], after.keys()
                if "s.sqlite" in before:
                    assert contents(full / "s.sqlite")
            for left in full.iterdir():
                left.unlink() if left.is_file() else shutil.rmtree(left)
    assert num_refused >= 5


def test_a_profile_on_a_full_disk(tmp_path: Path) -> None:
    import torch
    import transformers

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=32, **sizes)).save_pretrained(tmp_path / "model")
    arguments = ["--prompt-tokens", "4,8,16", "--output-tokens", "1,4", "--repetitions", "2", "--device", "cpu"]
    with small_disk(tmp_path / "full", 400) as full:
        store = full / "s.sqlite"
        Store(store)
        with filled(full):
            line = refused("profile", tmp_path / "model", "--store", store, *arguments, naming=full)
            assert "No space left" in line or "File too large" in line
            assert contents(store) == ([], [])
        assert call("profile", tmp_path / "model", "--store", store, *arguments).code == 0
        assert len(contents(store)[0]) == 1


def test_read_only_places(made: dict[str, Path], tmp_path: Path) -> None:
    """A store is read; what cannot be written is told in one line."""
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(made["store"], place / "s.sqlite")
    before = tree(place)
    with read_only(place):
        assert call("show", "--store", place / "s.sqlite").code == 0
        assert call("validate", "--store", place / "s.sqlite", "--deployment", "me/1").code == 0
        assert len(contents(place / "s.sqlite")[0]) == 6
        for command in writing_commands(made, place):
            refused(*command, naming=place)
        with pytest.raises(StoreError, match=r"no store can be made there"):
            Store(place / "new.sqlite").put_all([a_profile("x/y")], ())
    assert tree(place) == before


def test_read_only_runs_are_rescored_into_another_folder(data_dir: Path, tmp_path: Path) -> None:
    runs, store = tmp_path / "runs", tmp_path / "s.sqlite"
    shutil.copytree(data_dir / "helm_runs" / "small" / "runs", runs, copy_function=shutil.copyfile)
    Store(store).put_all([a_profile("openai/gpt2")], ())
    assert call("fit", "--store", store).code == 0
    with read_only(runs):
        before = tree(runs)
        code, stdout, stderr = call("rescore", runs, "--store", store, "--output", tmp_path / "out", "--format", "json")
        assert (code, json.loads(stdout)["num_scored"]) == (0, 3), stderr
        assert call("rescore", runs, "--store", store, "--output", tmp_path / "in", "--in-place").code == 2
        refused("rescore", runs, "--store", store, "--output", runs / "out", naming=runs / "out")
        assert tree(runs) == before


@pytest.mark.parametrize("num_processes", [2, 8])
def test_commands_that_write_one_store_at_once(tmp_path: Path, num_processes: int) -> None:
    """Imports and fits of several processes into a store that none of them made before: all there, none twice."""
    store = tmp_path / "s.sqlite"
    names = [f"p{number}/{item}" for number in range(num_processes) for item in range(3)]
    for name in names:
        (tmp_path / f"{name.replace('/', '-')}.json").write_text(json.dumps(codec.to_plain(a_profile(name))))

    def work(number: int) -> None:
        for item in range(3):
            assert call("import", tmp_path / f"p{number}-{item}.json", "--store", store).code == 0
            assert call("fit", "--store", store, "--deployment", f"p{number}/{item}").code == 0

    with contextlib.ExitStack() as stack:
        for number in range(num_processes):
            stack.enter_context(in_child(lambda number=number: work(number)))  # type: ignore[misc]
    profiles, fits = contents(store)
    assert [profile.deployment for profile in profiles] == sorted(names) == [fit.deployment for fit in fits]
    assert all(fit.profile_sha256 == profile.sha256() for fit, profile in zip(fits, profiles, strict=True))
    with contextlib.closing(sqlite3.connect(store)) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT key) FROM profiles").fetchone() == (
            len(names),
            len(names),
        )


def test_a_model_of_the_quickstart_on_a_full_disk(tmp_path: Path) -> None:
    from helm_efficiency.quickstart.dyck_corpus import Example
    from helm_efficiency.quickstart.models import Recipe, make_model

    recipe = Recipe("tiny", num_layers=1, hidden_size=64, num_heads=2, num_steps=1, learning_rate=1e-3, batch_size=2)
    with small_disk(tmp_path / "full", 60) as full:
        with pytest.raises(OutputError, match=r"full/tiny could not be written"):
            make_model(recipe, [Example("( [ ", ") ]")] * 4, full)
        assert tree(full) == {}
