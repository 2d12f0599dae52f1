"""Several requests of one client at a time: their number, their effect, and what remains unknown."""

import numpy as np
import pytest

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.services.denoise import Denoised, denoise
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.own_load import requests_in_flight

NUM_REQUESTS = 400


def alone_s(p: FloatArray, o: FloatArray) -> FloatArray:
    return 0.1 + 2e-4 * p + 0.01 * (o - 1)


def served(seed: int, *, exponent: float, at_a_time: tuple[int, int]) -> tuple[FloatArray, FloatArray, ServiceLog]:
    """Requests to a server that computes those in flight side by side, each `n ** exponent` times slower beside n.

    The client keeps the first number of them in flight for half a minute, then the second, and so on.
    """
    rng = np.random.default_rng(seed)
    p, o = rng.integers(50, 800, NUM_REQUESTS).astype(float), rng.integers(5, 100, NUM_REQUESTS).astype(float)
    work = alone_s(p, o) * np.exp(rng.normal(0.0, 0.02, NUM_REQUESTS))
    begin, end = np.zeros(NUM_REQUESTS), np.zeros(NUM_REQUESTS)
    now, following, left = 0.0, 0, dict[int, float]()
    while following < NUM_REQUESTS or left:
        while following < NUM_REQUESTS and len(left) < at_a_time[int(now / 30.0) % 2]:
            left[following], begin[following] = work[following], now
            following += 1
        speed = len(left) ** -exponent
        first = min(left, key=left.__getitem__)
        passed = left[first] / speed
        now += passed
        left = {request: seconds - passed * speed for request, seconds in left.items() if request != first}
        end[first] = now
    at = np.floor(begin)  # as HELM keeps them
    log = ServiceLog.of(p, o, end - begin, requested_at=at, in_flight=requests_in_flight(at, end - begin))
    return p, o, log


def denoised(log: ServiceLog) -> Denoised:
    return denoise(log)


def test_requests_in_flight_are_counted() -> None:
    begin, seconds = np.array([0.0, 0.5, 10.25]), np.array([1.0, 1.0, 0.5])
    # each of the first two is alone for half of its time and beside the other for the other half
    assert requests_in_flight(begin, seconds).tolist() == [1.5, 1.5, 1.0]
    # whole seconds: ten requests of a tenth each follow one another
    assert requests_in_flight(np.full(10, 7.0), np.full(10, 0.1)).tolist() == [1.0] * 10
    # four threads, each with requests of 4 s, one of which begins each second
    assert requests_in_flight(np.arange(20.0), np.full(20, 4.0))[4:16].tolist() == [4.0] * 12


def test_unknown_times_have_no_number_in_flight() -> None:
    found = requests_in_flight(np.array([0.0, np.nan]), np.array([1.0, 1.0]))
    assert found[0] == 1.0 and np.isnan(found[1])


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("seed", range(3))
def test_effect_of_varying_load_is_removed(seed: int, exponent: float) -> None:
    p, o, log = served(seed, exponent=exponent, at_a_time=(4, 1))
    service = denoised(log).service
    total, truth = service.total_s(p, o), alone_s(p, o).sum()
    assert not service.is_upper_bound
    assert total.low <= truth <= total.high
    assert float(total.value) == pytest.approx(truth, rel=0.05)
    assert any("4 requests at a time took" in note for note in service.notes) == (exponent > 0)


@pytest.mark.parametrize("exponent", [1.0, 0.0])
def test_constant_load_gives_an_upper_bound(exponent: float) -> None:
    p, o, log = served(0, exponent=exponent, at_a_time=(4, 4))
    result = denoised(log)
    assert result.service.is_upper_bound
    assert result.service.total_s(p, o).low == 0.0
    assert any(note.startswith("upper bound: 4 requests at a time") for note in result.service.notes)


def test_single_requests_are_no_bound() -> None:
    p, o, log = served(0, exponent=1.0, at_a_time=(1, 1))
    service = denoised(log).service
    assert not service.is_upper_bound
    assert float(service.total_s(p, o).value) == pytest.approx(alone_s(p, o).sum(), rel=0.01)
