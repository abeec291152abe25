"""Breaker, retries, budget, bulkhead and tenant limiter, one by one."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.mesh.config import Listen, ServiceConfig
from targets.mesh.kit.breaker import CircuitBreaker
from targets.mesh.kit.gate import Gate
from targets.mesh.kit.log import JsonLog
from targets.mesh.kit.metrics import Metrics
from targets.mesh.kit.refusals import BreakerOpen, DependencyFailed, Limited, Shed
from targets.mesh.kit.retry import Retrier, RetryBudget
from targets.mesh.kit.tenants import TenantLimiter
from targets.mesh.variants import Breaker, Bulkhead, Limiter, Retry, load


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


class Lines:
    """A log in a file, and what was written to it."""

    def __init__(self, path: Path, clock: Callable[[], float] | None = None) -> None:
        self.path = path
        config = ServiceConfig(
            node="orders-1",
            service="orders",
            listen=Listen(host="127.0.0.1", port=1),
            log_path=str(path),
            log_level="info",
            environment="test",
            run_id="r",
            origin=0.0,
            links={},
            variant=load("none"),
        )
        self.log = JsonLog(config, clock=clock or FakeClock(), wall=lambda: 0.0)

    def read(self) -> list[dict[str, Any]]:
        """Return all lines."""
        self.log.flush()
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return a log."""
    return Lines(tmp_path / "log")


class Rig:
    """A breaker of 3 failures and 2 s under a fake clock."""

    def __init__(self, lines: Lines) -> None:
        self.clock = FakeClock()
        self.lines = lines
        policy = Breaker(failures=3, open_s=2.0)
        self.breaker = CircuitBreaker(
            "orders->payments",
            policy,
            lines.log,
            Metrics(),
            counts=lambda error: isinstance(error, OSError),
            clock=self.clock,
        )

    def call(self, error: BaseException | None = None) -> None:
        """Make one call that ends in `error`."""
        with self.breaker.guard():
            if error:
                raise error

    def fail(self, times: int) -> None:
        """Make failing calls."""
        for _ in range(times):
            with pytest.raises(OSError, match="away"):
                self.call(OSError("away"))

    def steps(self) -> list[tuple[str, str]]:
        """Return the transitions that were logged."""
        return [(line["from"], line["to"]) for line in self.lines.read() if line["event"] == "breaker"]


@pytest.fixture
def rig(lines: Lines) -> Rig:
    """Return a breaker to play with."""
    return Rig(lines)


def test_breaker_opens_probes_and_closes(rig: Rig) -> None:
    """Failures in a row open it, it refuses for its time, and one good probe closes it; each step is an event."""
    rig.fail(3)
    with pytest.raises(BreakerOpen) as refused:
        rig.call()
    assert refused.value.retry_after == pytest.approx(2.0)
    rig.clock.now += 2.0
    rig.call()
    assert rig.breaker.state == "closed"
    assert rig.steps() == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_breaker_counts_only_failures_in_a_row(rig: Rig) -> None:
    """A success in between starts the count again."""
    rig.fail(2)
    rig.call()
    rig.fail(2)
    assert rig.breaker.state == "closed"


def test_breaker_does_not_count_what_is_not_the_callees_failure(rig: Rig) -> None:
    """An error that does not count decides nothing."""
    rig.fail(2)
    for _ in range(5):
        with pytest.raises(ValueError, match="mine"):
            rig.call(ValueError("mine"))
    assert rig.breaker.state == "closed"
    rig.fail(1)
    assert rig.breaker.state == "open"


def test_breaker_admits_one_probe(rig: Rig) -> None:
    """While a probe is on its way every other call is refused."""
    rig.fail(3)
    rig.clock.now += 2.0
    with rig.breaker.guard():
        for _ in range(3):
            with pytest.raises(BreakerOpen):
                rig.call()
    assert rig.breaker.state == "closed"


def test_failed_probe_opens_for_the_whole_time_again(rig: Rig) -> None:
    """A failed probe begins a new wait."""
    rig.fail(3)
    rig.clock.now += 2.0
    rig.fail(1)
    rig.clock.now += 1.9
    with pytest.raises(BreakerOpen):
        rig.call()


def test_cancelled_probe_decides_nothing(rig: Rig) -> None:
    """After a cancelled probe the next call is the probe."""
    rig.fail(3)
    rig.clock.now += 2.0
    with pytest.raises(asyncio.CancelledError):
        rig.call(asyncio.CancelledError())
    assert rig.breaker.state == "half_open"
    rig.call()
    assert rig.breaker.state == "closed"


def test_cancelled_calls_do_not_open(rig: Rig) -> None:
    """Customers who leave are not the callee's failure."""
    for _ in range(10):
        with pytest.raises(asyncio.CancelledError):
            rig.call(asyncio.CancelledError())
    assert rig.breaker.state == "closed"


def test_late_answer_does_not_close(rig: Rig) -> None:
    """A call from before the breaker opened cannot close it, nor end the probe."""
    late = rig.breaker.guard()
    late.__enter__()
    rig.fail(3)
    rig.clock.now += 2.0
    with rig.breaker.guard():
        late.__exit__(None, None, None)
        assert rig.breaker.state == "half_open"
        with pytest.raises(BreakerOpen):
            rig.call()


def test_late_failure_does_not_open_again(rig: Rig) -> None:
    """A failure of a call from before the recovery says nothing about now."""
    late = rig.breaker.guard()
    late.__enter__()
    rig.fail(3)
    rig.clock.now += 2.0
    rig.call()
    assert late.__exit__(OSError, OSError("away"), None) in {None, False}
    rig.fail(2)
    assert rig.breaker.state == "closed"


def test_timeout_inside_the_breaker_counts(lines: Lines) -> None:
    """A call that a timeout inside the guard ended is a failure."""
    breaker = CircuitBreaker("a->b", Breaker(failures=1, open_s=9.0), lines.log, Metrics())

    async def story() -> None:
        with breaker.guard():
            async with asyncio.timeout(0):
                await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        asyncio.run(story())
    assert breaker.state == "open"


@given(st.integers(0, 300), st.integers(0, 5), st.floats(0.01, 1.0))
def test_retries_stay_within_the_budget(first_tries: int, floor: int, ratio: float) -> None:
    """However calls fail, retries never exceed the floor, the ratio and the seconds' share together."""
    clock = FakeClock()
    budget = RetryBudget(ratio, floor, clock)
    retries = 0
    for _ in range(first_tries):
        clock.now += 0.01
        budget.deposit()
        retries += budget.withdraw()
    assert retries <= floor + ratio * first_tries + floor * 0.01 * first_tries / 10 + 1e-6


def test_calm_does_not_pay_for_a_storm() -> None:
    """However long it was calm, only a bounded number of retries is saved up."""
    budget = RetryBudget(0.5, 3, FakeClock())
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(1000)) == 13


def retrier(lines: Lines, policy: Retry | None) -> Retrier:
    """Return a retrier for refusals of dependencies."""
    return Retrier("a->b", policy, lines.log, Metrics(), lambda error: isinstance(error, DependencyFailed))


def failing(times: int, tries: list[int]) -> Callable[[int], Any]:
    """Return a call that fails so many times and notes its tries."""

    async def once(number: int) -> str:
        tries.append(number)
        if len(tries) <= times:
            raise DependencyFailed("away")
        return "done"

    return once


NAIVE = Retry(attempts=4, base_s=0.0, max_s=0.0, jitter=False, budget_ratio=None, budget_floor=0)


@pytest.mark.parametrize(("policy", "failures", "expected"), [(NAIVE, 3, [1, 2, 3, 4]), (NAIVE, 0, [1])])
def test_retrier_tries_until_it_works(lines: Lines, policy: Retry, failures: int, expected: list[int]) -> None:
    """It tries again after failures, numbers its tries from 1, and stops at the first success."""
    tries: list[int] = []
    assert asyncio.run(retrier(lines, policy).call(failing(failures, tries))) == "done"
    assert tries == expected


@pytest.mark.parametrize(("policy", "expected"), [(NAIVE, 4), (None, 1)])
def test_retrier_gives_up_with_the_last_failure(lines: Lines, policy: Retry | None, expected: int) -> None:
    """After the last allowed try the failure itself is raised."""
    tries: list[int] = []
    with pytest.raises(DependencyFailed):
        asyncio.run(retrier(lines, policy).call(failing(99, tries)))
    assert len(tries) == expected


def test_retrier_leaves_other_errors_alone(lines: Lines) -> None:
    """What another try cannot mend is raised at once."""
    tries: list[int] = []

    async def once(number: int) -> None:
        tries.append(number)
        raise BreakerOpen("open")

    with pytest.raises(BreakerOpen):
        asyncio.run(retrier(lines, NAIVE).call(once))
    assert tries == [1]


def test_budget_stops_retries_and_says_so(lines: Lines) -> None:
    """When the budget is exhausted first tries go on alone, and one event tells of the transition."""
    policy = NAIVE.model_copy(update={"budget_ratio": 0.1, "budget_floor": 2})
    retrying, tries = retrier(lines, policy), []

    async def story() -> None:
        for _ in range(30):
            with pytest.raises(DependencyFailed):
                await retrying.call(failing(999, tries))

    asyncio.run(story())
    assert 30 + 2 <= len(tries) <= 30 + 2 + 4
    states = [line["state"] for line in lines.read() if line["event"] == "retry_budget"]
    assert states[0] == "exhausted"


def test_gate_bounds_work_and_its_line() -> None:
    """Two run, one waits, the fourth is refused at once; the one that waited gets its turn."""

    async def story() -> list[str]:
        gate, release, told = Gate("orders", Bulkhead(running=2, waiting=1), Metrics()), asyncio.Event(), []

        async def work(name: str) -> None:
            async with gate:
                told.append(name)
                await release.wait()

        tasks = [asyncio.create_task(work(name)) for name in "abc"]
        await asyncio.sleep(0)
        with pytest.raises(Shed):
            await work("d")
        assert told == ["a", "b"]
        release.set()
        await asyncio.gather(*tasks)
        return told

    assert asyncio.run(story()) == ["a", "b", "c"]


def test_cancelled_waiter_leaves_the_line() -> None:
    """A place in the line is free again when its owner gives up."""

    async def story() -> None:
        gate = Gate("orders", Bulkhead(running=1, waiting=1), Metrics())
        async with gate:
            waiter = asyncio.create_task(gate.__aenter__())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            another = asyncio.create_task(gate.__aenter__())
            await asyncio.sleep(0)
            assert not another.done()
        await another

    asyncio.run(story())


def test_limiter_refuses_a_tenant_over_its_share(lines: Lines) -> None:
    """Each process allows its share of the rate; other tenants and requests without one are not touched."""

    async def story() -> int:
        policy = Limiter(tenant_rps=20.0, window_s=1.0, instances=2)
        limiter, refused = TenantLimiter(policy, lines.log, Metrics()), 0
        for _ in range(40):
            await limiter.admit("")
            try:
                await limiter.admit("noisy")
            except Limited:
                refused += 1
        await limiter.admit("calm")
        return refused

    assert 20 <= asyncio.run(story()) <= 30
    states = [(line["tenant"], line["state"]) for line in lines.read() if line["event"] == "limiter"]
    assert states == [("noisy", "limiting")]


def test_log_hides_secrets(lines: Lines) -> None:
    """A value whose name says that it is secret is never written."""
    lines.log.write("told", password="x", api_key="y", Authorization="z", sku="sku-1")
    line = lines.read()[0]
    assert [line[key] for key in ("password", "api_key", "Authorization", "sku")] == ["***", "***", "***", "sku-1"]


def test_log_counts_what_it_suppresses(tmp_path: Path) -> None:
    """Trouble that repeats is written a few times, then counted, and the count is told later."""
    clock = FakeClock()
    lines = Lines(tmp_path / "log", clock)
    for _ in range(50):
        lines.log.trouble("broker_away", edge="orders->nats", error="OSError")
    lines.log.trouble("broker_away", edge="orders->nats", error="TimeoutError")
    clock.now += 10.0
    lines.log.trouble("broker_away", edge="orders->nats", error="OSError")
    told = [(line["error"], line.get("suppressed")) for line in lines.read()]
    assert told == [("OSError", None)] * 5 + [("TimeoutError", None), ("OSError", 45)]


def test_log_level_is_the_least_that_is_written(lines: Lines) -> None:
    """Lines below the configured level are dropped."""
    lines.log.write("detail", "debug")
    lines.log.write("news")
    assert [line["event"] for line in lines.read()] == ["news"]
