"""Errors of a prediction by group, with which the packaged corrections of simulated times are learnt."""

import pytest
from _group_effects import fit_group_effects


def test_group_effects_are_recovered_and_unknown_groups_are_wider() -> None:
    effects = fit_group_effects([0.3] * 20 + [-0.1] * 20, [{"engine": "a"}] * 20 + [{"engine": "b"}] * 20)
    assert effects.predict({"engine": "a"}).mean == pytest.approx(0.3, abs=0.005)
    assert effects.predict({"engine": "c"}).sd > 3 * effects.predict({"engine": "a"}).sd
