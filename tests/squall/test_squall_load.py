"""The traffic subprocess is squall's own, whatever lies in the folder that a command is called in."""

from pathlib import Path

import anyio
import pytest

from squall.load import check_locustfile, traffic

LOCUSTFILE = "from locust import HttpUser, task\nclass One(HttpUser):\n    @task\n    def f(self): pass\n"


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a package that has squall's name."""
    (tmp_path / "squall").mkdir()
    (tmp_path / "squall" / "__init__.py").write_text("raise SystemExit('not the real one')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_locustfile_is_checked_by_squall_itself(strange: Path) -> None:
    """A package named squall beside the caller is not taken for it."""
    (strange / "locustfile.py").write_text(LOCUSTFILE)
    check_locustfile(strange / "locustfile.py")


def test_traffic_is_made_by_squall_itself(strange: Path) -> None:
    """Likewise for the process that sends the load."""

    async def story() -> None:
        async with traffic(strange / "errors", {}, lambda _event: None) as one:
            await one.ready()

    anyio.run(story)
