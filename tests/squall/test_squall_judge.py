"""When a fault began and ceased to be felt, from canaries in any order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.base import Fault, Observation
from faults.catalogue import load
from squall.judge import Judge

OK = Observation(0.0, "l", "ok", 0.001, 0.004, 0.005, None, 200, 2, 1)
LATENCY = load()["latency"](edge="e", delay="200ms")
DOWN = load()["down"](edge="e")


def seen(t: float, sick: bool, fault: Fault = LATENCY) -> Observation:
    """Return what a canary sees of a fault that is on or off."""
    if fault is DOWN:
        return replace(OK, t=t, result="refused" if sick else "ok")
    late = 0.2 if sick else 0.0
    return replace(OK, t=t, first_byte_s=0.004 + late, total_s=0.005 + late)


def calm_judge(fault: Fault = LATENCY, until: float = 1.0) -> Judge:
    judge = Judge(fault)
    for number in range(10):
        judge.back(judge.set_out(until * number / 10), seen(until * number / 10, sick=False, fault=fault))
    return judge


def play(judge: Judge, sick_from: float, sick_to: float, order: list[int] | None = None, gap: float = 0.01) -> None:
    """Send 100 canaries from 1.0 s on; they come back in the given order."""
    sent = [judge.set_out(1.0 + gap * number) for number in range(100)]
    for place in order or range(100):
        t = 1.0 + gap * place
        judge.back(sent[place], seen(t, sick=sick_from <= t < sick_to))


def test_calm_is_learnt_from_the_first_three_good_answers() -> None:
    """Until then a canary cannot say what it felt; bad answers teach nothing."""
    judge = Judge(LATENCY)
    felt = [judge.back(judge.set_out(t), seen(t, sick=False)) for t in (0.0, 0.1, 0.2, 0.3)]
    assert felt == [None, None, None, False]
    assert judge.calm is not None
    judge.back(judge.set_out(0.4), replace(OK, t=0.4, result="refused", total_s=9.0))
    judge.back(judge.set_out(0.5), replace(OK, t=0.5, status=503, total_s=9.0))
    assert (judge.calm.samples, judge.calm.total_s) == (4, 0.005)


@given(order=st.permutations(range(100)), on=st.floats(1.05, 1.3), lasts=st.floats(0.1, 0.4))
def test_the_order_of_coming_back_does_not_matter(order: list[int], on: float, lasts: float) -> None:
    """On is the first late canary's set-out plus calm, off the first calm one's after the undo was asked for."""
    judge = calm_judge()
    judge.asked(on - 0.02)
    judge.undo_asked(on + lasts - 0.02)
    play(judge, on, on + lasts, order)
    assert judge.effective_on == pytest.approx(on, abs=0.0151)
    assert judge.effective_off == pytest.approx(on + lasts, abs=0.0101)
    assert judge.effective_off >= on + lasts - 1e-9


def test_one_late_answer_is_noise_and_one_refused_connection_is_not() -> None:
    """A single late canary is not believed; a single canary without an answer is."""
    late, refused = calm_judge(), calm_judge(DOWN)
    for judge in (late, refused):
        judge.asked(1.0)
        for number in range(20):
            t = 1.0 + number / 100
            judge.back(judge.set_out(t), seen(t, sick=number == 10, fault=DOWN if judge is refused else LATENCY))
    assert late.effective_on is None
    assert refused.effective_on == pytest.approx(1.105)


def test_a_cut_connection_is_known_when_it_is_cut() -> None:
    """On a slow link the end of a connection says more than the time that its answer would have taken."""
    judge = Judge(DOWN)
    for t in (0.0, 0.3, 0.6):
        judge.back(judge.set_out(t), replace(OK, t=t, total_s=0.2))
    judge.asked(1.0)
    judge.back(judge.set_out(1.01), replace(OK, t=1.01, result="refused", total_s=0.001))
    assert judge.effective_on == pytest.approx(1.011)


def test_nothing_is_decided_before_the_canaries_that_set_out_earlier_are_back() -> None:
    """A canary swallowed by the fault holds the verdict until it is back."""
    judge = calm_judge(DOWN)
    judge.asked(1.0)
    first, second = judge.set_out(1.0), judge.set_out(1.01)
    judge.back(second, seen(1.01, sick=True, fault=DOWN))
    assert judge.effective_on is None
    judge.back(first, seen(1.0, sick=True, fault=DOWN))
    assert judge.effective_on == pytest.approx(1.005)


def test_an_effect_is_never_earlier_than_its_cause() -> None:
    """A canary on its way when the fault was asked for gives the time of the asking."""
    judge = calm_judge(DOWN)
    number = judge.set_out(0.999)
    judge.asked(1.002)
    assert judge.back(number, seen(0.999, sick=True, fault=DOWN)) is None
    assert judge.effective_on == pytest.approx(1.004)


def test_a_canary_let_go_by_the_undo_says_nothing() -> None:
    """What a removed toxic releases early is neither felt nor calm."""
    judge = calm_judge()
    judge.asked(1.0)
    for t in (1.0, 1.01, 1.02):
        assert judge.back(judge.set_out(t), seen(t, sick=True))
    number = judge.set_out(1.9)
    judge.undo_asked(1.95)
    assert judge.back(number, replace(OK, t=1.9, first_byte_s=0.06, total_s=0.06)) is None


@pytest.mark.parametrize(("share", "run"), [(1.0, 3), (0.5, 7), (0.1, 44), (0.05, 90), (0.01, 459)])
def test_a_share_needs_as_many_calm_canaries_as_would_have_shown_it(share: float, run: int) -> None:
    """With a chance of 99 % one of them would have felt it."""
    assert run == Judge(load()["latency"](edge="e", delay="1s", share=share)).calm_run()


def test_a_fault_that_heals_itself_is_over_when_calm_returns() -> None:
    """A restarted node is well again before anybody asked for an undo."""
    restart = load()["restart"](node="n")
    judge = calm_judge(restart)
    judge.asked(1.0)
    told = set()
    for number in range(40):
        t = 1.0 + number / 100
        told.add(judge.back(judge.set_out(t), replace(OK, t=t, result="eof" if 10 <= number < 20 else "ok")))
    assert {True, None} == told
    assert judge.effective_on == pytest.approx(1.105)
    assert judge.effective_off == pytest.approx(1.2)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_node_that_comes_back_is_well_before_the_undo_only_where_that_is_known(comes_back: bool) -> None:
    """A crash on a node with a restart policy is over with its calm; on any other, calm means that it was not felt."""
    judge = Judge(DOWN, heals_itself=comes_back)
    for number in range(10):
        judge.back(judge.set_out(number / 10), seen(number / 10, sick=False, fault=DOWN))
    judge.asked(1.0)
    told = [judge.back(judge.set_out(t), seen(t, sick=t < 1.1, fault=DOWN)) for t in (1.0, 1.05, 1.1, 1.15, 1.2)]
    assert told == [True, True, *([None] * 3 if comes_back else [False] * 3)]
    assert judge.effective_off == (1.1 if comes_back else None)


def test_where_nothing_is_to_be_felt_the_asking_is_the_effect() -> None:
    """A noop is on when asked for and off at the first calm canary after its undo."""
    noop = load()["noop"](edge="e")
    judge = calm_judge(noop)
    judge.asked(1.0)
    judge.undo_asked(1.5)
    for t in (1.4, 1.51, 1.52, 1.53):
        judge.back(judge.set_out(t), seen(t, sick=False, fault=noop))
    assert (judge.effective_on, judge.effective_off) == (1.0, 1.51)


def test_without_calm_nothing_can_be_felt() -> None:
    """A link that was broken before the fault cannot show it."""
    judge = Judge(DOWN)
    judge.asked(0.0)
    number = judge.set_out(0.1)
    assert judge.back(number, seen(0.1, sick=True, fault=DOWN)) is None
    assert judge.effective_on is None
