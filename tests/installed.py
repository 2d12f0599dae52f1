"""Whether an installed package works without its checkout: run by the Python of an environment that has it.

    cd ELSEWHERE && ENVIRONMENT/bin/python -I .../tests/installed.py [--full]

Uses no module but Python's own, and the commands that the package and HELM installed. Without --full: the command
line, catalog and templates, the HELM plugin's entry point and the run entries. With it also `helm-run` with our runner
and our run expander, re-scoring of what it wrote, and the main job. --light: that the base install scores and estimates
without torch and HELM and names what is missing. --extra NAME: that an extra brings what it is for.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent
STACK = "a100-80gb-test-fp16"
MEASUREMENTS = "prompt_tokens,output_tokens,batch_size,seconds\n1,1,1,0.1\n64,1,1,0.2\n64,16,1,0.4\n256,1,1,0.5\n"
RUNNER = "helm_efficiency.helm_plugin.plugin.EfficiencyRunner"


def call(folder: Path, program: str, *arguments: str) -> str:
    """What an installed command prints."""
    done = subprocess.run([BIN / program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{program} {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def check_package(folder: Path) -> None:
    """Code, plugin and run entries are those of the environment."""
    import helm_efficiency
    from helm_efficiency.quickstart.pipeline import run_entries_file

    for path in (helm_efficiency.__file__, run_entries_file()):
        assert Path(path).is_relative_to(sys.prefix), f"{path} is not below {sys.prefix}"
    version = call(folder, "helm-efficiency", "--version")
    assert version == f"helm-efficiency {importlib.metadata.version('helm-efficiency')}\n"
    (plugin,) = importlib.metadata.entry_points(group="helm", name="helm_efficiency")
    assert Path(plugin.load().__file__).is_relative_to(sys.prefix)


def check_data(folder: Path) -> None:
    """Catalog, published results and report templates are there."""
    accelerators = json.loads(call(folder, "helm-efficiency", "accelerators", "--format", "json"))
    architectures = json.loads(call(folder, "helm-efficiency", "architecture", "list", "--format", "json"))
    assert len(accelerators) > 10
    assert len(architectures) > 50
    call(folder, "helm-efficiency", "report", "--paper", "--output", "paper.html")
    assert "BLOOM" in (folder / "paper.html").read_text(encoding="utf-8")


_HEAVY = ("torch", "transformers", "helm", "httpx")
_NEEDS = {
    "helm": ("schema", "lite"),
    "profile": ("profile", "config.json", "--random-weights"),
    "cluster": ("rescore", "example/runs", "--output", "other", "--scheduler", "tcp://127.0.0.1:1"),
}
"""A command that needs an extra."""


def check_light(folder: Path) -> None:
    """The base install works without torch and HELM, and names a missing extra in one line."""
    for name in _HEAVY:
        assert importlib.util.find_spec(name) is None, f"{name} is installed"
    check_data(folder)
    call(folder, "helm-efficiency", "estimate", "llama-3.1-8b", "--on", "h100-sxm")
    call(folder, "helm-efficiency", "coverage", "--store", _store(folder))
    call(folder, "helm-efficiency", "example")
    assert "Llama 3 Instruct 70B" in call(folder, "helm-efficiency", "score", "example/runs")
    assert "Pareto front" in call(folder, "helm-efficiency", "leaderboard", "scored", "--plot")
    call(folder, "helm-efficiency", "report", "scored", "--output", "report.html")
    for extra, arguments in _NEEDS.items():
        done = subprocess.run([BIN / "helm-efficiency", *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 2, done
        assert f"pip install 'helm-efficiency[{extra}]'" in done.stderr, done
        assert len(done.stderr.splitlines()) == 1, done


def _store(folder: Path) -> str:
    (folder / "measured.csv").write_text(MEASUREMENTS)
    call(
        folder, "helm-efficiency", "import", "measured.csv", "--deployment", "a/b", "--stack", STACK, "--store", "s.db"
    )
    call(folder, "helm-efficiency", "fit", "--store", "s.db")
    return "s.db"


_BRINGS = {
    "stacks": "aiconfigurator_core",
    "cluster": "distributed",
    "energy": "pynvml",
    "helm": "helm",
    "profile": "torch",
}


def check_extra(folder: Path, extra: str) -> None:
    """An extra brings what it is for, and the base still works beside it."""
    assert importlib.util.find_spec(_BRINGS[extra]) is not None, extra
    call(folder, "helm-efficiency", "estimate", "llama-3.1-8b", "--on", "h100-sxm")
    if extra == "helm":
        call(folder, "helm-efficiency", "schema", "lite", "--output", "schema.yaml")


def check_helm(folder: Path) -> None:
    """`helm-run` finds the plugin by itself, and what it writes can be scored again."""
    (folder / "measured.csv").write_text(MEASUREMENTS)
    call(folder, "helm-efficiency", "import", "measured.csv", "--deployment", "simple/model1", "--stack", STACK)
    call(folder, "helm-efficiency", "fit")
    common = ("--max-eval-instances", "2", "--num-threads", "1", "--suite")
    entry = "simple1:model=simple/model1"
    call(folder, "helm-run", "--run-entries", f"{entry},efficiency={STACK}", *common, "expander")
    call(folder, "helm-run", "--run-entries", entry, "--runner-class-name", RUNNER, *common, "v1")
    for suite in ("expander", "v1"):
        (stats,) = (folder / "benchmark_output" / "runs" / suite).glob("simple1*/stats.json")
        assert any(each["name"]["name"] == "num_accelerators" for each in json.loads(stats.read_bytes())), stats
    call(folder, "helm-efficiency", "rescore", "benchmark_output/runs/v1", "--output", "scored")
    rows = json.loads(call(folder, "helm-efficiency", "leaderboard", "scored", "--format", "json"))
    assert rows
    assert all(row["idealized_s"] > 0 for row in rows), rows


def check_main_job(folder: Path) -> None:
    """Trains, profiles, runs HELM, scores, ranks and plots."""
    assert "quickstart-large" in call(folder, "helm-efficiency", "quickstart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--extra", choices=_BRINGS)
    arguments = parser.parse_args()
    if arguments.extra:
        with tempfile.TemporaryDirectory() as folder:
            check_extra(Path(folder), arguments.extra)
        sys.stdout.write(f"ok: extra {arguments.extra}\n")
        return
    checks = [check_light] if arguments.light else [check_package, check_data]
    if arguments.full:
        checks += [check_helm, check_main_job]
    with tempfile.TemporaryDirectory() as folder:
        for check in checks:
            check(Path(folder))
            sys.stdout.write(f"ok: {(check.__doc__ or '').splitlines()[0]}\n")


if __name__ == "__main__":
    main()
