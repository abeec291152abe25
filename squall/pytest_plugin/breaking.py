"""The fixture `fault`: squall's own faults as context managers, felt on entry, gone on exit."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import anyio
from pydantic import ValidationError

from faults.base import Fault
from faults.catalogue import load as load_faults
from scenarios.plan import FaultStep
from scenarios.problems import candidates
from squall.canaries import Watch
from squall.pytest_plugin.trial import Done, Trial, Unknown
from squall.pytest_plugin.workshop import Workshop, explained
from targets.base import Target, TargetError

SOON: Final = 0.25  # seconds to the fault; from 0.3 s before it canaries come fast, so calm is known by then
CALM: Final = 5  # calm canaries on every link before a fault is done
CALM_WITHIN: Final = 3.0  # seconds for them
FELT_WITHIN: Final = 4.0  # seconds for canaries to feel it, besides the time that one of them waits
FOREVER: Final = 1e9  # seconds: the test says when a fault ends


class Faults:
    """What a test breaks things with: `fault.latency("shop->stock", delay="400ms")`, one method for each kind."""

    def __init__(self, workshop: Workshop, trial: Trial) -> None:
        self._workshop, self._trial = workshop, trial

    def __getattr__(self, kind: str) -> Callable[..., "Breaking"]:
        """Return what makes faults of a kind; the edge or node comes first, its parameters by name."""
        if kind.startswith("__"):
            raise AttributeError(kind)
        known = load_faults()
        if kind not in known:
            near = candidates(kind, sorted(known))
            raise AttributeError(
                f"there is no fault {kind}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}")
            )

        def make(where: str | None = None, /, **parameters: Any) -> Breaking:
            place = {} if where is None else {"node" if "node" in known[kind].model_fields else "edge": where}
            return self._made(known[kind], {**place, **parameters})

        return make

    def _made(self, kind: type[Fault], parameters: Mapping[str, Any]) -> "Breaking":
        try:
            fault = kind.model_validate(dict(parameters))
        except ValidationError as error:
            raise ValueError("\n".join(_line(kind, detail) for detail in error.errors())) from None
        return Breaking(self._workshop, self._trial, fault, self._target(fault))

    def _target(self, fault: Fault) -> Target:
        """Return the target that has the place; raises ValueError with the nearest known one."""
        for target in reversed(self._trial.targets):
            if fault.links(target.map):
                return _able(fault, target)
        known = sorted({name for target in self._trial.targets for name in _names(fault, target)})
        near = candidates(fault.where, known)
        what = "node" if fault.level == "node" else "edge"
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"
        raise ValueError(f"unknown {what} {fault.where}; {hint}")


def _names(fault: Fault, target: Target) -> list[str]:
    if fault.level == "node":
        return [node.name for node in target.map.nodes]
    return [name for edge in target.map.edges for name in (edge.name, *(link.name for link in edge.links))]


def _able(fault: Fault, target: Target) -> Target:
    if fault.needs and fault.needs not in target.map.capabilities:
        raise ValueError(f"{fault.kind} needs a target that is {fault.needs}; {target.map.name} is not")
    why = fault.unfit(target.map)
    if why:
        raise ValueError(f"{fault.kind} on {fault.where}: {why}")
    return target


def _line(kind: type[Fault], detail: Any) -> str:
    where = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = candidates(where, sorted(kind.model_fields))
        known = ", ".join(kind.model_fields)
        return f"{kind.kind} has no {where}; " + (f"did you mean {near[0]}?" if near else f"it has {known}")
    said = detail["msg"].removeprefix("Value error, ")
    return f"{kind.kind}: {where}: {said}" if where else f"{kind.kind}: {said}"


@dataclass
class Breaking:
    """One fault. Entering it does it and waits until canaries felt it, leaving it undoes it and waits for calm."""

    workshop: Workshop
    trial: Trial
    fault: Fault
    target: Target
    _within: AbstractContextManager[Done] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.trial.forgotten.append(self.fault.text())

    def __enter__(self) -> Self:
        __tracebackhide__ = True
        if self._within is not None:
            raise RuntimeError(f"{self.fault.text()} is entered twice; make another one")
        self.trial.forgotten.remove(self.fault.text())
        self._within = self.workshop.portal.wrap_async_context_manager(_broken(self))
        try:
            self._within.__enter__()
        except TargetError as error:
            self.trial.tainted = True
            raise Unknown(f"{self.fault.text()} could not be done: {explained(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        assert self._within is not None
        try:
            self._within.__exit__(None, None, None)
        except TargetError as failure:
            self.trial.tainted = True
            if error is None:
                raise Unknown(explained(failure)) from failure
            error.add_note(explained(failure))
        except Unknown as unknown:
            if error is None:
                raise
            error.add_note(f"unknown: {unknown}")

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await anyio.to_thread.run_sync(self.__exit__, kind, error, trace)


@asynccontextmanager
async def _broken(breaking: Breaking) -> AsyncIterator[Done]:
    """Do one fault with canaries around it, for as long as the test wants."""
    trial, fault, target, clock = breaking.trial, breaking.fault, breaking.target, breaking.trial.clock
    links = tuple(link.name for link in fault.links(target.map))
    done = Done(len(trial.faults), fault, links)
    trial.faults.append(done)
    heard = _Heard(trial, done)
    step = FaultStep(done.index, clock.now() + SOON, FOREVER, "fault", fault, links)
    try:
        async with Watch(step, target, clock, heard.emit, load_start=0.0) as watch:
            await fault.prepare(target)
            await heard.calm(step.at)
            done.asked = clock.now()
            heard.say("asked")
            watch.asked(done.asked)
            async with fault.apply(target, breaking.workshop.bench.journal):
                heard.say("applied")
                try:
                    await heard.felt()
                    yield done
                finally:
                    done.undo_asked = clock.now()
                    heard.say("undo_asked")
                    watch.undo_asked(done.undo_asked)
            heard.say("undone")
    except BaseExceptionGroup as group:
        error = leaf(group)
        heard.say("failed" if isinstance(error, TargetError) else "not_felt", str(error))
        raise error from group
    heard.judge()


@dataclass
class _Heard:
    """What canaries said about one fault, waited for."""

    trial: Trial
    done: Done
    counted: dict[str, int] = field(default_factory=dict)  # link -> canaries that came back well

    def emit(self, event: Mapping[str, Any]) -> None:
        self.trial.emit(event)
        if event["kind"] == "canary" and event["result"] == "ok":
            self.counted[event["link"]] = self.counted.get(event["link"], 0) + 1
        elif event["kind"] == "fault":
            self.done.states.setdefault(event["state"], set()).add(event["link"])

    def say(self, state: str, detail: str = "") -> None:
        fault = self.done.fault
        told = {"index": self.done.index, "fault": fault.kind, "where": fault.where}
        self.trial.emit({"kind": "fault", **told, "state": state, "detail": detail})

    async def calm(self, at: float) -> None:
        """Return when every link has been seen calm and the time has come; a link that never is shows as not felt."""
        with anyio.move_on_after(CALM_WITHIN):
            while not all(self.counted.get(link, 0) >= CALM for link in self.done.links):  # noqa: ASYNC110 - see below
                await anyio.sleep(0.01)
        await self.trial.clock.sleep_until(at)

    async def felt(self) -> None:
        """Return when every link felt it; raises `Unknown` when none does in time."""
        patience = FELT_WITHIN + self.done.fault.probe_timeout
        with anyio.move_on_after(patience):
            while not set(self.done.links) <= self.done.states.get("felt", set()):  # noqa: ASYNC110 - looked at rarely enough
                await anyio.sleep(0.005)
            return
        missing = sorted(set(self.done.links) - self.done.states.get("felt", set()))
        raise Unknown(f"{self.done.fault.text()} was not felt on {', '.join(missing)}{self._why()}")

    def _why(self) -> str:
        silent = [link for link in self.done.links if self.counted.get(link, 0) < CALM]
        if not silent:
            return f": no canary differed from calm within {FELT_WITHIN:g} s"
        return f": canaries got no good answer on {', '.join(silent)} before it; is `probe` a path that is answered?"

    def judge(self) -> None:
        """Raise `Unknown` when the fault was still felt after its undo."""
        stuck = self.done.states.get("not_healed")
        if stuck:
            self.trial.tainted = True
            raise Unknown(f"{self.done.fault.text()} was still felt on {', '.join(sorted(stuck))} after its undo")


def leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error of a group that says most: a failed undo, else the first."""
    errors = leaves(group)
    return next((error for error in errors if isinstance(error, TargetError)), errors[0])


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return all errors of a group."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
