"""The engine of this machine is found without its library, and its errors say what was asked for and what to do."""

import hashlib
import json
import platform
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import docker.errors
import pytest
import requests
from throwaway import yard

from targets.base import TargetError
from targets.compose import bringup, composing, doctor, endpoint, engine
from targets.compose.engine import Engine, EngineGoneError, NotThereError, RefusedError


def context(home: Path, name: str, host: str) -> None:
    """Write a Docker context as its command line does."""
    meta = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_the_engine_is_that_of_the_variable_or_of_the_context_or_the_usual_one(tmp_path: Path) -> None:
    """DOCKER_HOST goes before a context, which goes before the default; what cannot be read names none."""
    context(tmp_path, "mine", "unix:///run/mine.sock")
    home = {"DOCKER_CONFIG": str(tmp_path)}
    assert endpoint.socket_path(home) == Path("/var/run/docker.sock")
    assert endpoint.socket_path({**home, "DOCKER_CONTEXT": "mine"}) == Path("/run/mine.sock")
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    assert endpoint.socket_path(home) == Path("/run/mine.sock")
    assert endpoint.socket_path({**home, "DOCKER_HOST": "unix:///x.sock"}) == Path("/x.sock")
    (tmp_path / "config.json").write_text("{")
    assert endpoint.socket_path(home) == Path("/var/run/docker.sock")


def test_an_engine_elsewhere_is_refused_whoever_names_it(tmp_path: Path) -> None:
    """By variable or by context: squall breaks things on this machine only."""
    context(tmp_path, "far", "ssh://somebody@far")
    for environment in (
        {"DOCKER_HOST": "tcp://127.0.0.1:2375"},
        {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"},
    ):
        with pytest.raises(TargetError, match="not one of this machine"):
            endpoint.socket_path(environment)
        assert endpoint.local_socket(environment) is None


def test_an_engine_that_this_user_may_not_ask_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission on the socket is another matter than no engine: the hint says which."""
    path = tmp_path / "docker.sock"
    with pytest.raises(EngineGoneError, match="does not answer") as absent:
        Engine(path)
    path.touch()

    def refuse(_path: Path, _deadline: float) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(engine, "_knock", refuse)
    monkeypatch.setattr(engine.os, "access", lambda _path, _mode: False)
    with pytest.raises(EngineGoneError, match="Permission denied") as denied:
        Engine(path)
    assert ("systemctl start docker" in absent.value.hint, "usermod" in denied.value.hint) == (True, True)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotThereError), (409, RefusedError), (500, TargetError), (403, TargetError)]
)
def test_a_refusal_keeps_the_engines_words(status: int, kind: type[TargetError]) -> None:
    """What the engine answered, and what was asked for, stand in one error of its kind."""
    error = docker.errors.APIError("x", response=SimpleNamespace(status_code=status), explanation="it is so")
    with pytest.raises(kind, match="start of a: it is so") as told, engine._asking("start of a"):
        raise error
    assert told.value.hint


@pytest.mark.parametrize(
    ("missed", "words", "asked"), [(2, "unable to freeze", 3), (9, "unable to freeze", 4), (9, "it is so", 1)]
)
def test_a_kernel_that_could_not_freeze_is_asked_again(missed: int, words: str, asked: int) -> None:
    """A few times, and only for that; then the engine's words are told."""

    class Client:
        times = 0

        def pause(self, _container: str) -> None:
            self.times += 1
            if self.times <= missed:
                raise docker.errors.APIError("x", response=SimpleNamespace(status_code=500), explanation=words)

    asking = Engine.__new__(Engine)
    asking._client = client = Client()
    with nullcontext() if missed < asked else pytest.raises(TargetError, match=words):
        asking.pause("a")
    assert client.times == asked


@pytest.mark.parametrize("error", [requests.exceptions.ReadTimeout("slow"), ConnectionResetError("cut")])
def test_no_answer_is_an_engine_that_is_gone(error: Exception) -> None:
    """A deadline that passed and a cut connection mean the same: nothing is known of the engine."""
    with pytest.raises(EngineGoneError, match="start of a: the engine does not answer"), engine._asking("start of a"):
        raise error


def test_an_engine_whose_containers_are_out_of_reach_is_refused() -> None:
    """One in a virtual machine, and one without root, hide the addresses that squall measures at."""
    here = platform.release()
    assert doctor.unreachable(here, ("name=seccomp,profile=default",)) == ""
    assert "another kernel" in doctor.unreachable("5.15.49-linuxkit", ())
    assert "without root" in doctor.unreachable(here, ("name=rootless",))


def test_a_run_changes_the_compose_files_only_where_it_must() -> None:
    """Nothing is published; health checks and weights are the run's choice."""
    plain = bringup.overlay(("edge", "toxiproxy"), checked=True, weighed=False)
    assert plain == "services:\n  toxiproxy: {ports: !reset []}\n"
    whole = bringup.overlay(("edge", "toxiproxy"), checked=False, weighed=True)
    assert whole.count("disable: true") == whole.count("cgroup_parent: /") == 2


def test_the_compose_files_of_a_run_are_understood(tmp_path: Path) -> None:
    """Compose reads the files with the run's changes over them: no port is published, no check is left."""
    changes = tmp_path / "overlay.yml"
    nodes = ("edge", "orders-1", "toxiproxy")
    changes.write_text(bringup.overlay(nodes, checked=False, weighed=True))
    project = composing.resolved(composing.Files((*bringup.FILES, changes), project="test"))
    services = project["services"]
    assert all(not service.get("ports") for service in services.values())
    assert services["edge"]["healthcheck"] == {"disable": True}
    assert services["orders-1"]["cgroup_parent"] == "/"


@pytest.mark.e2e
def test_commands_run_in_a_container_and_beside_it() -> None:
    """A command's status and output come back; a helper shares the network, is labelled, and is gone afterwards."""
    with yard() as mine:
        node = mine.run("node")
        assert mine.engine.execute(node, ["sh", "-c", "echo said; exit 3"]) == engine.Ended(3, "said\n")
        labels = {engine.RUN_LABEL: mine.run_id}
        ended = mine.engine.beside(node, mine.image, ["cat", "/proc/net/dev"], labels=labels)
        assert ended.code == 0
        assert "lo:" in ended.output
        assert mine.ids() == {node}
