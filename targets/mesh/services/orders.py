"""orders: charges a payment, stores the order, tells the broker through an outbox.

`POST /orders` with `Idempotency-Key` and `{"sku", "quantity"}` answers 201; the same key answers the same order (200)
and charges nothing. `GET /orders/{id}`.
"""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from targets.mesh.kit import context
from targets.mesh.kit.app import Kit, json_response, new_application, read_object
from targets.mesh.kit.background import background
from targets.mesh.kit.postgres import Postgres
from targets.mesh.kit.refusals import BadRequest, Conflict, NotFound
from targets.mesh.services.outbox import Relay
from targets.mesh.services.till import Till

COLUMNS = "id, idempotency_key, sku, quantity, amount_cents, charge_id"
# The article's price, and the order when the key was used before, in one round trip.
LOOK_UP = """
select a.price_cents, o.id, o.idempotency_key, o.sku, o.quantity, o.amount_cents, o.charge_id
from articles a left join orders o on o.idempotency_key = $2 where a.sku = $1"""
# Order and outbox in one statement: one transaction.
STORE = f"""
with placed as (
  insert into orders ({COLUMNS}, node) values ($1, $2, $3, $4, $5, $6, $7)
  on conflict (idempotency_key) do nothing returning id
), noted as (
  insert into outbox (order_id, request_id, payload) select id, $8, $9 from placed returning order_id
)
select count(*) from noted"""  # noqa: S608 - the only thing put in is a constant above
FIND = f"select {COLUMNS} from orders where id = $1"  # noqa: S608 - likewise
FIND_BY_KEY = f"select {COLUMNS} from orders where idempotency_key = $1"  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer asks for."""

    key: str
    sku: str
    quantity: int


class Orders:
    """Places orders and finds them."""

    def __init__(self, kit: Kit) -> None:
        config, services = kit.config, kit.config.variant.services
        self._node = config.node
        self._till = Till(kit)
        self._database = Postgres(
            "orders->postgres-primary",
            config.link("postgres-primary"),
            config.node,
            kit.calls,
            services.timeouts.database_s,
            heed_deadline=services.drop_expired,
        )
        self.relay = Relay(kit, self._database)

    async def live(self, _: web.Application) -> AsyncIterator[None]:
        """Open and close the clients."""
        await self._database.open()
        await self._till.open()
        yield
        await self._till.close()
        await self.relay.close()
        await self._database.close()

    async def place(self, request: web.Request) -> web.Response:
        """Place an order once for a key."""
        wish = _parse(request.headers.get("idempotency-key", ""), await read_object(request))
        row = await self._database.run(lambda connection: connection.fetchrow(LOOK_UP, wish.sku, wish.key))
        if row is None:
            raise NotFound(f"no article {wish.sku}")
        if row["id"] is not None:
            return _replay(row, wish)
        amount_cents = row["price_cents"] * wish.quantity
        charge_id = await self._till.charge(wish.key, amount_cents)
        return await self._store(wish, amount_cents, charge_id)

    async def find(self, request: web.Request) -> web.Response:
        """Answer with one order."""
        number = request.match_info["id"]
        row = await self._database.run(lambda connection: connection.fetchrow(FIND, number))
        if row is None:
            raise NotFound(f"no order {number}")
        return json_response(dict(row))

    async def _store(self, wish: Wish, amount_cents: int, charge_id: str) -> web.Response:
        order = {
            "id": uuid.uuid4().hex,
            "idempotency_key": wish.key,
            "sku": wish.sku,
            "quantity": wish.quantity,
            "amount_cents": amount_cents,
            "charge_id": charge_id,
        }
        values = (*order.values(), self._node, context.request_id.get(), orjson.dumps(order).decode())
        stored = await self._database.run(lambda connection: connection.fetchval(STORE, *values))
        if not stored:  # the same key at the same time: the other one was first
            row = await self._database.run(lambda connection: connection.fetchrow(FIND_BY_KEY, wish.key))
            return _replay(row, wish)
        self.relay.wake()
        return json_response(order, 201)


def _parse(key: str, document: dict[str, object]) -> Wish:
    sku, quantity = document.get("sku"), document.get("quantity", 1)
    if not key:
        raise BadRequest("the header Idempotency-Key is missing")
    if not isinstance(sku, str):
        raise BadRequest("`sku` must be a text")
    if not isinstance(quantity, int) or not 1 <= quantity <= 1000:
        raise BadRequest("`quantity` must be a whole number from 1 to 1000")
    return Wish(key, sku, quantity)


def _replay(row: Any, wish: Wish) -> web.Response:
    if (row["sku"], row["quantity"]) != (wish.sku, wish.quantity):
        raise Conflict("the idempotency key was used for another order")
    order = {name: row[name] for name in COLUMNS.split(", ")}
    return json_response(order, 200, {"idempotent-replay": "true"})


def build(kit: Kit) -> web.Application:
    """Return the web application."""
    application = new_application(kit)
    orders = Orders(kit)
    application.cleanup_ctx.append(orders.live)
    application.cleanup_ctx.append(background(kit, "outbox", orders.relay.run))
    application.router.add_post("/orders", orders.place)
    application.router.add_get("/orders/{id}", orders.find)
    return application
