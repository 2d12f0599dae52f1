"""Energy of requests on loaded servers, from published measurements of the same accelerator."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from helm_efficiency.catalog.user_files import parse_yaml
from helm_efficiency.core.energy import Energy, EnergyModel
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture


@dataclass(frozen=True, slots=True)
class PublishedEnergy:
    """Energy of a request by published measurements.

    Attributes:
        energy: Joules with their nominal 90 % interval.
        source: Publication and date, in one line.
    """

    energy: Energy
    source: str


def published_energy(
    stack: Stack, architecture: Architecture | None, lengths: tuple[float, float], *, batch: float
) -> PublishedEnergy | None:
    """Return the energy of one request on a loaded server, or None if nothing was published for it.

    Args:
        stack: Accelerators and precision of the weights.
        architecture: Sizes of the model; None if unknown.
        lengths: Mean prompt and output tokens.
        batch: Mean number of requests in the running batch; the measurements begin at 8.

    Example:
        >>> from helm_efficiency import Stack, load_architectures
        >>> llama = load_architectures().find("llama-3-8b").architecture
        >>> found = published_energy(Stack("h100", "h100-sxm", dtype="bf16"), llama, (500, 100), batch=64)
        >>> round(found.energy.joules), round(found.energy.low_j), round(found.energy.high_j)
        (30, 23, 51)
    """
    known = energy_models().get(stack.accelerator)
    if known is None or architecture is None:
        return None
    model, source = known
    energy = model.request(architecture, stack.dtype, lengths, batch=batch, accelerators=stack.num_accelerators)
    return None if energy is None else PublishedEnergy(energy, source)


@cache
def energy_models() -> dict[str, tuple[EnergyModel, str]]:
    """Return the packaged models with their sources, by accelerator."""
    where = "data/energy.yaml"
    document = parse_yaml(files("helm_efficiency.catalog").joinpath(where).read_text(encoding="utf-8"), where)
    known = {}
    for accelerator, entry in document.items():
        source = f"{entry.pop('source')}, {entry.pop('date')}"
        known[str(accelerator)] = (EnergyModel(**entry), source)
    return known
