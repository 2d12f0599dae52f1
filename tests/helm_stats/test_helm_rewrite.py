"""Stats of HELM's files replaced without touching anything else."""

import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helm_efficiency.adapters import json_stream as json_parts
from helm_efficiency.adapters.helm.instance_stats import PROVENANCE_PREFIXES
from helm_efficiency.catalog.helm_metadata import is_score
from helm_efficiency.errors import FileFormatError
from helm_efficiency.helm_stats.aggregate import MetricName, PerInstanceStats, Stat, stat_of
from helm_efficiency.helm_stats.rewrite import Replaced, rewrite_per_instance_stats, rewrite_stats
from helm_efficiency.helm_stats.stats import STATS, is_own_stat

NAMES = ("exact_match", "num_references", "inference_runtime", "num_prompt_tokens", "prompt_tokens_from_usage", "{}[],")


def a_stat(name: str, split: str = "test", **more: Any) -> dict[str, Any]:
    return {"name": {"name": name, "split": split, **more}, "count": 1, "sum": 0.5}


def ours(name: str, value: float) -> Stat:
    return stat_of(MetricName(name, "test"), [value])


stats = st.lists(
    st.builds(
        a_stat,
        st.sampled_from(NAMES) | st.text(),
        st.text(),
        perturbation=st.fixed_dictionaries({"name": st.sampled_from(['"inference_runtime"', "typos"])}),
    )
    | st.builds(a_stat, st.sampled_from(NAMES)),
    max_size=6,
)
layouts = st.sampled_from([{"indent": 2}, {}, {"separators": (",", ":")}])


def kept_of(all_stats: list[Any]) -> list[Any]:
    """Stats that neither were ours nor have the name of the one that the tests add."""
    replaced = {"name": "inference_runtime", "split": "test"}
    return [stat for stat in all_stats if not is_own_stat(stat["name"]["name"]) and stat["name"] != replaced]


@given(stats, layouts, st.booleans())
def test_stats(all_stats: list[Any], layout: Any, with_nan: bool) -> None:
    if with_nan:
        all_stats = [stat | {"max": float("inf"), "mean": float("nan")} for stat in all_stats]
    data = json.dumps(all_stats, **layout).encode()
    added = [ours("inference_runtime", 2.0)]
    rewritten = rewrite_stats(data, added, file="stats.json")
    assert repr(json.loads(rewritten)) == repr(kept_of(all_stats) + json.loads(msgspec.json.encode(added)))
    assert rewrite_stats(rewritten, added, file="stats.json") == rewritten


def rewrite_entries(data: bytes, added: list[PerInstanceStats]) -> bytes:
    target = io.BytesIO()
    replaced = Replaced([stat for entry in added for stat in entry.stats])
    rewrite_per_instance_stats(io.BytesIO(data), target, added, replaced=replaced, file="per_instance_stats.json")
    return target.getvalue()


@pytest.mark.parametrize("part_bytes", [100, json_parts.PART_BYTES])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(of_entries=st.lists(stats, max_size=4), layout=layouts)
def test_per_instance_stats(
    of_entries: list[list[Any]], layout: Any, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_parts, "PART_BYTES", part_bytes)
    entries = [{"instance_id": f"id{i}", "more": 1, "stats": each} for i, each in enumerate(of_entries)]
    data = json.dumps(entries, **layout).encode()
    added = [PerInstanceStats(instance_id="id0", train_trial_index=0, stats=[ours("inference_runtime", 2.0)])]
    rewritten = rewrite_entries(data, added)
    kept = [entry | {"stats": left} for entry in entries if (left := kept_of(entry["stats"]))]
    assert json.loads(rewritten) == kept + json.loads(msgspec.json.encode(added))
    assert rewrite_entries(rewritten, added) == rewritten


def test_bytes_of_others_are_kept() -> None:
    data = b'[ {"name":{"name":"exact_match"},"sum":1.50,"x":"\\u00e9"} ,\n {"name": {"name": "api_cost_usd"}}]\n'
    assert rewrite_stats(data, [], file="") == b'[ {"name":{"name":"exact_match"},"sum":1.50,"x":"\\u00e9"} ]\n'


def test_counts_that_nothing_replaces_stay() -> None:
    counted = [a_stat("num_prompt_tokens"), a_stat("num_prompt_tokens", "valid"), a_stat("training_co2_cost")]
    worst = a_stat("num_prompt_tokens", perturbation={"name": "robustness", "computed_on": "worst"})
    data = json.dumps([*counted, worst]).encode()
    assert json.loads(rewrite_stats(data, [], file="")) == [*counted, worst]
    added = [ours("num_prompt_tokens", 5.0)]
    assert json.loads(rewrite_stats(data, added, file=""))[:-1] == [*counted[1:], worst]


@pytest.mark.parametrize("data", [b"", b"{}", b'[{"name": {"name": "inference_runtime"}, "sum": 1', b'{"a": 1}]'])
def test_what_is_no_list_of_stats_is_refused(data: bytes) -> None:
    with pytest.raises(FileFormatError, match=r"^runs/v1/stats\.json: "):
        rewrite_stats(data, [ours("inference_runtime", 1.0)], file="runs/v1/stats.json")


def test_no_stat_of_ours_is_taken_for_a_score() -> None:
    assert not [name for name in (*STATS, *PROVENANCE_PREFIXES) if is_score(name)]
