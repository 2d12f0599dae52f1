"""What training a model took, as HELM knows it, in the units that HELM's labels say.

HELM ships energy in MWh and emissions in tonnes of CO2, and shows the latter under the label "kg CO2". Its label is
kept, because leaderboards that exist use it, and the number is made to agree with it.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

CO2_STAT = "training_co2_cost"
ENERGY_STAT = "training_energy_cost"

_KG_PER_TONNE = 1000.0


def training_stats(deployment: str) -> dict[str, float]:
    """HELM's training figures of a deployment.

    Args:
        deployment: HELM's name.

    Returns:
        `training_co2_cost` in kg and `training_energy_cost` in MWh; what HELM does not know is absent, never 0.
    """
    table = _table()
    found = {}
    if deployment in table["carbon"]:
        found[CO2_STAT] = table["carbon"][deployment]["value"] * _KG_PER_TONNE
    if deployment in table["energy"]:
        found[ENERGY_STAT] = table["energy"][deployment]["value"]
    return found


@cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    path = files("helm.benchmark").joinpath("efficiency_data", "training_efficiency.json")
    table: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(path.read_text(encoding="utf-8"))
    return table
