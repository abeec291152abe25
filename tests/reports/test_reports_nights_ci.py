"""The workflow for GitHub and its twin for GitLab: they can be read, and use the command line as it is."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from reports.render.nights import FILES
from squall.cli import cli

ROOT = Path(__file__).parents[2]
GITHUB, GITLAB = ROOT / ".github/workflows/nightly.yml", ROOT / "docs/ci/gitlab-nightly.yml"
PAGE = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"(?<=bin/)squall ([a-z]+)([^\n|]*)")


def parsed(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def lines_of(path):
    """Return every line that a shell runs."""
    if path == GITLAB:
        return "\n".join(line for job in parsed(path).values() for line in job["script"])
    jobs = parsed(path)["jobs"].values()
    return "\n".join(step["run"] for job in jobs for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_each_command_is_one_of_squalls(path):
    """Every command and option that is called exists."""
    called = COMMAND.findall(lines_of(path))
    assert [name for name, _ in called] == ["doctor", "suite", "trend", "site"]
    for name, words in called:
        options = {option for one in cli.commands[name].params for option in one.opts if isinstance(one, click.Option)}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, name


def test_the_two_do_the_same():
    """The commands are the same but for where the site is put."""
    one, other = ([" ".join(call) for call in COMMAND.findall(lines_of(path))] for path in (GITHUB, GITLAB))
    assert [line.replace("public", "site").strip() for line in other] == [line.strip() for line in one]


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_the_store_outlives_the_night(path):
    """It is in what is cached, whatever the night's result."""
    text = path.read_text(encoding="utf-8")
    assert "runs/nights.jsonl" in text
    assert ("cache/save" in text and "!cancelled()" in text) or "when: always" in text


def test_the_files_that_are_read_are_written():
    """Every file below runs/trend that a workflow reads is one that `squall trend` writes."""
    for path in (GITHUB, GITLAB):
        named = set(re.findall(r"runs/trend/([a-z]+\.[a-z]+)", path.read_text(encoding="utf-8")))
        assert named <= FILES.keys()


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_has_nothing_to_say():
    """The checker of GitHub's workflows is content."""
    ran = subprocess.run(["actionlint", str(GITHUB)], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_page_names_every_file():
    """docs/nightly.md says what each file is for."""
    assert [name for name in FILES if f"`{name}`" not in PAGE] == []
