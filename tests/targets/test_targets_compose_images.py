"""The images of the mesh: what decides that one is made anew, where their wheels and their base come from."""

import os
import shutil
from pathlib import Path

import pytest

from targets.base import TargetError
from targets.compose import bases, images, wheelhouse

ROOT = Path(__file__).parents[2]
PINS = """\
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:aa \\
    --hash=sha256:ab
deprecated==1.3.1 ; python_full_version < '3.12' \\
    --hash=sha256:bb
deprecated==3.0.1 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
uvloop==0.23.0 \\
    --hash=sha256:dd
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a small checkout, and a Toxiproxy server beside it."""
    (tmp_path / ".dockerignore").write_text("*\n!targets/mesh\n!targets/base.py\n!.wheelhouse\n**/__pycache__\n")
    for name in ("base.py", "mesh/a.py", "mesh/__pycache__/a.pyc", "faults.py", "compose/Dockerfile"):
        path = tmp_path / "targets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "toxiproxy-server").write_bytes(b"\x7fELF static")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    return tmp_path


def named(checkout, base="sha256:1"):
    return images.names("base", base, checkout / "toxiproxy-server")


def test_the_image_has_what_dockerignore_lets_through(checkout):
    """Compiled files and everything that is not named stay outside."""
    assert images.sources_of(checkout) == [Path("targets/base.py"), Path("targets/mesh/a.py")]


def test_the_images_own_modules_are_let_through():
    """A node finds all that it imports in the image, and nothing of the harness comes with it."""
    sources = {str(path) for path in images.sources_of(ROOT)}
    assert {"targets/compose/node.py", "targets/compose/stores/valkey.conf", "requirements/mesh.txt"} <= sources
    assert not {path for path in sources if path.startswith(("squall/", "faults/", "reports/", "tests/"))}
    assert "targets/compose/engine.py" not in sources


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        ("targets/mesh/a.py", {"mesh"}),
        ("targets/faults.py", set()),
        ("targets/mesh/__pycache__/a.pyc", set()),
        ("toxiproxy-server", {"toxiproxy"}),
    ],
)
def test_an_image_is_made_anew_when_what_is_in_it_changed(checkout, changed, anew):
    """The tag carries a hash of the sources that are in the image, and of nothing else."""
    before = named(checkout)
    (checkout / changed).write_text("other")
    after = named(checkout)
    assert {part for part in images.PARTS if getattr(before, part) != getattr(after, part)} == anew


def test_another_base_makes_other_images(checkout):
    """What stands on the base follows it; a Toxiproxy from scratch does not."""
    before, after = named(checkout), named(checkout, base="sha256:2")
    assert (before.mesh != after.mesh, before.tools != after.tools) == (True, True)
    assert before.toxiproxy == after.toxiproxy


def test_compose_is_told_the_names(checkout):
    """The variables are those of the Compose files."""
    made = named(checkout)
    assert made.environment() == {"SQUALL_IMAGE": made.mesh, "SQUALL_TOXIPROXY_IMAGE": made.toxiproxy}


def test_a_toxiproxy_that_needs_libraries_is_refused(checkout):
    """It could not start in an image that has none."""
    (checkout / "toxiproxy-server").write_bytes(b"\x7fELF /lib64/ld-linux-x86-64.so.2")
    with pytest.raises(TargetError, match="needs libraries"):
        images.build(named(checkout), ["toxiproxy"], checkout / "toxiproxy-server", print)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("3.11.2", ["async-timeout==5.0.1 --hash=sha256:aa --hash=sha256:ab", "deprecated==1.3.1 --hash=sha256:bb"]),
        ("3.11.9", ["deprecated==1.3.1 --hash=sha256:bb"]),
        ("3.13.0", ["deprecated==3.0.1 --hash=sha256:cc"]),
    ],
)
def test_pins_are_those_of_the_images_python(python, expected):
    """Markers are evaluated for the image's Python, whatever this one is."""
    assert wheelhouse.pins_for(PINS, python).splitlines() == [*expected, "uvloop==0.23.0 --hash=sha256:dd"]


def test_the_image_has_the_versions_of_the_harness():
    """Every pin of the image's requirements is one of the harness's own."""
    pinned = [
        {line.split()[0] for line in (ROOT / "requirements" / name).read_text().splitlines() if "==" in line}
        for name in ("mesh.txt", "runtime.txt")
    ]
    assert pinned[0] - pinned[1] == set()


def test_wheels_are_collected_once(tmp_path, monkeypatch):
    """A filled wheelhouse is kept for its pins and Python; a download that fails leaves nothing behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    requirements, calls = tmp_path / "mesh.txt", []
    requirements.write_text(PINS)

    def download(pins, folder, python):
        calls.append((python, len(pins.read_text().splitlines())))
        folder.mkdir()
        if len(calls) == 1:
            raise TargetError("no network")
        (folder / "a.whl").touch()

    monkeypatch.setattr(wheelhouse, "_download", download)
    with pytest.raises(TargetError, match="no network"):
        wheelhouse.ensure(requirements, "3.11.9", print)
    assert list((wheelhouse.cache() / "wheelhouse").iterdir()) == []
    kept = wheelhouse.ensure(requirements, "3.11.9", print)
    assert [path.name for path in kept.iterdir()] == ["a.whl"]
    assert wheelhouse.ensure(requirements, "3.11.9", print) == kept
    assert wheelhouse.ensure(requirements, "3.11.2", print) != kept
    assert calls == [("3.11.9", 2), ("3.11.9", 2), ("3.11.2", 3)]


class FakeEngine:
    """An engine that has some images."""

    socket = Path("/nowhere.sock")

    def __init__(self, *has):
        self.has = set(has)

    def image(self, name):
        """Return an id for what it has."""
        return f"sha256:{name}" if name in self.has else None


@pytest.fixture
def offline(monkeypatch):
    """Let every pull fail."""
    monkeypatch.delenv(bases.VARIABLE, raising=False)
    monkeypatch.setattr(bases, "_pull", lambda *_: "no such host")


@pytest.mark.parametrize(
    ("has", "named", "expected"),
    [
        ([bases.PUBLIC, bases.LOCAL], None, bases.PUBLIC),
        ([bases.LOCAL], None, bases.LOCAL),
        ([bases.LOCAL, "mine:1"], "mine:1", "mine:1"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_the_base_is_the_named_one_else_the_public_one_else_the_local_one(has, named, expected, monkeypatch):
    """What is here is used before anything is pulled or made."""
    if named:
        monkeypatch.setenv(bases.VARIABLE, named)
    assert bases.ensure(FakeEngine(*has), print) == expected


@pytest.mark.usefixtures("offline")
def test_a_named_base_that_cannot_be_had_is_an_error(monkeypatch):
    """Another one is not taken in its place."""
    monkeypatch.setenv(bases.VARIABLE, "mine:1")
    with pytest.raises(TargetError, match="mine:1 is not here, and cannot be pulled: no such host"):
        bases.ensure(FakeEngine(bases.LOCAL), print)


def test_the_public_base_is_pulled_before_one_is_made(monkeypatch):
    """Where images can be pulled nothing is made."""
    monkeypatch.delenv(bases.VARIABLE, raising=False)
    monkeypatch.setattr(bases, "_pull", lambda *_: "")
    assert bases.ensure(FakeEngine(), print) == bases.PUBLIC


@pytest.mark.usefixtures("offline")
def test_a_base_is_made_where_nothing_can_be_pulled(monkeypatch, tmp_path):
    """The cached file is imported under the local name, and what happens is said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = wheelhouse.cache() / "base-bookworm.tar"
    kept.parent.mkdir(parents=True)
    kept.touch()
    imported, said = [], []
    monkeypatch.setattr(bases, "_import", lambda _, path: imported.append(path))
    assert bases.ensure(FakeEngine(), said.append) == bases.LOCAL
    assert imported == [kept]
    assert "no such host" in said[0]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("user", "has", "why"), [(1000, "/bin/x", "only root can make"), (0, None, "needs debootstrap")]
)
def test_a_base_that_cannot_be_made_says_what_to_do(user, has, why, monkeypatch, tmp_path):
    """The hint is a command."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda _: has)
    with pytest.raises(TargetError, match=why) as raised:
        bases.ensure(FakeEngine(), print)
    assert raised.value.hint.startswith(f"docker pull {bases.PUBLIC}, or: ")
