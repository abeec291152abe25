"""The one module that touches toxiproxy-python: its calls with deadlines, true errors and the calls that it lacks.

The library keeps the server's address in a class and calls `requests.get`, `post` and `delete` without deadlines,
through whatever proxy the environment names, and takes a 500 for success. Here the name `requests` in its one module
that talks is replaced by `_Transport`, which sends each call to the server of the `Api` that makes it.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
import toxiproxy.api
from toxiproxy import Proxy, Toxiproxy

from targets.base import Address, TargetError, Toxic

DEADLINE: Final = 2.0  # seconds for one call; an unwedged server answers in about 1 ms
_OF_THE_SERVER: Final = "the Toxiproxy server may be wedged or gone; a run mends that by itself: squall run again"
_HINTS: Final = {
    400: "its parameters are wrong: squall faults",
    404: "it was removed by somebody else: end other clients of this Toxiproxy",
    409: "it is there already: end other clients of this Toxiproxy",
    500: "see what listens on its ports: ss -ltnp",
}

_calling: ContextVar["Api"] = ContextVar("_calling")


class NoAnswerError(TargetError):
    """The server did not answer in time, or could not: it may be wedged."""


class NotThereError(TargetError):
    """The server has no such proxy or toxic."""


class _Transport:
    """Stands in for the module `requests` inside toxiproxy-python."""

    def get(self, url: str, **options: Any) -> requests.Response:
        return _calling.get().send("GET", url, **options)

    def post(self, url: str, **options: Any) -> requests.Response:
        return _calling.get().send("POST", url, **options)

    def delete(self, url: str, **options: Any) -> requests.Response:
        return _calling.get().send("DELETE", url, **options)


toxiproxy.api.requests = _Transport()
_consumer = toxiproxy.api.APIConsumer


class Api:
    """Blocking calls to one server, each with a deadline. All raise `TargetError`."""

    def __init__(self, address: Address, deadline: float = DEADLINE) -> None:
        self._address = address
        self._deadline = deadline
        self._session = requests.Session()
        self._session.trust_env = False  # HTTP_PROXY is not for loopback

    def close(self) -> None:
        """Let the connections go."""
        self._session.close()

    def send(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send one call to this server, whatever host the library put into `url`."""
        where = f"http://{self._address}{quote(urlsplit(url).path, safe='/')}"
        try:
            answer = self._session.request(method, where, timeout=self._deadline, **options)
        except requests.RequestException as error:
            why = f"Toxiproxy at {self._address} did not answer {method} {urlsplit(url).path}: {error}"
            raise NoAnswerError(why, hint=_OF_THE_SERVER) from error
        if answer.status_code >= 400:
            raise _failure(method, urlsplit(url).path, answer)
        return answer

    def version(self) -> str:
        """Return what the server calls its version; a build from source says `git`."""
        _calling.set(self)
        return str(_consumer.get("/version").json()["version"])

    def proxies(self) -> dict[str, Proxy]:
        """Return name -> proxy, as the library has them."""
        _calling.set(self)
        return dict(Toxiproxy().proxies())

    def populate(self, proxies: list[Mapping[str, Any]]) -> None:
        """Create proxies, or replace those that differ; each has `name`, `listen`, `upstream` and `enabled`."""
        _calling.set(self)
        _consumer.post("/populate", json=proxies)

    def delete(self, name: str) -> None:
        """Delete a proxy; its connections end."""
        _calling.set(self)
        _proxy(name).destroy()

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Let a proxy listen or not; its connections end when it does not."""
        _calling.set(self)
        proxy = _proxy(name)
        (proxy.enable if enabled else proxy.disable)()

    def toxics(self, name: str) -> dict[str, Toxic]:
        """Return name -> toxic of a proxy."""
        _calling.set(self)
        return {key: _toxic(found) for key, found in _proxy(name).toxics().items()}

    def add_toxic(self, name: str, toxic: Toxic) -> None:
        """Add a toxic to a proxy."""
        _calling.set(self)
        _proxy(name).add_toxic(
            name=toxic.name,
            type=toxic.type,
            stream=toxic.stream,
            toxicity=toxic.toxicity,
            attributes=dict(toxic.attributes),
        )

    def update_toxic(self, name: str, toxic: Toxic) -> None:
        """Change share and attributes of a toxic that is there."""
        _calling.set(self)
        changed = {"toxicity": toxic.toxicity, "attributes": dict(toxic.attributes)}
        _consumer.post(f"/proxies/{name}/toxics/{toxic.name}", json=changed)

    def remove_toxic(self, name: str, toxic: str) -> None:
        """Remove a toxic from a proxy."""
        _calling.set(self)
        _proxy(name).destroy_toxic(toxic)


def _proxy(name: str) -> Proxy:
    """Return the library's handle of a proxy; only the name is used by its calls."""
    return Proxy(name=name, upstream="", enabled=True, listen="")


def _toxic(found: Any) -> Toxic:
    return Toxic(found.name, found.type, found.stream, float(found.toxicity), dict(found.attributes))


def _failure(method: str, path: str, answer: requests.Response) -> TargetError:
    """Return the error for an answer of 400 and above; the server's own words stand in it."""
    message = f"Toxiproxy refused {method} {path}: {answer.status_code} {answer.text.strip()[:300]}"
    if answer.status_code == 404:
        return NotThereError(message, hint=_HINTS[404])
    if answer.status_code == 503:
        return NoAnswerError(message, hint=_OF_THE_SERVER)
    return TargetError(message, hint=_HINTS.get(answer.status_code, _OF_THE_SERVER))
