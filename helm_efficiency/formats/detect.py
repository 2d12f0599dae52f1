"""Read measurements and coefficients from files of any kind, and export the content of a store to one file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helm_efficiency import codec
from helm_efficiency.catalog.accelerators import Accelerator, load_accelerators
from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError
from helm_efficiency.files import require_size
from helm_efficiency.formats.benchmarks.tools import read_tool_file
from helm_efficiency.formats.helm_tables import PACKAGED, is_table, packaged_fits, read_table
from helm_efficiency.formats.measurement_files import load_json, profiles_from_json, read_profiles

FORMAT_VERSION = 1
"""Version of the JSON file that holds the content of a store."""


@dataclass(frozen=True, slots=True)
class Found:
    """Content of files, in their order; at most one profile and one fit for each deployment and stack name."""

    profiles: tuple[Profile, ...] = ()
    fits: tuple[Fit, ...] = ()


def read_coefficient_files(
    files: Iterable[str],
    *,
    deployment: str | None = None,
    stack_name: str | None = None,
    num_accelerators: int | None = None,
    accelerator_file: Path | None = None,
) -> Found:
    """Read files of measurements or coefficients; the kind of each is detected from its content.

    Args:
        files: Megatron logs, CSV or JSON files, or the word `helm-packaged` for the tables inside crfm-helm.
        deployment: Name of the deployment; replaces the name in the files.
        stack_name: Name of the stack; replaces the name in the files. If it begins with an accelerator of the catalog,
            that accelerator is set.
        num_accelerators: Number of accelerators that the measured model occupied; a CSV cannot say, and counts as 1.
        accelerator_file: File of the user's own accelerators, in addition to the catalog's.

    Returns:
        Profiles and fits; measurements of one deployment and stack from several files are merged.

    Raises:
        FileFormatError: The kind of a file is unknown, or it is damaged; the message names the line and what was
            expected.
        InputError: Deployment or stack are not known, or the same names are used for different things.

    Example:
        >>> from helm_efficiency import read_coefficient_files
        >>> found = read_coefficient_files(["megatron_logs/a100/openai_davinci.log"])
        >>> len(found.profiles[0].measurements)
        270
    """
    profiles: dict[tuple[str, str], Profile] = {}
    fits: dict[tuple[str, str], Fit] = {}
    accelerators = load_accelerators(accelerator_file)
    for file in files:
        found = _read(file, deployment, stack_name, accelerators)
        _require_distinct(file, found.profiles)
        _require_distinct(file, found.fits)
        for profile in found.profiles:
            if num_accelerators is not None:
                profile = replace(profile, stack=replace(profile.stack, num_accelerators=num_accelerators))
            known = profiles.get(_names(profile))
            profiles[_names(profile)] = profile if known is None else _together(known, profile, file)
        fits |= {_names(fit): fit for fit in found.fits}
    return Found(tuple(profiles.values()), tuple(fits.values()))


def export_document(profiles: Sequence[Profile], fits: Sequence[Fit]) -> dict[str, Any]:
    """Return a JSON object that `read_coefficient_files` reads back to equal profiles and fits."""
    return {"format_version": FORMAT_VERSION, "profiles": codec.to_plain(profiles), "fits": codec.to_plain(fits)}


def _read(file: str, deployment: str | None, stack_name: str | None, accelerators: Mapping[str, Accelerator]) -> Found:
    if file == PACKAGED:
        if deployment or stack_name:
            raise InputError(f"{PACKAGED} has names of its own: leave out --deployment and --stack.")
        return Found(fits=tuple(packaged_fits()))
    path = Path(file)
    if of_tool := read_tool_file(path, deployment=deployment, stack_name=stack_name):
        return Found(tuple(_on_known_accelerator(profile, accelerators) for profile in of_tool))
    if _is_json(path):
        data = load_json(path)
        if is_table(data):
            return Found(fits=tuple(read_table(path, stack_name=stack_name)))
        if isinstance(data, dict) and "fits" in data:
            found = _document(path, data)
            if deployment or stack_name:
                raise InputError(f"{path} has names of its own: leave out --deployment and --stack.")
            return found
    profiles = read_profiles(path, deployment=deployment, stack_name=stack_name)
    return Found(tuple(_on_known_accelerator(profile, accelerators) for profile in profiles))


def _is_json(path: Path) -> bool:
    try:
        require_size(path)
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(1024).lstrip().startswith("{")
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}.") from error


def _document(path: Path, data: dict[str, Any]) -> Found:
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise FileFormatError(f"{path}: format_version is {version!r}, expected {FORMAT_VERSION}.")
    if not isinstance(data["fits"], list):
        raise FileFormatError(f"{path}: fits is {type(data['fits']).__name__}, expected a list.")
    fits = []
    for index, item in enumerate(data["fits"]):
        try:
            fits.append(codec.from_plain(item, Fit))
        except (EfficiencyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{path}: fit {index}: {error}") from error
    return Found(tuple(profiles_from_json(path, data.get("profiles", []))), tuple(fits))


def _on_known_accelerator(profile: Profile, known: Mapping[str, Accelerator]) -> Profile:
    """Set the accelerator to a catalog key: the one in the file, or else the one that begins the stack's name."""
    named = profile.stack.accelerator
    if named not in known:
        named = accelerator_of(profile.stack.name, accelerators=known)
    key = known[named].key if named in known else named
    return replace(profile, stack=replace(profile.stack, accelerator=key))


def _together(first: Profile, second: Profile, file: str) -> Profile:
    """Merge two profiles, if their statements about the model and the stack do not differ."""
    if (first.stack, first.architecture) != (second.stack, second.architecture):
        raise InputError(
            f"{file}: also measurements of {second.deployment} on {second.stack.name}, but of another model or stack "
            f"({second.stack}) than in {first.source} ({first.stack}). Tell them apart: --deployment, --stack"
        )
    return replace(
        first,
        measurements=(*first.measurements, *second.measurements),
        resolution_s=max(first.resolution_s, second.resolution_s),
        source=f"{first.source}; {second.source}",
        notes=(*first.notes, *(note for note in second.notes if note not in first.notes)),
    )


def _require_distinct(file: str, items: Sequence[Profile | Fit]) -> None:
    """Fail if one file has several items of one name, for example because --deployment or --stack renamed them."""
    for name, count in Counter(map(_names, items)).items():
        if count > 1:
            raise InputError(
                f"{file}: holds {count} models or stacks that would all be {name[0]} on {name[1]}. "
                "Leave out --deployment or --stack, so that each keeps its own name."
            )


def _names(item: Profile | Fit) -> tuple[str, str]:
    return item.deployment, item.stack.name
