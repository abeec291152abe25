"""Throw-away containers of a run of its own, for tests that need an engine but no mesh."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from docker_needed import require_docker

from targets.compose import bases
from targets.compose.cleanup import remove
from targets.compose.endpoint import socket_path
from targets.compose.engine import NODE_LABEL, RUN_LABEL, Engine


@dataclass(frozen=True)
class Yard:
    """Makes containers with the label of one run; all of them are removed in the end."""

    engine: Engine
    run_id: str
    image: str

    def run(self, node: str, *argv: str, run_id: str | None = None, policy: str = "no", **host) -> str:
        """Start a container that runs a command, or sleeps; returns its id."""
        client = self.engine._client
        labels = {RUN_LABEL: self.run_id if run_id is None else run_id, NODE_LABEL: node}
        config = client.create_host_config(restart_policy={"Name": policy}, network_mode="none", **host)
        made = client.create_container(self.image, list(argv or ("sleep", "300")), labels=labels, host_config=config)
        self.engine.start(made["Id"])
        return str(made["Id"])

    def network(self, name: str) -> str:
        """Make a network with the run's label; returns its id."""
        made = self.engine._client.create_network(f"{name}-{self.run_id}", labels={RUN_LABEL: self.run_id})
        return str(made["Id"])

    def volume(self, name: str) -> str:
        """Make a volume with the run's label; returns its name."""
        made = self.engine._client.create_volume(f"{name}-{self.run_id}", labels={RUN_LABEL: self.run_id})
        return str(made["Name"])

    def ids(self, run_id: str | None = None) -> set[str]:
        """Return the containers of a run that are there."""
        return {one.id for one in self.engine.containers([f"{RUN_LABEL}={run_id or self.run_id}"])}

    def is_empty(self) -> bool:
        """Tell whether nothing carries the run's label."""
        labels = [f"{RUN_LABEL}={self.run_id}"]
        return not (self.ids() or self.engine.networks(labels) or self.engine.volumes(labels))


@contextmanager
def yard() -> Iterator[Yard]:
    """Give a yard, and clear it."""
    require_docker()
    run_id = f"test-{time.monotonic_ns()}"
    with closing(Engine(socket_path())) as engine:
        try:
            yield Yard(engine, run_id, bases.ensure(engine, print))
        finally:
            remove(engine, run_id)


def wait_until(claim: Callable[[], object], seconds: float = 5.0) -> bool:
    """Wait for a claim to hold."""
    deadline = time.monotonic() + seconds
    while not (holds := claim()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(holds)
