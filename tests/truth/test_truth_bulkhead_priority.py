"""Priority inversion on the stub in overload, where low alone is to be shed."""

import pytest
import rig
from rig import Case, Shot, poisson
from test_truth_bulkhead_inversion import inversion

pytestmark = pytest.mark.truth


def overloaded(**more):
    """Return twice what four workers of 20 ms bear for 4 s, a fifth of their capacity of it important."""
    shots = [Shot(t, priority=kind, deadline=3.0) for kind, rate, seed in (("high", 40, 1), ("low", 360, 2))
             for t in poisson(rate, 4.0, seed)]  # fmt: skip
    back = {"workers": 4, "service": {"law": "exponential", "mean_s": 0.02}, "queue": {"bound": 20, "low_first": True}}
    return Case(shots, "none", {"back": back, "front": {"timeout_s": 2.0}, **more})


def test_real_overload_sheds_what_is_unimportant_unless_it_is_inverted():
    """In the line of 20 are 20 x 40 / 200 = 4 important ones, give or take 2: there is always another to turn away."""
    sound, inverted = rig.play_on_time([overloaded(), overloaded(defects=["priority_inverted"])])
    requests = sound.history.requests
    found = inversion(sound.history)
    assert (found.value, found.result) == (0.0, "pass")
    assert found.samples >= 0.9 * (requests["priority"] == "high").sum()
    assert (requests["outcome"] == "shed").sum() == pytest.approx(4 * 200, rel=0.15)
    assert not (requests.loc[requests["priority"] == "high", "outcome"] == "shed").any()
    assert inversion(inverted.history).value > 0.5
    assert inversion(inverted.history).result == "fail"
