"""The registry of measures: tables, leaderboards and HELM stats have every measure in it."""

import subprocess
import sys

from helm_efficiency.helm_stats.stats import STATS
from helm_efficiency.metrics.efficiency import ScoredRequests
from helm_efficiency.metrics.measures import MEASURES, QUANTITIES
from helm_efficiency.metrics.table import REQUEST_COLUMNS
from helm_efficiency.report.leaderboard import _STACK_COLUMNS
from helm_efficiency.report.rows import columns_of


def test_tables_have_every_measure() -> None:
    assert {column for key in QUANTITIES for column in (key, *MEASURES[key].interval_columns)} <= set(REQUEST_COLUMNS)
    assert set(MEASURES) <= set(columns_of(MEASURES))


def test_helm_stats_carry_every_measure_of_requests() -> None:
    assert {stat.name for measure in MEASURES.values() for stat in measure.stats} <= set(STATS)
    assert [key for key in QUANTITIES if not MEASURES[key].stats] == []
    assert STATS["inference_idealized_runtime"].lower_is_better and STATS["num_prompt_tokens"].lower_is_better is None


def test_sources_are_attributes_of_scored_requests() -> None:
    for key in QUANTITIES:
        source = MEASURES[key].source
        assert source == "record" or hasattr(ScoredRequests, source.partition(".")[0]), key


def test_numbers_of_a_stack_are_blank_on_others() -> None:
    assert {"idealized_s", "idealized_low_s", "idealized_high_s", "idealized_usd", "energy_j"} <= set(_STACK_COLUMNS)
    assert not {"observed_s", "denoised_s", "api_usd"} & set(_STACK_COLUMNS)


def test_costs_share_the_error_of_the_runtime_they_follow_from() -> None:
    fitted_to = {key: MEASURES[key].fitted_to for key in QUANTITIES if MEASURES[key].fitted_to}
    assert fitted_to == {
        "denoised_s": "denoised_s",
        **dict.fromkeys(("idealized_s", "accelerator_s", "idealized_usd", "energy_j"), "idealized_s"),
        **dict.fromkeys(("loaded_s", "loaded_accelerator_s", "loaded_usd", "loaded_energy_j"), "idealized_s"),
    }


def test_registry_is_light_to_import() -> None:
    program = "import sys, helm_efficiency.metrics.measures; print({'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
