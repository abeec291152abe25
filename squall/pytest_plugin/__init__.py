"""The pytest plugin of squall: scenarios as tests, and fixtures for resilience tests of one's own services.

Nothing of squall but `squall.pytest_plugin.kept` is imported until a test asks for a fixture, or there is a
`*.squall.yaml` file, so that test suites that use neither pay nothing for it.
"""

import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from squall.pytest_plugin import kept

if TYPE_CHECKING:
    from squall.pytest_plugin.breaking import Faults
    from squall.pytest_plugin.driving import Driver
    from squall.pytest_plugin.samples import Sample
    from squall.pytest_plugin.trial import Trial
    from squall.pytest_plugin.workshop import Service, Workshop

_ENDING = ".squall.yaml"
_PROPERTY = "squall_run"
_PACKAGES = ("scenarios", "faults", "targets", "reports")
_TRIAL = pytest.StashKey["Trial"]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of squall."""
    group = parser.getgroup("squall", "resilience tests with squall")
    group.addoption("--squall-runs", metavar="DIR", help="Folder for run directories; default runs/ below the root.")
    group.addoption(
        "--squall-keep",
        choices=("failed", "all"),
        default="failed",
        help="Run directories that stay: of tests that did not pass (the default), or all.",
    )
    group.addoption(
        "--squall-side-by-side",
        action="store_true",
        help="Let workers measure at the same time; else they wait for each other, not to disturb each other.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and choose the session's folder."""
    config.addinivalue_line("markers", "squall(variant): protections of the fixtures `mesh` and `stub` in this test")
    config.stash[kept.KEY] = kept.Kept(
        folder=kept.session_folder(config),
        everything=config.getoption("squall_keep") == "all",
        alone=not config.getoption("squall_side_by_side"),
        own=not config.getoption("squall_runs"),
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every worker of pytest-xdist the session's folder."""
    node.workerinput["squall_runs"] = str(node.config.stash[kept.KEY].folder)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `*.squall.yaml`."""
    if not file_path.name.endswith(_ENDING):
        return None
    _require_own_packages()
    from squall.pytest_plugin.files import ScenarioFile  # noqa: PLC0415 - only where there is such a file

    return ScenarioFile.from_parent(parent, path=file_path)


@pytest.fixture(scope="session")
def _squall_workshop(request: pytest.FixtureRequest) -> "Iterator[Workshop]":
    """Make what tests of this process share."""
    _require_own_packages()
    from squall.pytest_plugin.workshop import Workshop  # noqa: PLC0415 - only for tests that ask for it

    with Workshop(_sayer(request.config), alone=request.config.stash[kept.KEY].alone) as workshop:
        yield workshop


@pytest.fixture
def _squall_trial(request: pytest.FixtureRequest, _squall_workshop: "Workshop") -> "Iterator[Trial]":
    """Make what the fixtures of one test share."""
    from squall.pytest_plugin.trial import Trial, clock_of  # noqa: PLC0415 - only for tests that ask for it

    workshop, item = _squall_workshop, request.node
    trial = Trial(
        name=item.nodeid,
        text=_source(item),
        folder=request.config.stash[kept.KEY].folder_of(item.nodeid),
        clock=clock_of(workshop.bench.origin),
        targets=[workshop.tested],
        logs={name: (path, path.stat().st_size if path.exists() else 0) for name, path in workshop.tested.logs()},
    )
    item.stash[_TRIAL] = workshop.trial = trial
    yield trial
    workshop.trial = None
    if trial.forgotten:
        pytest.fail(f"made and never entered: {'; '.join(trial.forgotten)}; write `with fault...:`", pytrace=False)


@pytest.fixture(scope="session")
def edge(_squall_workshop: "Workshop") -> "Callable[..., Any]":
    """Put a Toxiproxy in front of an address: `edge("shop->stock", "127.0.0.1:8001")` returns where it listens.

    `protocol` (http, postgres, valkey, nats, tls, tcp) says how canaries speak there, `probe` which path they ask for.
    """
    return _squall_workshop.edge


@pytest.fixture(scope="session")
def service(_squall_workshop: "Workshop") -> "Callable[..., Service]":
    """Start a process of one's own: `service("shop", "uvicorn", "shop:app", "--port", "{port}", env={...})`.

    `env` is added to the environment, `ready` is a path that is answered with 200 once it serves, `cwd` its folder,
    `port` its port instead of a free one, `within` the seconds that it may take.
    """

    def start(name: str, *argv: Any, **options: Any) -> "Service":
        return _squall_workshop.service(name, argv, options)

    return start


@pytest.fixture
def fault(_squall_workshop: "Workshop", _squall_trial: "Trial") -> "Faults":
    """Break something: `with fault.latency("shop->stock", delay="400ms"):`, one method for each kind of fault."""
    from squall.pytest_plugin.breaking import Faults  # noqa: PLC0415 - only for tests that ask for it

    return Faults(_squall_workshop, _squall_trial)


@pytest.fixture
def traffic(_squall_workshop: "Workshop", _squall_trial: "Trial") -> "Driver":
    """Drive load: `with traffic("GET /items/7", to=shop, rate="60/s", lasts="12s") as load:`."""
    from squall.pytest_plugin.driving import Driver  # noqa: PLC0415 - only for tests that ask for it

    return Driver(_squall_workshop, _squall_trial)


@pytest.fixture
def mesh(request: pytest.FixtureRequest, _squall_workshop: "Workshop", _squall_trial: "Trial") -> "Iterator[Sample]":
    """Bring the sample mesh up with the variant of the test's marker, or of an indirect parameter."""
    yield from _sample("mesh", request, _squall_workshop, _squall_trial)


@pytest.fixture
def stub(request: pytest.FixtureRequest, _squall_workshop: "Workshop", _squall_trial: "Trial") -> "Iterator[Sample]":
    """Bring the stub up, a service whose truth is known, with the variant of the test's marker or parameter."""
    yield from _sample("stub", request, _squall_workshop, _squall_trial)


def _sample(name: str, request: pytest.FixtureRequest, workshop: "Workshop", trial: "Trial") -> "Iterator[Sample]":
    from squall.pytest_plugin.samples import Sample  # noqa: PLC0415 - only for tests that ask for it

    marker = request.node.get_closest_marker("squall")
    variant = getattr(request, "param", None) or (marker.kwargs.get("variant") if marker else None)
    target = workshop.stand(name, variant)
    trial.targets.append(target)
    yield Sample(target)
    if trial.tainted:
        workshop.drop(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the runs of a test that did not pass, with their reports, and say where they are."""
    report = yield
    trial = item.stash.get(_TRIAL, None)
    directories: list[Path] = trial.directories if trial else getattr(item, "directories", [])
    if report.failed:
        item.stash[_FAILED] = True
        if trial is not None:
            _add_sections(report, trial)
    if call.when == "teardown":
        passed = not item.stash.get(_FAILED, False)
        for path in item.config.stash[kept.KEY].settle(directories, passed=passed):
            _render(path)
            report.user_properties.append((_PROPERTY, str(path)))
    elif report.failed and directories:
        report.sections.append(("squall", "\n".join(f"run kept in {path}" for path in directories)))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which runs were kept."""
    every = [report for group in terminalreporter.stats.values() for report in group]
    reports = [report for report in every if hasattr(report, "user_properties")]
    found = {value: None for report in reports for name, value in report.user_properties if name == _PROPERTY}
    if found:
        terminalreporter.section("squall: runs that were kept")
        for path in found:
            terminalreporter.write_line(path)


def _add_sections(report: pytest.TestReport, trial: "Trial") -> None:
    story = trial.story()
    if story:
        report.sections.append(("squall: what happened", story))
    report.sections += [(f"squall: log of {name}", tail) for name, tail in trial.said_by_services().items()]


def _render(directory: Path) -> None:
    """Write the verdict and the reports of a run, unless that was done."""
    from reports import judge  # noqa: PLC0415 - only where a run is kept
    from reports.render import write_all  # noqa: PLC0415 - likewise

    if not (directory / "verdict.json").exists():
        judge.write(directory, judge.judge(directory))
        write_all(directory)


def _source(item: pytest.Item) -> str:
    try:
        return inspect.getsource(item.function)  # type: ignore[attr-defined]  # what has fixtures has a function
    except (AttributeError, OSError, TypeError):
        return ""


def _sayer(config: pytest.Config) -> Callable[[str], None]:
    """Return what tells the person something while the tests' output is captured."""

    def say(text: str) -> None:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            print(f"squall: {text}", file=sys.stderr)
            return
        with capture.global_and_fixture_disabled():
            print(f"squall: {text}", file=sys.stderr)

    return say


def _require_own_packages() -> None:
    """Refuse a folder of the person's that hides a package of squall: it would be imported instead."""
    import squall  # noqa: PLC0415 - to learn where it lies

    home = Path(squall.__file__).parents[1]
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).parents[1] != home:
            where = spec.origin if spec is not None else None
            raise pytest.UsageError(
                f"{where or name} hides squall's own package {name}: rename it, or run pytest with "
                f"--import-mode=importlib from another folder"
            )
