"""Energy from recorded counters, as a device's own would be read."""

import itertools

import pytest

from helm_efficiency.profiling.meters import EnergyMeter, energy_per_run_j, nvidia_meter


def test_a_recorded_counter_is_replayed() -> None:
    # Two devices' total millijoules, read before and after four runs in two seconds.
    recorded = ([10_500, 610_500], [20_000, 220_000])
    meter = EnergyMeter([itertools.chain(readings).__next__ for readings in recorded], source="recorded")
    before, after = meter.read_mj(), meter.read_mj()
    assert (before, after) == (30_500, 830_500)
    assert energy_per_run_j(before, after, window_s=2.0, num_runs=4) == pytest.approx(200.0)  # 800 J / 4


@pytest.mark.parametrize(("after_mj", "window_s"), [(2_000, 0.49), (1_000, 2.0), (900, 2.0)])
def test_what_the_counter_cannot_resolve_is_missing_not_zero(after_mj: int, window_s: float) -> None:
    assert energy_per_run_j(1_000, after_mj, window_s=window_s, num_runs=4) is None


def test_a_machine_without_the_device_has_no_meter() -> None:
    assert nvidia_meter(["GPU-00000000-0000-0000-0000-000000000000"]) is None
