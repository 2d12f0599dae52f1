"""Training figures: HELM's, in the units of HELM's labels."""

import pytest
from helm.benchmark.metrics.efficiency_metrics import EfficiencyMetric

from helm_efficiency.catalog.helm_metadata import training_stats


def test_tonnes_become_the_kg_that_the_label_says() -> None:
    # BLOOM: 474.4 MWh and 30.4 t of CO2
    assert training_stats("together/bloom") == {"training_co2_cost": 30400.0, "training_energy_cost": 474.4}


def test_unknown_is_absent() -> None:
    assert training_stats("openai/gpt-4o") == {}


def test_every_figure_of_helm_is_passed_on() -> None:
    helm = EfficiencyMetric().training_efficiency_dict
    for deployment, figure in helm["carbon"].items():
        assert training_stats(deployment)["training_co2_cost"] == pytest.approx(1000 * figure["value"])
    for deployment, figure in helm["energy"].items():
        assert training_stats(deployment)["training_energy_cost"] == figure["value"]
