"""Requests as bytes, from the target's operations."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from scenarios.pacing import value
from targets.base import Operation

_WORDS = ("storm", "gust", "mast", "sail", "reef", "keel", "wave", "rope", "harbour", "anchor", "lantern", "compass")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: what goes into every request of a stream."""

    host: str
    port: int
    tenant: str
    priority: str = ""


def message(
    operation: Operation, sender: Sender, lid: str, *, key: str, drawn: Mapping[str, int], deadline: float
) -> bytes:
    """Return one request as bytes.

    Parameters
    ----------
    operation
        The template.
    sender
        Address, tenant and priority.
    lid
        Correlation id.
    key
        Idempotency key, used where the template has `{key}`.
    drawn
        Numbers of the template's parameters.
    deadline
        Seconds that the client waits, told to the services in `x-deadline-ms`.
    """
    chosen = {name: str(number) if operation.numbers else value(name, number) for name, number in drawn.items()}
    values = chosen | {"key": key}
    body = operation.body.format(**values).encode() if operation.body else _filler(operation.body_bytes)
    lines = [
        f"{operation.method} {operation.path.format(**values)} HTTP/1.1",
        f"host: {sender.host}:{sender.port}",
        f"x-request-id: {lid}",
        f"x-deadline-ms: {deadline * 1000:.0f}",
        *(f"{name}: {text.format(**values)}" for name, text in operation.headers.items()),
    ]
    if sender.tenant:
        lines.append(f"x-tenant: {sender.tenant}")
    if sender.priority:
        lines.append(f"x-priority: {sender.priority}")
    if body or operation.method in {"POST", "PUT"}:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def uses_key(operation: Operation) -> bool:
    """Tell whether an operation sends an idempotency key."""
    return any("{key}" in text for text in (operation.path, operation.body, *operation.headers.values()))


@cache
def _filler(size: int) -> bytes:
    """Return a text of `size` bytes that compresses about as prose does."""
    words = random.Random(size)
    text = " ".join(words.choice(_WORDS) for _ in range(size // 4 + 1))
    return text.encode()[:size]
