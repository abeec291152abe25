"""Whether the stores and links of a mesh are as they were at first, once what a run wrote is taken out of them.

Everything that a run could have changed is read from the servers themselves and compared with what they said before
the first run: settings, roles, followers, rows, keys, streams, proxies, toxics. Nothing is taken for granted because an
undo said that it was done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from targets.base import Address, TargetError
from targets.local import postgres, ready
from targets.local.bringup import SCHEMA, Site, until
from targets.mesh.seed import seed_media
from targets.toxiproxy.client import ProxyState

WITHIN: Final = 8.0  # seconds for one server's answers, and for its sweeping
FOLLOWED_WITHIN: Final = 5.0  # seconds for a replica; less, so that it is this that is told
_DATABASES: Final = ("postgres-primary", "postgres-replica")
_CACHES: Final = ("valkey-primary", "valkey-replica")
_TABLES: Final = ("articles", "orders", "outbox", "notifications")
_ROWS: Final = "select count(*) from %s"
_SETTINGS: Final = "select name, setting from pg_settings"
_OTHERS: Final = """select pg_terminate_backend(pid) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()"""
_LOCK_MS: Final = 2000

State = Mapping[str, str]  # "valkey-primary maxmemory" -> "67108864"
Result = TypeVar("Result")


async def look(site: Site) -> State:
    """Return all that should be the same before every run.

    Raises
    ------
    TargetError
        When a store or Toxiproxy does not answer.
    """
    nodes = site.layout.nodes
    asked: dict[str, Awaitable[State]] = {
        **{name: _database(nodes[name]) for name in _DATABASES},
        **{name: _cache(nodes[name]) for name in _CACHES},
        "nats": _broker(nodes["nats"]),
        "toxiproxy": _links(site),
        "media": asyncio.to_thread(_files, site.media),
    }
    states = await asyncio.gather(*(_answered(name, one) for name, one in asked.items()))
    return {f"{name} {what}": said for name, state in zip(asked, states, strict=True) for what, said in state.items()}


async def sweep(site: Site, was: State) -> None:
    """Take out of the stores what a run wrote, and wait until the replicas have followed; `was` is how it was at first.

    Raises
    ------
    TargetError
        When a store does not answer, or a replica does not follow.
    """
    nodes = site.layout.nodes
    await asyncio.gather(
        _answered("postgres-primary", _sweep_databases(*(nodes[name] for name in _DATABASES))),
        _answered("valkey-primary", _sweep_caches(*(nodes[name] for name in _CACHES))),
        _answered("nats", _sweep_broker(nodes["nats"])),
        _answered("media", asyncio.to_thread(_sweep_files, site.media, was)),
    )


def differences(before: State, now: State) -> list[str]:
    """Return in words what is not as it was; pure.

    >>> differences({"nats streams": "0", "a": "1"}, {"nats streams": "2", "a": "1"})
    ['nats streams was 0, is 2']
    """
    names = sorted({*before, *now})
    return [
        f"{name} was {before.get(name, 'not there')}, is {now.get(name, 'not there')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


async def _answered(name: str, work: Awaitable[Result]) -> Result:
    try:
        async with asyncio.timeout(WITHIN):
            return await work
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValkeyError, NatsError) as error:
        raise TargetError(f"{name} cannot be asked: {error!r}") from error


async def _database(address: Address) -> State:
    connection = await postgres.connect(address)
    try:
        settings = {str(row["name"]): str(row["setting"]) for row in await connection.fetch(_SETTINGS)}
        rows = {f"rows of {name}": str(await connection.fetchval(_ROWS % name)) for name in _TABLES}
        standby = str(await connection.fetchval("select pg_is_in_recovery()"))
        followers = str(await connection.fetchval("select count(*) from pg_stat_replication where state = 'streaming'"))
        return {**settings, **rows, "in recovery": standby, "followers": followers}
    finally:
        await connection.close()


async def _sweep_databases(primary: Address, replica: Address) -> None:
    connection = await postgres.connect(primary)
    try:
        await connection.execute(_OTHERS)
        await connection.execute(f"set lock_timeout = {_LOCK_MS}")
        await connection.execute(f"truncate {', '.join(_TABLES)} restart identity")
        await connection.execute(SCHEMA.read_text())
        await connection.execute("checkpoint")  # the next one is due when no run is that long
    finally:
        await connection.close()
    followed = partial(postgres.has_replayed, replica, primary)
    await until(followed, "the PostgreSQL replica did not follow its primary", FOLLOWED_WITHIN)


async def _cache(address: Address) -> State:
    async with _valkey(address) as client:
        settings = {str(name): str(value) for name, value in (await client.config_get("*")).items()}
        told = await client.info("replication")
        followers = str(told["connected_slaves"])
        return {**settings, "role": str(told["role"]), "followers": followers, "keys": str(await client.dbsize())}


async def _sweep_caches(primary: Address, replica: Address) -> None:
    async with _valkey(primary) as one, _valkey(replica) as other:
        await one.flushall()
        await one.config_resetstat()
        await other.config_resetstat()
        await until(ready.following(replica), "the Valkey replica did not follow its primary", FOLLOWED_WITHIN)
        await until(partial(_is_empty, other), "the Valkey replica did not become empty", FOLLOWED_WITHIN)


async def _is_empty(client: Any) -> bool:
    return bool(await client.dbsize() == 0)


@asynccontextmanager
async def _valkey(address: Address) -> AsyncIterator[Any]:
    client = Valkey(host=address.host, port=address.port, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def _broker(address: Address) -> State:
    async with _nats(address) as stream:
        told = await stream.account_info()
        return {"streams": str(told.streams), "consumers": str(told.consumers), "file bytes": str(told.storage)}


async def _sweep_broker(address: Address) -> None:
    async with _nats(address) as stream:
        for one in await _streams(stream):
            await stream.delete_stream(one.config.name)


async def _streams(stream: Any) -> list[Any]:
    try:
        return list(await stream.streams_info())
    except NotFoundError:
        return []


@asynccontextmanager
async def _nats(address: Address) -> AsyncIterator[Any]:
    client = await nats.connect(f"nats://{address}", allow_reconnect=False, connect_timeout=2)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def _links(site: Site) -> State:
    return {f"link {name}": _proxy(one) for name, one in (await site.links.client.found()).items()}


def _proxy(one: ProxyState) -> str:
    words = [f"{one.listen} to {one.upstream}", *([] if one.enabled else ["off"]), *one.toxics]
    return ", ".join(words)


def _files(folder: Path) -> State:
    """Return what each name means, and each object's size: an object is named by its content."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = {path for path in paths if path.parent.name == "names"}
    return {
        str(path.relative_to(folder)): path.read_text() if path in named else f"{path.stat().st_size} bytes"
        for path in paths
    }


def _sweep_files(folder: Path, was: State) -> None:
    """Remove every file that is not as it was at first, and put the seed back."""
    for name, said in _files(folder).items():
        if was.get(f"media {name}") != said:
            (folder / name).unlink()
    seed_media(folder)
