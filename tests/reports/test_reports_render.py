"""Every format, on whole runs, on damaged ones and on hostile texts; golden files for each.

`SQUALL_UPDATE_GOLDEN=1 pytest tests/reports/test_reports_render.py` writes the golden files anew.
"""

import json
import os
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from made_analyses import MADE, SILENT

from reports import analyses, judge
from reports.fake import write_run
from reports.history import RunDirectoryError
from reports.metrics import _section
from reports.render import FILES, FORMATS, render, write_all
from reports.render.tables import worst
from reports.story import PAYMENTS_SLOW, UNPROTECTED, FakeFault
from reports.verdict import CheckRow, ControlRow, ValidityRow, Verdict

GOLDEN = Path(__file__).parents[1] / "golden"
SUFFIX = {"text": "txt", "html": "html", "junit": "xml", "markdown": "md", "json": "json"}

SLIP = ValidityRow("V1", "schedule slip p99", "pass", 0.0021, 0.005, "s")
UNFELT = ValidityRow("V3", "injection latency", "fail", None, 1.0, "s", "no canary felt it")
QUICK = CheckRow("p99 of checkout < 400ms during fault", "pass", 0.301, 0.4, "s", 626)
SLOW = CheckRow("p99 of checkout < 400ms during fault", "fail", 0.935, 0.4, "s", 626)
OPENS = CheckRow("breaker of orders->payments opens within 5s of fault", "unknown", None, 5.0, "s", 0, "too short")
METRICS = {
    "phases": {
        "fault": {
            "start": 19.231,
            "end": 39.242,
            "requests": 2441,
            "availability": 0.744,
            "goodput": 90.8,
            "outcomes": {"ok": 1816, "breaker_open": 588, "timeout": 37},
            "latency": {"p50": 0.0039, "p95": 0.0078, "p99": 0.3, "good_p99": None},
            "operations": {"checkout": {"requests": 626, "availability": 0.0016, "latency": {"p50": 0.0023}}},
        }
    },
    "edges": {"orders->payments": {"fault": {"attempts": 38, "logical": 626, "amplification": 0.0607}}},
    "recovery": {"time_to_recover_s": 1.2, "loss_area_s": 5.11, "retention": 0.74, "operations": {}},
    "retries": {"edges": {"orders->payments": {"retries": 12, "requests": 10, "saved": 3, "efficiency": 0.25}}},
    "breakers": {"orders->payments": {"opens": 10, "ejections": 0, "first_open_s": 0.8, "open_s": 19.0}},
    "limits": {"tenants": {"noisy": {"requests": 400, "limited": 300}}},
    "analyses": {one.key: _section(one.analyse(SimpleNamespace(load_start=0.0))) for one in (MADE, SILENT)},
}
PASS = Verdict("pass", (SLIP,), (QUICK,), ControlRow("none", "fail", (QUICK.expect,)), METRICS, (), 0)
FAIL = Verdict("fail", (SLIP,), (QUICK, SLOW), ControlRow("none", "fail", (QUICK.expect,)), METRICS, (), 1)
UNKNOWN = Verdict(
    "unknown",
    (SLIP, UNFELT),
    (QUICK, OPENS),
    ControlRow("none", "pass", (), "it passes too"),
    METRICS,
    ("V3: unfelt",),
    2,
)
VERDICTS = {"pass": PASS, "fail": FAIL, "unknown": UNKNOWN}
HOSTILE = "<script>alert(1)</script> \x1b[31m\x07 ]]> | `x` & </style>"


@pytest.fixture(scope="module", autouse=True)
def made():
    """Let made-up analyses stand for the real ones, so that these tests know what is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyses, "ALL", (MADE, SILENT))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a whole run with a control, judged by nobody yet."""
    return write_run(tmp_path_factory.mktemp("render") / "run")


@pytest.fixture
def judged(run):
    """Write a known verdict into the run, and take it away again."""

    def write(verdict):
        judge.write(run, verdict)
        judge.write(run / "control", FAIL)
        return run

    yield write
    (run / "verdict.json").unlink(missing_ok=True)
    (run / "control" / "verdict.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pages(run):
    """Return the pages of two known verdicts."""
    found = {}
    for verdict in (PASS, UNKNOWN):
        judge.write(run, verdict)
        judge.write(run / "control", FAIL)
        found[verdict.verdict] = render(run, "html")
    for directory in (run, run / "control"):
        (directory / "verdict.json").unlink()
    return found


def without_drawings(page):
    """Replace what the chart library and the style sheet say, which other tests look at."""
    bare = re.sub(r"(<svg [^>]*>(?:<title>.*?</title>)?).*?</svg>", r"\1</svg>", page, flags=re.DOTALL)
    return re.sub(r"<style>.*?</style>", "<style></style>", bare, flags=re.DOTALL)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("style", ["text", "junit", "markdown"])
def test_golden(judged, verdict, style):
    """A known verdict on a known run renders to the golden file, byte for byte."""
    compare(f"{verdict}.{SUFFIX[style]}", render(judged(VERDICTS[verdict]), style))


def test_golden_page(pages):
    """The page's words and structure are those of the golden file."""
    compare("pass.html", without_drawings(pages["pass"]))


def compare(name, text):
    """Compare with a golden file, or write it when asked to."""
    path = GOLDEN / f"report-{name}"
    if os.environ.get("SQUALL_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} differs; SQUALL_UPDATE_GOLDEN=1 writes it anew"


def test_json_is_the_verdict_file(judged):
    """JSON is what stands in verdict.json, byte for byte."""
    directory = judged(FAIL)
    assert render(directory, "json") == (directory / "verdict.json").read_text(encoding="utf-8")


def test_unjudged_run_is_judged(run):
    """A directory without verdict.json is judged on the way."""
    assert json.loads(render(run, "json"))["verdict"] in {"pass", "fail", "unknown"}


def test_damaged_verdict_is_judged_anew(judged):
    """A verdict.json that is cut counts for nothing."""
    directory = judged(PASS)
    (directory / "verdict.json").write_text('{"verdict": "pa')
    assert json.loads(render(directory, "json"))["validity"][0]["id"] == "V1"


def test_page_stands_alone(pages):
    """The page asks for nothing over the network, runs no script, and stays below 600 kB."""
    page = pages["pass"]
    assert len(page.encode()) < 600_000
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<script|<link|<img|<iframe|@import|\son\w+=|javascript:|url\((?!#)", page)


def test_page_has_all_charts_for_both_sides(pages):
    """Each kind of chart is drawn wide and narrow for the run, and for the control where it has something to show."""
    page = pages["pass"]
    titles = re.findall(r'role="img"><title>(.*?)</title>', page)
    kinds = ["phases and faults", "Requests a second", "Latency", "Attempts for each", "Breakers, limits"]
    mine = [title for title in titles if "this run" in title]
    assert [sum(title.startswith(kind) for title in mine) for kind in kinds] == [2] * 5
    assert "No breaker, limiter, retry budget or node changed its state." in page


def test_drawings_obey_the_page(pages):
    """No colour in a drawing is fixed, no sentinel is left, and no id stands twice."""
    page = pages["pass"]
    drawings = "".join(re.findall(r"<svg xmlns.*?</svg>", page, flags=re.DOTALL))
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', drawings)) - {"none", "transparent"} <= set(
        re.findall(r"var\(--c-\w+\)", drawings)
    )
    assert "#fa" not in drawings
    identities = re.findall(r'\sid="([^"]*)"', page)
    assert sorted(set(identities)) == sorted(identities)


def test_page_structure(pages):
    """Tables have captions and scopes, headings do not skip a level, and every link on the page leads somewhere."""
    page = pages["unknown"]
    assert page.count("<table>") == page.count("<caption>") > 5
    assert not re.search(r"<th(?! scope)[ >]", page)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


def test_unknown_looks_like_neither_pass_nor_fail(pages, judged):
    """Unknown has its own word, icon and reasons, in every format."""
    page, directory = pages["unknown"], judged(UNKNOWN)
    text, markdown = (render(directory, style) for style in ("text", "markdown"))
    assert "Unknown is not a pass" in page
    assert 'class="badge unknown big"' in page
    assert text.startswith("? UNKNOWN  payments-slow")
    assert markdown.startswith("## ? payments-slow unknown (not a pass)")


def test_junit_counts(judged):
    """A failure is a failure, unknown is an error, and the counts add up."""
    root = ET.fromstring(render(judged(UNKNOWN), "junit"))
    suite = root[0]
    found = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error")}
    assert found == {"failure": 1, "error": 3}
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "1", "3")
    assert root.get("errors") == "3"


def test_text_fits_a_terminal(judged):
    """The text has at most 60 lines of 110 columns, and escape sequences only when asked for."""
    plain = render(judged(UNKNOWN), "text")
    lines = plain.splitlines()
    assert (len(lines) <= 60, max(map(len, lines)) <= 110, "\x1b" in plain) == (True, True, False)
    assert "\x1b[" in render(judged(UNKNOWN), "text", color=True)


def test_worst_first(judged):
    """Failures stand above passes."""
    text = render(judged(FAIL), "text")
    assert text.index("✗ fail  p99") < text.index("✓ pass  p99")
    assert worst([]) == "unknown"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Write a run whose author means harm."""
    fault = replace(FakeFault(), text=HOSTILE, where=HOSTILE)
    story = replace(PAYMENTS_SLOW, name=HOSTILE[:40], about=HOSTILE[:60], teaches="</section>", faults=(fault,))
    directory = write_run(tmp_path_factory.mktemp("hostile") / "run", story=story, control=None)
    rows = (replace(SLOW, expect=HOSTILE[:60], why="]]> <b>\x00"), QUICK)
    judge.write(directory, Verdict("fail", (replace(SLIP, why="<i>"),), rows, None, METRICS, ("<u>",), 1))
    return directory


def test_hostile_page(hostile):
    """Nothing in a scenario becomes markup of the page."""
    page = render(hostile, "html")
    assert not re.search(r"<script|<b>\x00|<u>|<i>\W|</section></p>", page)
    assert page.count("<style>") == page.count("</style>") == 1
    assert "&lt;script&gt;alert(1)" in page


def test_hostile_junit_is_well_formed(hostile):
    """Characters that XML forbids are replaced."""
    assert ET.fromstring(render(hostile, "junit")).tag == "testsuites"


def test_hostile_text_cannot_command_the_terminal(hostile):
    """Control characters never reach a terminal."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", render(hostile, "text"))


def test_hostile_markdown_stays_in_its_cells(hostile):
    """Pipes, backticks and tags are escaped, so that every row of a table has the same number of cells."""
    text = render(hostile, "markdown")
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]}
    assert len(counts) == 1


DAMAGES = {
    "only the header": ("run.json",),
    "no header": ("events.jsonl", "requests.arrows", "attempts.arrows"),
    "only events": ("events.jsonl",),
    "only requests": ("requests.arrows",),
    "no events": ("run.json", "requests.arrows", "attempts.arrows"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_missing_files(run, tmp_path, damage):
    """Whatever is missing, each format renders, says so, and never says pass."""
    for name in DAMAGES[damage]:
        shutil.copy(run / name, tmp_path)
    for style in FORMATS:
        text = render(tmp_path, style)
        assert "unknown" in text.lower()
        assert "No such file" in text or style == "junit"


@pytest.mark.parametrize("part", [0.0, 0.13, 0.5, 0.91])
def test_cut_files(run, tmp_path, part):
    """Cut at any byte, a run renders in each format as unknown."""
    for name in ("events.jsonl", "requests.arrows", "attempts.arrows", "series.arrows"):
        whole = (run / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    shutil.copy(run / "run.json", tmp_path)
    for style in FORMATS if part == 0.5 else ("text", "junit", "markdown"):
        assert "unknown" in render(tmp_path, style).lower()


def test_closed_loop_is_said(tmp_path):
    """A closed-loop run carries a warning about its percentiles."""
    directory = write_run(tmp_path / "run", story=UNPROTECTED, control=None)
    header = json.loads((directory / "run.json").read_text())
    header["plan"]["streams"][0]["kind"] = "closed"
    (directory / "run.json").write_text(json.dumps(header))
    assert "<strong>Closed loop.</strong>" in render(directory, "html")


def test_write_all(judged):
    """The three derived files are written where the run is."""
    directory = judged(PASS)
    assert [path.name for path in write_all(directory)] == list(FILES.values())
    assert (directory / "summary.md").read_text(encoding="utf-8") == render(directory, "markdown")


def test_half_characters(judged):
    """Half of a surrogate pair in a verdict does not stop a file from being written."""
    directory = judged(PASS)
    document = json.loads((directory / "verdict.json").read_text(encoding="utf-8"))
    document["why"] = ["\ud800"]
    document["verdict"] = "unknown"
    (directory / "verdict.json").write_text(json.dumps(document))
    assert render(directory, "markdown").encode()


def test_unknown_format(run):
    """A format that does not exist is refused, with those that do."""
    with pytest.raises(ValueError, match="there are text, html, junit, markdown, json"):
        render(run, "pdf")


def test_no_run_directory(tmp_path):
    """A folder without a run is refused."""
    with pytest.raises(RunDirectoryError):
        render(tmp_path, "text")
