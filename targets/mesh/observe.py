"""What the mesh's stores say after a run: the observations that the map names."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import asyncpg

from targets.base import Address, Bench

SETTLE_S = 5.0
POLL_S = 0.1
WAITING = """
select (select count(*) from outbox where published_at is null)
     + (select count(*) from outbox o where o.published_at is not null
        and not exists (select from notifications n where n.order_id = o.order_id))"""
COUNTS = {
    "orders": "select count(*) from orders where id not like 'seed-%'",
    "unpublished": "select count(*) from outbox where published_at is null",
    "undelivered": """select count(*) from outbox o where o.published_at is not null
        and not exists (select from notifications n where n.order_id = o.order_id)""",
    "duplicate_notifications": """select count(*) from
        (select order_id from notifications group by order_id having count(*) > 1) as twice""",
    "redeliveries": "select count(*) from notifications where deliveries > 1",
    "double_charges": """select count(*) from
        (select idempotency_key from orders group by idempotency_key having count(*) > 1) as twice""",
}
LAG = "select max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)) from pg_stat_replication"


async def observed(primary: Address, bench: Bench) -> Mapping[str, float]:
    """Count what the run left; empty, and told, when the primary does not answer: then it is not known."""
    try:
        return await observe(primary)
    except (OSError, asyncpg.PostgresError) as error:
        message = f"the PostgreSQL primary could not be asked: {error!r}"
        bench.emit({"kind": "error", "where": "observe", "message": message})
        return {}


async def observe(primary: Address, settle_s: float = SETTLE_S) -> dict[str, float]:
    """Count what the run left on the PostgreSQL primary, by the names of `topology.OBSERVATIONS`.

    Parameters
    ----------
    primary
        The primary's own address, not a proxied one.
    settle_s
        How long to wait for the outbox and the notifications to finish, in seconds.

    Returns
    -------
    dict
        `replica_lag_bytes` is missing while no replica is connected: that is not known.

    Raises
    ------
    OSError, TimeoutError, asyncpg.PostgresError
        When the primary does not answer within 5 s a statement.
    """
    connection = await asyncpg.connect(
        host=primary.host, port=primary.port, user="squall", database="squall", ssl=False, timeout=5, command_timeout=5
    )
    try:
        await _settle(connection, settle_s)
        values = {name: float(await connection.fetchval(query)) for name, query in COUNTS.items()}
        lag = await connection.fetchval(LAG)
    finally:
        connection.terminate()
    return values if lag is None else {**values, "replica_lag_bytes": float(max(0, lag))}


async def _settle(connection: Any, settle_s: float) -> None:
    until = time.monotonic() + settle_s
    while await connection.fetchval(WAITING) and time.monotonic() < until:  # noqa: ASYNC110 - a database tells nobody
        await asyncio.sleep(POLL_S)
