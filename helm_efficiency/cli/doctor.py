"""The command that reports what works on this machine."""

import importlib.metadata
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, StoreOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import EfficiencyError

if TYPE_CHECKING:
    from helm_efficiency.profiling.doctor import Finding


_FIELDS = (Field("what", "What"), Field("status", "Status"), Field("detail", "Detail", wraps=True))


@app.command(rich_help_panel="Manage")
def doctor(*, store: StoreOption = DEFAULT_STORE, format: FormatOption = Format.table) -> None:
    """Tell what works on this machine, and what to do about what does not.

    Example: helm-efficiency doctor
    """
    from helm_efficiency.profiling.doctor import examine

    findings = [*examine(), _examine_plugin(), _examine_vllm_client(), _examine_store(store)]
    remedies = [f"{each.what}: {each.remedy}" for each in findings if each.remedy]
    emit([asdict(finding) for finding in findings], format, _FIELDS, whole=True)
    if format is Format.table:
        for remedy in remedies:
            note(remedy)
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)


def _examine_plugin() -> "Finding":
    """Check whether helm-run will find this package."""
    from helm_efficiency.profiling.doctor import Finding

    names = [point.name for point in importlib.metadata.entry_points(group="helm")]
    if "helm_efficiency" in names:
        return Finding("HELM plugin", "ok", "registered")
    return Finding("HELM plugin", "missing", "not registered", "pip install helm-efficiency (rather than copying it)")


def _examine_vllm_client() -> "Finding":
    """Check whether HELM can ask a vLLM server for completions."""
    from helm_efficiency.helm_plugin.vllm_client import INSTEAD, vllm_client_problem
    from helm_efficiency.profiling.doctor import Finding

    problem = vllm_client_problem()
    return Finding("HELM VLLMClient", "missing" if problem else "ok", problem or "constructed", INSTEAD * bool(problem))


def _examine_store(path: Path) -> "Finding":
    from helm_efficiency.profiling.doctor import Finding
    from helm_efficiency.store import Store

    if not path.exists():
        return Finding("store", "missing", f"none at {path}", "helm-efficiency profile or import makes it")
    try:
        store = Store(path, create=False)
        return Finding("store", "ok", f"{path}: {len(store.profiles())} profiles, {len(store.fits())} fits")
    except EfficiencyError as error:
        return Finding("store", "broken", str(error), "name another with --store")
