"""docs/judging.md names every validity check and every topic of the metrics."""

from pathlib import Path

import pytest
from small_runs import GUARDED

from reports.fake import write_run
from reports.judge import judge

PAGE = (Path(__file__).parents[2] / "docs" / "judging.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    return judge(write_run(tmp_path_factory.mktemp("run"), story=GUARDED, control=None))


def test_every_validity_check_is_explained(verdict):
    """Each V number has a row."""
    assert [row.id for row in verdict.validity if f"| {row.id} |" not in PAGE] == []


def test_every_topic_of_the_metrics_is_explained(verdict):
    """Each key under `metrics` has a row."""
    assert [key for key in verdict.metrics if f"| `{key}` |" not in PAGE] == []
