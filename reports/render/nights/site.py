"""A static site of the whole history: an index of nights, the trend, and each run's page; any web server serves it."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reports.history import RunDirectoryError
from reports.nights import Trend
from reports.nights.records import Night, Ran
from reports.render import render as render_run
from reports.render.nights import page, write_all
from reports.render.nights.wording import headline, reason, verdict
from reports.verdict import Result

RUNS: Final = "runs"
PAGE: Final = 200  # nights of one page of the index
_ORDER: Final = {"fail": 0, "unknown": 1, "pass": 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """How one scenario ended in one night."""

    verdict: str
    link: str
    title: str


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night of the index."""

    night: Night
    when: str  # its day, with the time where the day has several
    verdict: Result
    cells: tuple[Cell, ...]
    worse: int


def write(trend: Trend, folder: Path, out: Path) -> Path:
    """Write the site, and return its first page; pages of runs that are there already stay as they are.

    Parameters
    ----------
    folder
        Where the suites' folders are; runs that are no longer there have no page.
    out
        The site's folder.

    Raises
    ------
    OSError
        The site cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    linked = {
        (night.id, one.scenario): link
        for night in trend.nights
        for one in night.ran
        if (link := _run(night, one, folder, out))
    }
    write_all(trend, out)
    reports = {scenario: link for (night, scenario), link in linked.items() if night == trend.last.id}
    (out / "trend.html").write_text(page.render(trend, "index.html", reports), encoding="utf-8")
    pages = list(_indexes(trend, linked))
    for name, text in pages:
        (out / name).write_text(text, encoding="utf-8")
    return out / pages[0][0]


def _run(night: Night, one: Ran, folder: Path, out: Path) -> str:
    """Copy or render one run's page; returns its address within the site, empty where there is none."""
    if not one.directory or not night.folder:
        return ""
    link = f"{RUNS}/{night.folder}/{one.directory}/report.html"
    source, target = folder / night.folder / one.directory, out / link
    if (out / RUNS).resolve() not in target.resolve().parents:
        return ""
    if target.exists():
        return link
    if not source.is_dir():
        return ""
    target.parent.mkdir(parents=True, exist_ok=True)
    return link if _page(source, target) else ""


def _page(source: Path, target: Path) -> bool:
    if (source / "report.html").is_file():
        shutil.copyfile(source / "report.html", target)
        return True
    try:
        target.write_text(render_run(source, "html"), encoding="utf-8")
    except RunDirectoryError:
        return False
    return True


def _indexes(trend: Trend, linked: dict[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each page of the index, from the latest nights to the first."""
    names = sorted({one.scenario for night in trend.nights for one in night.ran})
    rows = list(_rows(trend, names, linked))
    files = ["index.html", *(f"nights-{number + 1}.html" for number in range(1, -(-len(rows) // PAGE)))]
    for number, file in enumerate(files):
        text = (
            page.environment()
            .get_template("nights.html")
            .render(
                trend=trend,
                verdict=verdict(trend),
                headline=headline(trend),
                names=names,
                total=len(rows),
                rows=rows[number * PAGE : (number + 1) * PAGE],
                later=files[number - 1] if number else "",
                earlier=files[number + 1] if number + 1 < len(files) else "",
            )
        )
        yield file, text


def _rows(trend: Trend, names: list[str], linked: dict[tuple[str, str], str]) -> Iterator[NightRow]:
    nights = Counter(night.day for night in trend.nights)
    for number in range(trend.tonight, -1, -1):
        night = trend.nights[number]
        when = night.day if nights[night.day] == 1 else night.started[:16].replace("T", " ")
        worse = sum(change.found == number and change.kind == "worse" for change in trend.changes)
        ran = {one.scenario: one for one in night.ran}
        cells = tuple(_cell(ran.get(name), name, linked.get((night.id, name), "")) for name in names)
        results = [one.verdict for one in night.ran] or ["unknown"]
        result: Result = "fail" if worse else min(results, key=_ORDER.__getitem__)
        yield NightRow(night, when, result, cells, worse)


def _cell(one: Ran | None, name: str, link: str) -> Cell:
    if one is None:
        return Cell("none", "", f"{name} did not run")
    return Cell(one.verdict, link, f"{name}: pass" if one.verdict == "pass" else reason(one))
