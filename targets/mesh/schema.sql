-- The sample mesh's database. Safe to apply again: nothing is dropped, seed rows that exist stay.

create table if not exists articles (
    sku         text primary key,
    name        text not null,
    price_cents integer not null check (price_cents > 0)
);

create table if not exists orders (
    id              text primary key,
    idempotency_key text not null unique,  -- one order for a key, whatever is retried
    sku             text not null references articles (sku),
    quantity        integer not null check (quantity > 0),
    amount_cents    integer not null,
    charge_id       text not null,         -- the payment that paid for it
    node            text not null,
    created_at      timestamptz not null default now()
);

create table if not exists outbox (  -- written in the order's transaction, emptied by the relay
    id           bigint generated always as identity primary key,
    order_id     text not null unique references orders (id),
    request_id   text not null,
    payload      text not null,
    created_at   timestamptz not null default now(),
    published_at timestamptz
);
create index if not exists outbox_waiting on outbox (id) where published_at is null;

create table if not exists notifications (  -- what was delivered, once for an order
    id           bigint generated always as identity primary key,
    order_id     text not null unique,
    request_id   text not null,
    node         text not null,
    deliveries   integer not null,  -- how often the broker brought the message, this one included
    delivered_at timestamptz not null default now()
);

insert into articles (sku, name, price_cents)
select 'sku-' || n, 'Article ' || n, 100 + (n * 37) % 9900
from generate_series(0, 499) as n
on conflict do nothing;

insert into orders (id, idempotency_key, sku, quantity, amount_cents, charge_id, node)
select 'seed-' || n, 'seed-key-' || n, 'sku-' || n, 1, 100 + (n * 37) % 9900, 'seed-charge-' || n, 'seed'
from generate_series(0, 199) as n
on conflict do nothing;
