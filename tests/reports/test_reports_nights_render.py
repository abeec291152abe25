"""The trend page, the files for CI systems, and the site."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_runs import GUARDED

from reports import judge
from reports.fake import write_run
from reports.nights import fake, night_of, trend_of
from reports.nights.fake import Planted
from reports.nights.records import Night, Ran, Row
from reports.render import render
from reports.render.nights import FILES, annotations, exposition, junit, message, page, summary, write_all
from reports.render.nights.site import write as write_site
from reports.render.nights.wording import headline, verdict

HOSTILE = "<script>alert(1)</script> \x1b[31m ]]> | `x` & </style>, a:b %0A\nnext"
VOID = {"meta", "link", "br", "img", "path", "circle", "rect", "line"}


@pytest.fixture(scope="module")
def trend():
    """Return a quantity that became worse tonight, one that did so earlier, and a scenario that failed."""
    nights = fake.make(90, 3, planted=[Planted(1, 1, 87, 1.4), Planted(2, 4, 50, 1.4)])
    last = nights[-1]
    failed = replace(last.ran[0], verdict="fail", exit=1, why="p95 of checkout < 100ms: measured 180 ms")
    rows = (replace(last.rows[1], result="fail", limit=0.1, line=14), *last.rows)
    return trend_of([*nights[:-1], replace(last, ran=(failed, *last.ran[1:]), rows=rows)])


@pytest.fixture(scope="module")
def hostile():
    """Return names and reasons that are no friends of any format."""
    ran = (Ran(HOSTILE, "fail", path=f"{HOSTILE}.yaml", directory="../../up", why=HOSTILE),)
    rows = (Row(HOSTILE, HOSTILE, 0.5, "s", "lower", result="fail", limit=0.1),)
    return trend_of([Night(HOSTILE, "", ran, rows, git=HOSTILE, host={"name": HOSTILE})])


class Balanced(HTMLParser):
    """Notes what is not closed in its order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the parser's signature
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)


def parsed(text):
    found = Balanced()
    found.feed(text)
    return found


def test_the_page_is_whole_and_self_contained(trend):
    """Every tag is closed, nothing comes from elsewhere, and there is no script."""
    text = page.render(trend)
    found = parsed(text)
    assert (found.wrong, found.open) == ([], [])
    assert "script" not in found.tags
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert "://" not in text


def test_the_worst_stands_on_top(trend):
    """What failed, then what became worse tonight, then what did before, then the rest."""
    text = page.render(trend)
    order = [
        text.index(one) for one in ("Of 3 scenarios 1 failed", "Worse tonight", "Worse since earlier", "Every scenario")
    ]
    assert order == sorted(order)
    assert verdict(trend) == "fail"


def test_the_page_of_many_nights_stays_small():
    """300 nights of 20 scenarios are less than half a megabyte."""
    assert len(page.render(trend_of(fake.make(300, 20)))) < 500_000


def test_a_first_night_has_a_page():
    """Every format can be made of one night, and of one without any value."""
    for nights in (fake.make(1, 1), [Night("x", "2026-01-01", (Ran("a", "unknown"),))], [Night("x", "")]):
        for make in FILES.values():
            assert isinstance(make(trend_of(nights)), str)


@pytest.mark.parametrize("name", FILES)
def test_hostile_texts_stay_texts(hostile, name):
    """Neither markup, nor control characters, nor line ends get through where they mean something."""
    text = FILES[name](hostile)
    assert "\x1b" not in text
    if name == "trend.html":
        assert "script" not in parsed(text).tags
    if name == "annotations.txt":
        assert all(line.startswith("::") for line in text.splitlines())


def test_the_summary_puts_the_worst_on_top(trend):
    """Headline, failures, changes, and only then the rest."""
    text = summary.render(trend)
    assert text.startswith("## ✗ Of 3 scenarios 1 failed; 1 quantity became worse.")
    assert text.index("scenario-00 failed") < text.index("### Worse tonight") < text.index("### Worse since earlier")


def test_the_message_is_short(trend):
    """Its first line can be a title; each thing to know is a line."""
    lines = message.render(trend).splitlines()
    assert lines[0] == "squall, night of 2026-03-31: Of 3 scenarios 1 failed; 1 quantity became worse."
    assert [line[:13] for line in lines if line.startswith("* ")] == ["* scenario-00", "* scenario-01"]


def test_github_annotations_stand_on_the_scenarios_line(trend):
    """A failed check stands on its line; a change for the worse on the check that measures it."""
    first, second = annotations.github(trend).splitlines()
    assert first.startswith(
        "::error file=scenarios/scenario-00.yaml,line=14,title=squall%3A scenario-00 failed::p95 of"
    )
    assert second.startswith(
        "::error file=scenarios/scenario-01.yaml,line=1,title=squall%3A scenario-01 became worse::"
    )
    assert "40 %25 worse" in second or re.search(r"\d+ %25 worse", second)


def test_gitlab_code_quality_has_what_gitlab_asks_for(trend):
    """Description, check, fingerprint, severity, path and line; fingerprints differ and are the same every night."""
    found = json.loads(annotations.gitlab(trend))
    for one in found:
        assert one.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
        assert one["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert one["location"]["lines"]["begin"] >= 1
    assert len({one["fingerprint"] for one in found}) == len(found) == 2
    assert json.loads(annotations.gitlab(trend)) == found


def test_the_exposition_can_be_parsed(trend):
    """Prometheus' own parser reads it, and the values are there."""
    families = {one.name: one for one in text_string_to_metric_families(exposition.render(trend))}
    worse = {sample.labels["scenario"] for sample in families["squall_trend_worse"].samples if sample.value}
    assert worse == {"scenario-01", "scenario-02"}
    verdicts = families["squall_scenario_verdict"].samples
    assert {one.labels["verdict"] for one in verdicts if one.value and one.labels["scenario"] == "scenario-00"} == {
        "fail"
    }
    assert all(math.isfinite(one.value) for family in families.values() for one in family.samples)


# What the schemas of Jenkins' xUnit plugin and of Ant ask for, of the parts that are used here: element -> (required
# attributes, further attributes, children in this order).
JUNIT = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors", "disabled"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "id", "timestamp", "hostname", "skipped", "package"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": ({"name", "classname"}, {"time"}, ["skipped", "error", "failure", "system-out", "system-err"]),
    "failure": ({"type"}, {"message"}, []),
    "error": ({"type"}, {"message"}, []),
    "system-out": (set(), set(), []),
}


def breaches(element):
    """Return what an element and all below it have that the schemas do not allow."""
    required, further, children = JUNIT[element.tag]
    found = [f"{element.tag} lacks {name}" for name in required - set(element.keys())]
    found += [f"{element.tag} has {name}" for name in set(element.keys()) - required - further]
    places = [children.index(child.tag) if child.tag in children else -1 for child in element]
    if -1 in places or places != sorted(places):
        found.append(f"{element.tag} has {[child.tag for child in element]}")
    for count, tags in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        if count in element.attrib and int(element.get(count)) != len(element.findall(f".//{tags}")):
            found.append(f"{element.tag} counts {count} wrongly")
    return found + [one for child in element for one in breaches(child)]


def test_junit_keeps_to_the_schemas(trend, hostile):
    """The trend's document has nothing but what GitHub, GitLab and Jenkins know, in their order, rightly counted."""
    for text in (junit.render(trend), junit.render(hostile), junit.render(trend_of(fake.make(1, 1)))):
        assert breaches(ET.fromstring(text.encode())) == []
    root = ET.fromstring(junit.render(trend).encode())
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "2", "0")


def test_a_runs_junit_keeps_to_them_too(tmp_path):
    """And so does the one of a single run."""
    run = write_run(tmp_path / "run", story=GUARDED, control=None)
    assert breaches(ET.fromstring(render(run, "junit").encode())) == []


def test_all_files_are_written(trend, tmp_path):
    """Each by its name, and nothing else is left."""
    write_all(trend, tmp_path / "out")
    write_all(trend, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES.keys()


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """Write two suites' folders with a run each, the first without its report."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("20260101T020000-suite", "20260102T020000-suite"):
        run = write_run(folder / name / "guarded", story=GUARDED, control=None)
        judge.write(run, judge.judge(run))
        header = json.loads((run / "run.json").read_text())
        header |= {"run_id": f"{name}-x", "started": f"2026-01-0{name[7]}T02:00:00+00:00"}
        (run / "run.json").write_text(json.dumps(header))
        (folder / name / "suite.json").write_text(
            json.dumps([{"scenario": "guarded", "directory": "guarded", "exit": 0}])
        )
    (run / "report.html").write_text("<p>kept as it was</p>")
    return folder


def test_the_site_has_an_index_the_trend_and_every_runs_page(suites, tmp_path):
    """All links lead somewhere within the site; a run's report is taken as it is, or rendered where there is none."""
    nights = [night_of(path) for path in sorted(suites.iterdir())]
    first = write_site(trend_of(nights), suites, tmp_path)
    assert first == tmp_path / "index.html"
    for name in ("index.html", "trend.html"):
        text = (tmp_path / name).read_text()
        assert (parsed(text).wrong, parsed(text).open) == ([], [])
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (tmp_path / link).is_file(), link
    pages = sorted(path.parent.parent.name for path in tmp_path.glob("runs/*/*/report.html"))
    assert pages == [path.name for path in sorted(suites.iterdir())]
    assert (tmp_path / "runs/20260102T020000-suite/guarded/report.html").read_text() == "<p>kept as it was</p>"


def test_a_site_never_reaches_out_of_its_folders(hostile, tmp_path):
    """Names that lead upwards, as a damaged or foreign store may hold, are not followed."""
    evil = Night("x", "2026-01-01", (Ran("a", "pass", directory="../../../up"),), folder="..")
    write_site(trend_of([evil]), tmp_path / "runs", tmp_path / "site")
    write_site(hostile, tmp_path / "runs", tmp_path / "site")
    assert {path.name for path in tmp_path.iterdir()} == {"site"}


def test_a_long_history_is_paged(tmp_path):
    """Every night stands on exactly one page, the latest on the first, and the pages lead to each other."""
    write_site(trend_of(fake.make(450, 1)), tmp_path / "runs", tmp_path)
    pages = [(tmp_path / name).read_text() for name in ("index.html", "nights-2.html", "nights-3.html")]
    days = [re.findall(r'<td class="when">([^<]*)<', text) for text in pages]
    assert [len(one) for one in days] == [200, 200, 50]
    every = [day for one in days for day in one]
    assert every == sorted(every, reverse=True)
    assert ["Earlier" in text for text in pages] == [True, True, False]
    assert ["Later" in text for text in pages] == [False, True, True]


def test_nights_whose_runs_are_gone_have_no_link(tmp_path):
    """The history is longer than the runs that are kept."""
    write_site(trend_of(fake.make(30, 2)), tmp_path / "runs", tmp_path / "site")
    assert 'class="box pass" href' not in (tmp_path / "site" / "index.html").read_text()


def test_nights_of_one_day_are_told_apart(tmp_path):
    """A suite that ran twice in a day has its time; one alone in its day needs none."""
    started = ("2026-01-01T02:00:00+00:00", "2026-01-02T02:00:00+00:00", "2026-01-02T14:30:00+00:00")
    nights = [replace(night, started=at) for night, at in zip(fake.make(3, 1), started, strict=True)]
    first = write_site(trend_of(nights), tmp_path / "runs", tmp_path / "site")
    told = re.findall(r'<td class="when">([^<]*)<', first.read_text())
    assert told == ["2026-01-02 14:30", "2026-01-02 02:00", "2026-01-01"]


def test_what_too_few_nights_cannot_tell_is_not_said():
    """That nothing became worse is said from the night on in which some change of some quantity could be found."""
    told = [headline(trend_of(fake.make(nights, 1))) for nights in (1, 10, 150)]
    assert told[0].endswith("passed.")
    assert told[1].endswith("; 10 nights are too few to tell whether anything became worse.")
    assert told[2].endswith("; nothing became worse.")
