"""`squall trend`, `squall site` and `squall spans`: what they print, write and end with."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from small_runs import GUARDED

from reports import judge
from reports.fake import write_run
from reports.nights import append, fake, read
from reports.nights.fake import Planted
from reports.render.nights import FILES
from squall.commands import site, spans, trend
from squall.commands.trend import Wish
from squall.exits import Exit


@pytest.fixture
def said():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Write a suite of one judged run."""
    folder = tmp_path_factory.mktemp("runs") / "night-suite"
    run = write_run(folder / "guarded", story=GUARDED, control=None)
    judge.write(run, judge.judge(run))
    (folder / "suite.json").write_text(json.dumps([{"scenario": "guarded", "directory": "guarded", "exit": 0}]))
    return folder


def stored(path, **changed):
    append(path, fake.make(83, 2, **changed))
    return path


def test_a_first_night_passes(suite, tmp_path, said, capsys):
    """The store is made, the files are written, the page is the last line, and nothing is wrong."""
    wish = Wish(tmp_path / "new" / "nights.jsonl", (suite,), tmp_path / "out")
    assert trend.main(wish, said) == Exit.PASS
    assert Path(capsys.readouterr().out.splitlines()[-1]) == tmp_path / "out" / "trend.html"
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES.keys()
    assert len(read(wish.store).nights) == 1
    assert "first night" in said.file.getvalue()


def test_what_became_worse_ends_with_1(tmp_path, said):
    """In the night that finds it; the summary stands on standard error."""
    store = stored(tmp_path / "nights.jsonl", planted=[Planted(0, 1, 80, 1.5)])
    assert trend.main(Wish(store), said) == Exit.FAIL
    assert "Worse tonight" in said.file.getvalue()
    assert trend.main(Wish(stored(tmp_path / "other.jsonl")), said) == Exit.PASS


def test_a_damaged_store_is_said_and_used(tmp_path, suite, said):
    """The good part counts, and the night gets in."""
    store = stored(tmp_path / "nights.jsonl")
    store.write_bytes(store.read_bytes()[:-100])
    assert trend.main(Wish(store, (suite,)), said) == Exit.PASS
    assert "1 damaged line of nights.jsonl moved to nights.jsonl.damaged" in said.file.getvalue()
    assert len(read(store).nights) == 83


@pytest.mark.parametrize("case", ["no suite", "no night", "no store"])
def test_bad_input_ends_with_64(tmp_path, said, case):
    """With a reason, and nothing written."""
    store = tmp_path / "nights.jsonl"
    if case == "no store":
        store.write_text("hello")
    before = sorted(tmp_path.iterdir())
    assert trend.main(Wish(store, (tmp_path,) if case == "no suite" else ()), said) == Exit.BAD_SCENARIO
    assert said.file.getvalue().strip()
    assert sorted(tmp_path.iterdir()) == before


def test_a_site_is_made_of_a_store_or_of_the_suites_alone(suite, tmp_path, said, capsys):
    """With a store or without, of a folder or of the file."""
    for number, source in enumerate((suite.parent, stored(tmp_path / "nights.jsonl"), tmp_path)):
        assert site.main(source, None, tmp_path / f"site-{number}", said) == Exit.PASS
        assert Path(capsys.readouterr().out.splitlines()[-1]).is_file()
    assert (tmp_path / "site-0" / "runs" / "night-suite" / "guarded" / "report.html").is_file()
    (tmp_path / "empty").mkdir()
    assert site.main(tmp_path / "empty", None, tmp_path / "site", said) == Exit.BAD_SCENARIO


def test_spans_are_written_beside_the_run(suite, tmp_path, said, capsys):
    """Or where it is told; what is no run is refused."""
    assert spans.main(suite / "guarded", None, said) == Exit.PASS
    assert Path(capsys.readouterr().out.strip()) == suite / "guarded" / "spans.jsonl"
    assert spans.main(tmp_path, None, said) == Exit.BAD_SCENARIO
