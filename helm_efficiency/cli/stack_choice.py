"""Choose the coefficients that an archive is scored with, and remember them in its output folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from helm_efficiency.cli.hardware import parse_hardware
from helm_efficiency.cli.options import load_catalog, note
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES, DEFAULT_STORE
from helm_efficiency.errors import InputError
from helm_efficiency.files import write_file

if TYPE_CHECKING:
    from helm_efficiency.metrics.efficiency import Coefficients

_MEMORY = "stack.json"


class Choice(NamedTuple):
    """Coefficients, the stacks to score on, and the hardware that was named instead of a store."""

    coefficients: "Coefficients"
    stacks: tuple[str, ...]
    on: str | None


def choose_coefficients(
    stacks: Sequence[str], on: str | None, *, store: Path, output: Path, prices: Path | None
) -> Choice:
    """Return the coefficients to score with: those that are named, else those of the folder, else the usual ones.

    Args:
        stacks: Names of stacks in the store.
        on: Hardware, such as `h200-sxm:sglang`; None if the user named none.
        store: Path of the store of measurements and coefficients; it may be missing if it is the usual one.
        output: Folder of the tables.
        prices: File of a user's own accelerators.

    Raises:
        EfficiencyError: The named stack, hardware or store does not exist, or the folder's own stack no longer does.
    """
    from helm_efficiency.metrics.default_coefficients import USUAL_HARDWARE
    from helm_efficiency.metrics.efficiency import Coefficients
    from helm_efficiency.store import Store

    if stacks and on:
        raise InputError("--stack names a stack of the store and --on hardware without one: name one of them.")
    before = _remembered(output)
    if not stacks and on is None:
        on = before.on if before else None if _has_stacks(store) else USUAL_HARDWARE
        stacks = before.stacks if before and before.on is None else ()
    if on is None:
        coefficients = Coefficients.from_store(Store(store, create=False))
        lost = [name for name in stacks if before and name not in coefficients.idealized]
        if lost:
            raise InputError(
                f"{output} was scored on {', '.join(lost)}, which {store} does not have. Name a stack with --stack, or "
                "another folder with --output."
            )
        default = coefficients.default_stack()
        chosen = Choice(coefficients, tuple(stacks) or ((default,) if default else ()), None)
    else:
        chosen = _without_stack(on, store=store, prices=prices)
    if before and before.stacks != chosen.stacks:
        note(f"{output} was scored on {', '.join(before.stacks)} before; now on {', '.join(chosen.stacks)}.")
    return chosen


def _has_stacks(store: Path) -> bool:
    """Return whether a store holds coefficients of models, as opposed to none, or to those of services only."""
    from helm_efficiency.metrics.efficiency import Coefficients
    from helm_efficiency.store import Store

    if not store.exists():
        return store != DEFAULT_STORE  # reading it will report that it is missing
    return bool(Coefficients.from_store(Store(store, create=False)).idealized)


def _without_stack(on: str, *, store: Path, prices: Path | None) -> Choice:
    """Return the packaged coefficients of some hardware, replaced by those of the store if these are better."""
    from helm_efficiency.metrics.default_coefficients import default_coefficients, default_stack_name
    from helm_efficiency.store import Store

    hardware = parse_hardware(on, prices=prices)
    opened = Store(store, create=False) if store.exists() else None
    coefficients = default_coefficients(hardware, load_catalog(DEFAULT_ARCHITECTURES), opened)
    name = default_stack_name(hardware)
    if name not in coefficients.idealized:
        raise InputError(f"--on {on}: too little is known of {hardware.accelerator.key} to estimate any model on it.")
    return Choice(coefficients, (name,), on)


class _Before(NamedTuple):
    stacks: tuple[str, ...]
    on: str | None


def _remembered(output: Path) -> _Before | None:
    """Return the stacks and the hardware that a folder was scored on; None if the folder does not say."""
    try:
        kept = json.loads((output / _MEMORY).read_text(encoding="utf-8"))
        return _Before(tuple(map(str, kept["stacks"])), kept["on"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_stacks(output: Path, choice: Choice) -> None:
    """Write the stacks and the hardware of this scoring into the folder, so that the next call uses them again."""
    write_file(output / _MEMORY, json.dumps({"stacks": choice.stacks, "on": choice.on}) + "\n")
