"""The one module that touches the `docker` library: the calls that squall needs, with deadlines and true errors.

All calls block and raise `TargetError`; `ask` runs one in a thread, so that an event loop never waits for the engine.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import anyio.to_thread
import docker
import docker.errors
import requests.exceptions

from targets.base import TargetError
from targets.compose.seen import Attachment, Container, Ended, Found, Happening, Network, container_of, network_of

DEADLINE: Final = 10.0  # seconds for one call; a healthy engine answers in milliseconds
RUN_LABEL: Final = "squall.run"
NODE_LABEL: Final = "squall.node"
_FREEZES: Final = 4  # the kernel's freezer of cgroup v1 can miss processes that are being made
_NOT_FROZEN: Final = "unable to freeze"
_CONNECTIONS: Final = 64  # kept open; a target's containers are removed side by side
_HINTS: Final = {
    403: "see what refuses it: docker events",
    404: "it was removed by somebody else: docker ps -a",
    409: "see what holds it: docker ps -a",
}

Result = TypeVar("Result")


class EngineGoneError(TargetError):
    """No engine answers, or not in time."""


class NotThereError(TargetError):
    """The engine has no such container, network, volume or image."""


class RefusedError(TargetError):
    """The engine refused because of the state that something is in, such as a container that is not running."""


class Happenings:
    """The engine's stream of container events; ends when the engine goes, or by `close` from another thread."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Happening]:
        for event in self._stream:
            actor = event.get("Actor", {})
            nanoseconds = event.get("timeNano", 0)
            yield Happening(
                nanoseconds / 1e9, event.get("Action", ""), actor.get("ID", ""), actor.get("Attributes", {})
            )

    def close(self) -> None:
        """End the stream."""
        with suppress(OSError, docker.errors.DockerException):
            self._stream.close()


class Engine:
    """Blocking calls to the engine at a socket. All raise `TargetError`.

    Parameters
    ----------
    path
        The socket where it listens: `targets.compose.endpoint.socket_path()`.
    deadline
        Seconds for one call.

    Raises
    ------
    EngineGoneError
        When no engine answers there, or this user may not ask it.
    """

    def __init__(self, path: Path, deadline: float = DEADLINE) -> None:
        self.socket = path
        with _asking(f"the Docker Engine at {path}", _engine_hint(path)):
            _knock(path, deadline)
            make: Any = docker.APIClient
            self._client = make(base_url=f"unix://{path}", version="auto", timeout=deadline, max_pool_size=_CONNECTIONS)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def version(self) -> str:
        """Return the engine's version."""
        with _asking("the engine's version"):
            return str(self._client.version()["Version"])

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself."""
        with _asking("the engine's state"):
            return dict(self._client.info())

    def image(self, name: str) -> str | None:
        """Return the id of a local image, or None when there is none of that name."""
        with _asking(f"image {name}"), suppress(NotThereError), _asking(f"image {name}"):
            return str(self._client.inspect_image(name)["Id"])
        return None

    def import_image(self, tarball: Path, name: str) -> None:
        """Make an image of one layer from a root file system."""
        repository, _, tag = name.partition(":")
        with _asking(f"import of image {name}"):
            self._client.import_image_from_file(str(tarball), repository, tag)

    def exposed(self, name: str) -> list[tuple[int, Literal["tcp", "udp"]]]:
        """Return the ports that an image says its containers listen on; none for an image that is not here."""
        with suppress(NotThereError), _asking(f"image {name}"):
            said = self._client.inspect_image(name)["Config"].get("ExposedPorts") or {}
            ports = [text.partition("/") for text in said]
            return [(int(number), "udp" if kind == "udp" else "tcp") for number, _, kind in ports]
        return []

    # Finding what carries labels.

    def containers(self, labels: Sequence[str]) -> list[Found]:
        """Return all containers, running or not, that carry all labels, given as `name` or `name=value`."""
        with _asking("the list of containers"):
            found = self._client.containers(all=True, filters={"label": list(labels)})
        return [
            Found(one["Id"], one["Names"][0].lstrip("/") if one["Names"] else "", one["Labels"] or {}, one["State"])
            for one in found
        ]

    def networks(self, labels: Sequence[str] = ()) -> list[Network]:
        """Return the networks that carry all labels; all networks without any."""
        with _asking("the list of networks"):
            found = self._client.networks(filters={"label": list(labels)} if labels else None)
        return [network_of(one) for one in found]

    def subnets(self) -> list[str]:
        """Return the address ranges of all networks."""
        return [subnet for network in self.networks() for subnet in network.subnets]

    def volumes(self, labels: Sequence[str]) -> list[Found]:
        """Return the volumes that carry all labels."""
        with _asking("the list of volumes"):
            found = self._client.volumes(filters={"label": list(labels)})["Volumes"] or []
        return [Found(one["Name"], one["Name"], one["Labels"] or {}) for one in found]

    def container(self, container: str) -> Container:
        """Look at one container."""
        with _asking(f"container {container}"):
            return container_of(self._client.inspect_container(container))

    # The life of a container.

    def signal(self, container: str, signal: str = "SIGKILL") -> None:
        """Send a signal to a container's first process."""
        with _asking(f"{signal} to container {container}"):
            self._client.kill(container, signal)

    def stop(self, container: str, grace: float) -> None:
        """Send its stop signal, wait `grace` seconds (whole ones: that is the engine's clock), then SIGKILL."""
        with _asking(f"stop of container {container}"):
            self._client.stop(container, timeout=round(grace))

    def wait(self, container: str, within: float) -> int:
        """Wait until a container is not running; returns its exit status."""
        with _asking(f"end of container {container}"):
            return int(self._client.wait(container, timeout=within)["StatusCode"])

    def start(self, container: str) -> None:
        """Start a container; nothing to do when it runs."""
        with _asking(f"start of container {container}"):
            self._client.start(container)

    def pause(self, container: str) -> None:
        """Freeze a container; a kernel that did not get hold of all of its processes is asked again."""
        for tries_left in reversed(range(_FREEZES)):
            try:
                with _asking(f"pause of container {container}"):
                    self._client.pause(container)
            except TargetError as error:
                if not tries_left or _NOT_FROZEN not in str(error):
                    raise
            else:
                return

    def resume(self, container: str) -> None:
        """Let a frozen container go on."""
        with _asking(f"resume of container {container}"):
            self._client.unpause(container)

    def update(self, container: str, **limits: int) -> None:
        """Change a container's limits, by the API's names: `NanoCpus`, `CpuQuota`, `Memory`, `MemorySwap`, ..."""
        client = self._client
        with _asking(f"update of container {container}"):
            url = client._url("/containers/{0}/update", container)  # noqa: SLF001 - its own call knows no NanoCpus
            client._raise_for_status(client._post_json(url, data=limits))  # noqa: SLF001 - likewise

    def execute(
        self, container: str, argv: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command in a container to its end, which comes within the deadline."""
        with _asking(f"{argv[0]} in container {container}"):
            made = self._client.exec_create(container, list(argv), user=user, environment=dict(environment or {}))
            output = self._client.exec_start(made["Id"])
            code = self._client.exec_inspect(made["Id"])["ExitCode"]
        return Ended(-1 if code is None else int(code), output.decode(errors="replace"))

    def begin(self, container: str, argv: Sequence[str], *, user: str = "") -> str:
        """Run a command in a container beside its own; returns its id for `running`."""
        with _asking(f"{argv[0]} in container {container}"):
            made = self._client.exec_create(container, list(argv), user=user, stdout=False, stderr=False)
            self._client.exec_start(made["Id"], detach=True)
            return str(made["Id"])

    def running(self, execution: str) -> bool:
        """Tell whether a command of `begin` still runs."""
        with _asking(f"command {execution}"):
            return bool(self._client.exec_inspect(execution)["Running"])

    def beside(
        self, container: str, image: str, argv: Sequence[str], *, labels: Mapping[str, str], caps: Sequence[str] = ()
    ) -> Ended:
        """Run a command as root in a helper container that shares another one's network, and remove the helper.

        Parameters
        ----------
        container
            Whose network namespace it enters.
        image
            A local image that has the command.
        argv
            The command and its arguments.
        labels
            Of the helper: with the run's, so that it is found when the harness dies.
        caps
            Capabilities that it keeps, such as `NET_ADMIN`; all others are dropped.
        """
        with _asking(f"helper {argv[0]} for container {container}"):
            host = self._client.create_host_config(
                network_mode=f"container:{container}",
                cap_drop=["ALL"],
                cap_add=list(caps),
                security_opt=["no-new-privileges"],
            )
            made = self._client.create_container(
                image,
                entrypoint=list(argv[:1]),
                command=list(argv[1:]),
                user="0:0",
                labels=dict(labels),
                host_config=host,
            )["Id"]
            try:
                self._client.start(made)
                code = self._client.wait(made)["StatusCode"]
                output = self._client.logs(made).decode(errors="replace")
            finally:
                self._client.remove_container(made, force=True, v=True)
        return Ended(int(code), output)

    def companion(
        self, container: str, image: str, argv: Sequence[str], *, labels: Mapping[str, str], caps: Sequence[str] = ()
    ) -> tuple[str, socket.socket]:
        """Run a command as root in a helper that shares another container's network and processes.

        Returns
        -------
        tuple of str and socket
            The helper's id, and its standard input and outputs; the helper is told that its input ends when the
            socket is closed. What it says comes in frames, each after eight bytes of which the last four are its size.
        """
        with _asking(f"companion of container {container}"):
            host = self._client.create_host_config(
                network_mode=f"container:{container}",
                pid_mode=f"container:{container}",
                cap_drop=["ALL"],
                cap_add=list(caps),
                security_opt=["no-new-privileges"],
                auto_remove=True,
            )
            made = self._client.create_container(
                image,
                entrypoint=list(argv[:1]),
                command=list(argv[1:]),
                user="0:0",
                stdin_open=True,
                labels=dict(labels),
                host_config=host,
            )["Id"]
            try:
                stream = self._client.attach_socket(made, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
                self._client.start(made)
            except BaseException:
                self._client.remove_container(made, force=True, v=True)
                raise
            connection = stream._sock.dup()  # noqa: SLF001 - the library hides the socket in a reader
            stream._response.close()  # noqa: SLF001 - likewise
            return made, connection

    # Networks.

    def connect(self, network: str, container: str, attachment: Attachment) -> None:
        """Hang a container on a network as it hung there before."""
        with _asking(f"container {container} on network {network}"):
            self._client.connect_container_to_network(
                container,
                network,
                ipv4_address=attachment.fixed or None,
                aliases=list(attachment.aliases) or None,
                links=dict(link.split(":", 1) for link in attachment.links) or None,
                driver_opt=dict(attachment.options) or None,
            )

    def disconnect(self, network: str, container: str) -> None:
        """Take a container off a network; its connections there are dead."""
        with _asking(f"container {container} off network {network}"):
            self._client.disconnect_container_from_network(container, network)

    # The end.

    def remove_container(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; nothing to do when it is gone or going."""
        try:
            with suppress(NotThereError), _asking(f"removal of container {container}"):
                self._client.remove_container(container, force=True, v=True)
        except RefusedError as error:
            if "in progress" not in str(error):  # somebody else removes it now
                raise

    def remove_network(self, network: str) -> None:
        """Remove a network; nothing to do when it is gone."""
        with suppress(NotThereError), _asking(f"removal of network {network}"):
            self._client.remove_network(network)

    def remove_volume(self, volume: str) -> None:
        """Remove a volume; nothing to do when it is gone."""
        with suppress(NotThereError), _asking(f"removal of volume {volume}"):
            self._client.remove_volume(volume, force=True)

    # What a container says, and what happens to it.

    def logs(self, container: str, since: float = 0.0) -> list[str]:
        """Return the lines of both outputs since a wall-clock time, each after its time in RFC 3339."""
        with _asking(f"logs of container {container}"):
            said = self._client.logs(container, timestamps=True, since=since or None)
        return str(said.decode(errors="replace")).splitlines()

    def happenings(self, labels: Sequence[str], since: float = 0.0) -> Happenings:
        """Return the stream of events of containers with these labels, from a wall-clock time on."""
        wanted = ["start", "die", "kill", "oom", "health_status", "pause", "unpause", "destroy"]
        filters = {"type": ["container"], "label": list(labels), "event": wanted}
        with _asking("the engine's events"):
            return Happenings(self._client.events(since=since or None, filters=filters, decode=True))


async def ask(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Make one of the engine's calls in a thread; it ends by its own deadline, so a cancellation waits for it."""
    return await anyio.to_thread.run_sync(partial(call, *arguments, **options))


@contextmanager
def _asking(what: str, hint: str = "") -> Iterator[None]:
    """Turn the library's errors into target errors that say what was asked for."""
    try:
        yield
    except docker.errors.APIError as error:
        raise _refusal(what, error) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise EngineGoneError(
            f"{what}: the engine does not answer: {_reason(error)}", hint or "squall doctor"
        ) from error


def _refusal(what: str, error: Any) -> TargetError:
    status = error.response.status_code if error.response is not None else 0
    kind = {404: NotThereError, 409: RefusedError}.get(status, TargetError)
    return kind(
        f"{what}: {error.explanation or error}", _HINTS.get(status, "see the engine's log: journalctl -u docker")
    )


def _reason(error: BaseException) -> str:
    """Return the innermost reason: the library wraps a refused connection four times."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or repr(error)


def _knock(path: Path, deadline: float) -> None:
    """Connect once: the library hides why it cannot, and leaves its socket open then."""
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(deadline)
        knock.connect(str(path))


def _engine_hint(path: Path) -> str:
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return "add this user to the engine's group, and log in again: sudo usermod -aG docker $USER"
    return "start a Docker Engine: sudo systemctl start docker"
