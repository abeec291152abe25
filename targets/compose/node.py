"""One node of the mesh in its container: `python -m targets.compose.node NAME`.

It works everything out from its name and from the environment, and then serves, or becomes its server. Nothing waits
for another node: each of them comes back by itself, at any time and in any order.

    SQUALL_NET      first three bytes of the network (`targets.compose.layout`)
    SQUALL_VARIANT  the protections
    SQUALL_RUN      the run's id
    SQUALL_ORIGIN   time.monotonic() at the run clock's zero: containers share the machine's clock
    SQUALL_LOGS     the folder of the structured logs
"""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from targets.compose.layout import PREFIX, lay_out, port_of
from targets.local.layout import Layout
from targets.mesh.topology import ENVOYS, MESH

if TYPE_CHECKING:
    from targets.mesh.config import ServiceConfig
    from targets.mesh.variants import Variant

BAKED: Final = Path("/opt/baked")  # made while the image was built (`targets.compose.baked`)
SERVERS: Final = BAKED / "bin"  # PostgreSQL, Valkey and NATS
DATABASE: Final = BAKED / "postgres"  # a filled database folder to begin with
VARIANTS: Final = BAKED / "variants"  # as JSON: reading YAML takes a fifth of the time to start
DOCUMENTS: Final = BAKED / "media"  # that media begins with
MEDIA: Final = Path("/media")  # what both media instances share: a volume with a size of its own
STATE: Final = Path("/data")  # what a store keeps: a volume
STORES: Final = Path(__file__).with_name("stores")
LOGS: Final = "/var/log/squall"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - of a container, in a network of its own

Environment = Mapping[str, str]


def main() -> int:
    """Serve as the node named on the command line."""
    names = [node.name for node in MESH.nodes]
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        print(f"usage: python -m targets.compose.node {{{','.join(names)}}}", file=sys.stderr)
        return 64
    name = sys.argv[1]
    if name in ENVOYS:
        become(envoy(name, os.environ, Path("/tmp")))  # noqa: S108 - a tmpfs of this container alone
    if name in _COMMANDS:
        become(store(name, os.environ, STATE))
    gc.disable()  # what is loaded stays: looking at it meanwhile takes a seventh of the time to start
    os.environ["SSL_CERT_FILE"] = os.devnull  # no TLS here: importing aiohttp would read all CA certificates (35 ms)
    from targets.mesh.kit.process import run  # noqa: PLC0415 - after the line above

    config = service(name, os.environ)
    if config.data_dir is not None:
        prepare_media(MEDIA)
    gc.enable()
    run(config)
    return 0


def become(argv: tuple[str, ...]) -> None:
    """Replace this process."""
    os.execv(argv[0], argv)  # noqa: S606 - the server needs no shell


def layout(environment: Environment) -> Layout:
    """Return where everything is."""
    return lay_out(environment.get("SQUALL_NET") or PREFIX)


def service(name: str, environment: Environment) -> "ServiceConfig":
    """Return what a service node is told."""
    from targets.mesh.config import Listen, ServiceConfig  # noqa: PLC0415 - stores need no pydantic

    kind = next(node.service for node in MESH.nodes if node.name == name)
    return ServiceConfig.model_validate(
        {
            "node": name,
            "service": kind,
            "listen": Listen(host=EVERYWHERE, port=port_of(name)),
            "log_path": f"{environment.get('SQUALL_LOGS') or LOGS}/{name}.jsonl",
            "log_level": "info",
            "environment": "docker",
            "run_id": environment.get("SQUALL_RUN", ""),
            "origin": float(environment.get("SQUALL_ORIGIN") or 0),
            "links": {callee: str(hop) for callee, hop in layout(environment).calls(kind).items()},
            "data_dir": str(MEDIA) if kind == "media" else None,
            "variant": variant(environment),
        }
    )


def envoy(name: str, environment: Environment, folder: Path) -> tuple[str, ...]:
    """Write an Envoy's configuration into a folder and return the command that starts it."""
    from targets.base import Address  # noqa: PLC0415 - stores need none of these
    from targets.envoy.bootstrap import Addresses, for_mesh, write  # noqa: PLC0415

    where, policies = layout(environment), variant(environment).envoy
    listen, admin = where.nodes[name], where.control[name]
    addresses = Addresses(Address(EVERYWHERE, listen.port), Address(EVERYWHERE, admin.port), where.links)
    logs = Path(environment.get("SQUALL_LOGS") or LOGS)
    return write(for_mesh(MESH, name, policies, addresses, logs), folder / f"{name}-envoy.json")


def variant(environment: Environment) -> "Variant":
    """Return the protections: those made ready in the image, or composed now when they are derived ones."""
    from targets.mesh.variants import Variant, load  # noqa: PLC0415 - stores need no pydantic

    name = environment.get("SQUALL_VARIANT") or "full"
    ready = VARIANTS / f"{name}.json"
    return Variant.model_validate_json(ready.read_bytes()) if ready.is_file() else load(name)


def store(name: str, environment: Environment, state: Path) -> tuple[str, ...]:
    """Return the command that starts a store, with its folder made ready."""
    return _COMMANDS[name](layout(environment), state)


def _postgres(name: str, follow: str | None = None) -> Callable[[Layout, Path], tuple[str, ...]]:
    def command(where: Layout, state: Path) -> tuple[str, ...]:
        data = state / "postgres"
        prepare_database(data, standby=follow is not None)
        settings = [f"config_file={STORES / 'postgresql.conf'}", f"hba_file={STORES / 'pg_hba.conf'}"]
        settings.append("unix_socket_directories=")
        if follow is not None:
            link = where.links[follow]
            place = f"host={link.host} port={link.port} user=squall application_name={name} connect_timeout=2"
            settings.append(f"primary_conninfo={place}")
        return (str(SERVERS / "postgres"), "-D", str(data), *(word for one in settings for word in ("-c", one)))

    return command


def prepare_database(data: Path, *, standby: bool, template: Path = DATABASE) -> None:
    """Copy the database folder on the first start; forget what a crash left on any other.

    The copy is whole or not there: a node that is killed while it copies begins again.
    """
    if not data.exists():
        draft = data.with_name("draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(template, draft, copy_function=shutil.copyfile)
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o700)  # PostgreSQL wants it for itself
        if standby:
            (draft / "standby.signal").touch()
        draft.rename(data)
    (data / "postmaster.pid").unlink(missing_ok=True)


def prepare_media(media: Path, documents: Path = DOCUMENTS) -> None:
    """Copy the documents that are not there; both instances may do it at once, and each file is whole or not there."""
    for source in documents.rglob("*"):
        goal = media / source.relative_to(documents)
        if source.is_dir():
            goal.mkdir(exist_ok=True)
        elif not goal.exists():
            handle, draft = tempfile.mkstemp(prefix=".", dir=goal.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(source.read_bytes())
            Path(draft).rename(goal)


def _valkey(follow: str | None = None) -> Callable[[Layout, Path], tuple[str, ...]]:
    def command(where: Layout, _state: Path) -> tuple[str, ...]:
        link = where.links[follow] if follow else None
        replica = () if link is None else ("--replicaof", link.host, str(link.port))
        return (str(SERVERS / "valkey-server"), str(STORES / "valkey.conf"), *replica)

    return command


def _nats(_where: Layout, state: Path) -> tuple[str, ...]:
    return (str(SERVERS / "nats-server"), "--config", str(STORES / "nats.conf"), "--store_dir", str(state / "nats"))


_COMMANDS: Final[Mapping[str, Callable[[Layout, Path], tuple[str, ...]]]] = {
    "postgres-primary": _postgres("postgres-primary"),
    "postgres-replica": _postgres("postgres-replica", "postgres-replica->postgres-primary"),
    "valkey-primary": _valkey(),
    "valkey-replica": _valkey("valkey-replica->valkey-primary"),
    "nats": _nats,
}


if __name__ == "__main__":
    sys.exit(main())
