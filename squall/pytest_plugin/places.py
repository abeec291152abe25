"""Loopback addresses as tests write and read them."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from targets.base import Address

_LOOPBACK = ("127.", "localhost")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens on this machine; as text `127.0.0.1:8000`."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return it as `http://127.0.0.1:8000`."""
        return f"http://{self}"

    @property
    def address(self) -> Address:
        """Return it as targets know it."""
        return Address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def place_of(said: Any) -> Place:
    """Return where something listens, from what a test says.

    Parameters
    ----------
    said
        `"127.0.0.1:8000"`, `"http://localhost:8000"`, a port number, or anything that has a `host` and a `port`.

    Raises
    ------
    ValueError
        It cannot be read, or lies beyond this machine: load goes to loopback addresses alone.
    """
    if isinstance(said, int) and not isinstance(said, bool):
        return Place("127.0.0.1", said)
    host, port = getattr(said, "host", None), getattr(said, "port", None)
    if not isinstance(said, str) and isinstance(host, str) and isinstance(port, int):
        return _on_loopback(host, port)
    text = str(said)
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no address: {error}") from None
    if not host or not port:
        raise ValueError(f"{text!r} is no address; write 127.0.0.1:8000 or http://127.0.0.1:8000")
    return _on_loopback(host, port)


def _on_loopback(host: str, port: int) -> Place:
    if not host.startswith(_LOOPBACK):
        raise ValueError(f"{host}:{port} is not on a loopback address: only what runs on this machine is tested")
    return Place("127.0.0.1" if host == "localhost" else host, port)
