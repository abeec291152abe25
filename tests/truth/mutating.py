"""How `mutants` tries many changes quickly: tests are collected once, and every change meets them in a fork of its own.

`quick` collects the tests, notes which functions of the analyses each one enters, and then forks once a change: the
fork swaps the code of the changed function, and runs the tests that enter it until one fails: no other can notice. What
cannot be tried so, a number outside of functions, `fresh` tries from the beginning: a fork that has imported nothing of
squall yet imports the changed module, and runs all tests. Tests that need real processes are left out.
"""

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[2]
ANALYSES = ROOT / "reports" / "analyses"
AT_ONCE = os.cpu_count() or 1
MOST_BYTES = 12 << 30  # a change may make a table endless
ENDLESS, BROKEN, UNTRIED = "it never ended", "it could not be imported", "?"
OPTIONS = ["-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-m", "not e2e", "--rootdir", str(ROOT)]

Key = TypeVar("Key")
Entered = tuple[str, int]  # a function of an analysis: its module, and the line where it begins
Held = dict[tuple[str, CodeType], list[FunctionType]]


@dataclass(frozen=True, slots=True)
class Change:
    """A module's text with one number changed; `function` is where the outermost function about it begins."""

    module: str  # reports.analyses.limit
    path: Path
    text: str
    function: int | None  # None: outside of functions


@dataclass(slots=True)
class Known:
    """What is known of the tests: seconds and functions of each, and which one noticed something last."""

    took: dict[str, float] = field(default_factory=dict)
    entered: dict[str, set[Entered]] = field(default_factory=dict)
    noticed: list[str] = field(default_factory=list)  # the latest is the last

    def order(self, change: Change) -> list[str]:
        """Return the tests that enter the change's function.

        Those that noticed the last changes come first, then one case of each test, the fastest first.
        """
        recent = {name: index for index, name in enumerate(self.noticed)}
        reached = [name for name, entered in self.entered.items() if self._reaches(entered, change)]
        cases, rank = Counter[str](), dict[str, int]()
        for name in sorted(reached, key=lambda name: self.took[name]):
            test = name.partition("[")[0]
            rank[name] = cases[test]
            cases[test] += 1
        return sorted(reached, key=lambda name: (-recent.get(name, -1), rank[name], self.took[name]))

    def _reaches(self, entered: set[Entered], change: Change) -> bool:
        if change.function is None:
            return any(module == change.module for module, _ in entered)
        return (change.module, change.function) in entered

    def all_in_order(self, change: Change) -> list[str]:
        """Return all tests, those that enter the function first."""
        first = self.order(change)
        return first + sorted(set(self.took) - set(first), key=lambda name: self.took[name])

    @property
    def patience_s(self) -> int:
        """Seconds of processor time after which a change never ends."""
        return round(20 + 5 * sum(self.took.values()))


def quick(tests: Sequence[Path], changes: Sequence[Change], say: Callable[[int, str], None]) -> tuple[Known, list[str]]:
    """Return what is known of the tests, and which one noticed each change: "" none, `UNTRIED` is left to `fresh`."""
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        pid = os.fork()
        if not pid:
            _end_with(lambda: _run(tests, _Campaign(changes, say, path)))
        os.waitpid(pid, 0)
        if not path.stat().st_size:
            raise SystemExit("the tests do not pass without a change, or cannot be collected: run them first")
        told = json.loads(path.read_text())
    entered = {name: {(module, line) for module, line in calls} for name, calls in told["entered"].items()}
    return Known(told["took"], entered, told["last"]), told["noticed"]


def fresh(tests: Sequence[Path], changes: Iterable[tuple[int, Change]], known: Known) -> Iterator[tuple[int, str]]:
    """Yield each change's index and the test that noticed it, "" for none."""

    def works() -> Iterator[tuple[int, Callable[[], str]]]:
        for index, change in changes:
            order, patience = known.all_in_order(change), known.patience_s
            yield index, lambda change=change, order=order, patience=patience: _afresh(tests, change, order, patience)

    for index, test in in_forks(works()):
        if test in known.took:
            known.noticed.append(test)
        yield index, test


def in_forks(works: Iterator[tuple[Key, Callable[[], str]]]) -> Iterator[tuple[Key, str]]:
    """Run each work in a fork, some at once, and yield what it returned; `ENDLESS` where the fork had to be ended."""
    running: dict[int, tuple[Key, int]] = {}
    while True:
        for key, work in itertools.islice(works, AT_ONCE - len(running)):
            pid, out = _fork(work)
            running[pid] = key, out
        if not running:
            return
        pid, status = os.wait()
        key, out = running.pop(pid)
        with os.fdopen(out) as said:
            text = said.read()
        yield key, ENDLESS if os.WIFSIGNALED(status) else text


def _fork(work: Callable[[], str]) -> tuple[int, int]:
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        _end_with(lambda: os.write(into, work().encode()))
    os.close(into)
    return pid, out


def _end_with(work: Callable[[], object]) -> None:
    """Do the work of a fork in silence, and end it; an error of the work itself is said."""
    voice, silence = os.dup(2), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silence, stream)
    try:
        work()
    except BaseException:  # noqa: BLE001 - a fork must not go on as if it were its parent
        os.write(voice, traceback.format_exc().encode())
    os._exit(0)


def _bound(patience_s: int) -> None:
    """End this fork when it takes too much: processor time, because others may use the machine too."""
    signal.setitimer(signal.ITIMER_PROF, patience_s)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def _run(tests: Sequence[Path], plugin: object) -> int:
    return int(pytest.main([*OPTIONS, *map(str, tests)], plugins=[plugin]))


def _first_failing(session: pytest.Session, names: Sequence[str]) -> str:
    """Run tests by their names, and return the first that fails."""
    items = {item.nodeid: item for item in session.items}
    wanted = [items[name] for name in names]
    for item, after in zip(wanted, [*wanted[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return item.nodeid
    return ""


class _Tests:
    """A plugin that runs the tests in its own way; those that need real processes are skipped."""

    def pytest_collection_finish(self) -> None:
        rig = sys.modules.get("rig")
        if rig is not None:
            rig._play = lambda _case: pytest.skip("needs real processes")


class _Afresh(_Tests):
    def __init__(self, order: Sequence[str], patience_s: int) -> None:
        self._order, self._patience_s = order, patience_s
        self.noticed = BROKEN

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not session.testsfailed:
            _bound(self._patience_s)
            self.noticed = _first_failing(session, self._order)
        return True


def _afresh(tests: Sequence[Path], change: Change, order: Sequence[str], patience_s: int) -> str:
    plugin = _Afresh(order, patience_s)
    sys.meta_path.insert(0, _Changed(change))
    _run(tests, plugin)
    return plugin.noticed


class _Campaign(_Tests):
    """Collects once, learns what each test enters, and forks for each change."""

    def __init__(self, changes: Sequence[Change], say: Callable[[int, str], None], path: Path) -> None:
        self._changes, self._say, self._path = changes, say, path
        self._known = Known()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._learn(session)
        noticed, held = [UNTRIED] * len(self._changes), _held()
        gc.freeze()  # or each fork's own collections copy all that is here
        for index, test in in_forks(self._works(session, held)):
            noticed[index] = test
            if test != UNTRIED:
                self._say(index, test)
            if test in self._known.took:
                self._known.noticed.append(test)
        entered = {name: sorted(calls) for name, calls in self._known.entered.items()}
        told = {"took": self._known.took, "entered": entered, "noticed": noticed, "last": self._known.noticed}
        self._path.write_text(json.dumps(told))
        return True

    def _learn(self, session: pytest.Session) -> None:
        """Run all tests once, each in its own time; a failing one leaves the file empty."""
        with tempfile.TemporaryDirectory() as folder:
            parts = {Path(folder) / str(part): session.items[part::AT_ONCE] for part in range(AT_ONCE)}

            def work(path: Path, items: Sequence[pytest.Item]) -> str:
                path.write_text(json.dumps([_traced(session, item) for item in items]))
                return "failed" if session.testsfailed else "passed"

            works = ((path, lambda path=path, items=items: work(path, items)) for path, items in parts.items())
            if {result for _, result in in_forks(works)} != {"passed"}:
                raise pytest.UsageError("failed")
            learned = [one for path in parts for one in json.loads(path.read_text())]
        for name, took, skipped, calls in learned:
            if calls and not skipped:
                self._known.took[name] = took
                self._known.entered[name] = {(module, line) for module, line in calls}

    def _works(self, session: pytest.Session, held: Held) -> Iterator[tuple[int, Callable[[], str]]]:
        for index, change in enumerate(self._changes):
            order, patience = self._known.order(change), self._known.patience_s
            if change.function is not None:
                yield (
                    index,
                    lambda change=change, order=order, patience=patience: _swapped(
                        session, change, held, order, patience
                    ),
                )


def _traced(session: pytest.Session, item: pytest.Item) -> tuple[str, float, bool, list[Entered]]:
    """Run one test; returns its name, seconds, whether it was skipped, and what it entered."""
    folder, seen, skips = f"{ANALYSES}{os.sep}", set[Entered](), []

    def note(frame, _event, _argument):
        code = frame.f_code
        if code.co_filename.startswith(folder):
            seen.add((f"reports.analyses.{Path(code.co_filename).stem}", code.co_firstlineno))

    class Watch:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            skips.extend([report.skipped] if report.skipped else [])

    watch, began = Watch(), time.process_time()
    session.config.pluginmanager.register(watch)
    sys.settrace(note)
    session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    sys.settrace(None)
    session.config.pluginmanager.unregister(watch)
    return item.nodeid, time.process_time() - began, bool(skips), sorted(seen)


def _held() -> Held:
    """Return the functions of the analyses by their module and code, wherever they are held."""
    found: Held = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and str(one.__module__).startswith("reports.analyses."):
            found.setdefault((one.__module__, one.__code__), []).append(one)
    return found


def _swapped(session: pytest.Session, change: Change, held: Held, order: Sequence[str], patience_s: int) -> str:
    """Put the changed code of one function in place of its own, wherever it is held, and run the tests."""
    old_code = _function(compile(change.path.read_text(), str(change.path), "exec", dont_inherit=True), change.function)
    new_code = _function(compile(change.text, str(change.path), "exec", dont_inherit=True), change.function)
    holders = held.get((change.module, old_code), [])
    for one in holders:
        one.__code__ = new_code
    _bound(patience_s)
    return _first_failing(session, order) if holders else UNTRIED


def _function(code: CodeType, line: int | None) -> CodeType:
    """Return the outermost function that begins at a line of a module."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    here = [one for one in inner if one.co_firstlineno == line and one.co_flags & 0x2]  # CO_NEWLOCALS: no class
    return here[0] if here else _function(next(one for one in inner if _holds(one, line)), line)


def _holds(code: CodeType, line: int | None) -> bool:
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return any(one.co_firstlineno == line or _holds(one, line) for one in inner)


class _Changed(importlib.abc.MetaPathFinder):
    """Finds the changed module, whatever lies in its file."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(self, name, _path=None, _target=None):
        if name != self._change.module:
            return None
        return importlib.util.spec_from_file_location(name, self._change.path, loader=_Loader(self._change))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, change: Change) -> None:
        super().__init__(change.module, str(change.path))
        self._change = change

    def get_code(self, _name) -> CodeType:
        return compile(self._change.text, str(self._change.path), "exec", dont_inherit=True)
