"""A Toxiproxy server as a target needs it: the state that it should have is kept here, so that it can be made again.

Removing a toxic under load can wedge a proxy for good, or the whole server. A call that does not end in time is
mended in two steps: the proxy is deleted and made again with the toxics that stay; if that does not help, the server
is killed by whoever started it (`restart`) and populated again. Either way the call has had its effect in the end.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from targets.base import Address, TargetError, Toxic
from targets.toxiproxy.api import Api, NoAnswerError, NotThereError

_READY_EVERY: Final = 0.01  # seconds between two questions to a server that starts

Result = TypeVar("Result")


class ServerWedged(TargetError):  # noqa: N818 - the state that it names
    """The server does not answer any more: kill it, start it again and call `repopulate`."""


@dataclass
class _Desired:
    """What one proxy should be."""

    listen: Address
    upstream: Address
    enabled: bool = True
    toxics: dict[str, Toxic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProxyState:
    """What one proxy should be, or is."""

    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[str, ...]  # names


class ToxiproxyClient:
    """Talks to one server. Calls are made one after the other, each with a deadline.

    Parameters
    ----------
    address
        Of the server's API.
    restart
        Kills the server (SIGKILL) and starts it again at the same address; without it a wedged server is an error.
    tell
        Is told in words when something had to be mended, for the run's history.
    deadline
        Seconds for one call.
    """

    def __init__(
        self,
        address: Address,
        restart: Callable[[], Awaitable[None]] | None = None,
        tell: Callable[[str], None] = lambda _text: None,
        deadline: float = 2.0,
    ) -> None:
        self._api = Api(address, deadline)
        self._restart = restart
        self._tell = tell
        self._desired: dict[str, _Desired] = {}
        self._turn = anyio.Lock()

    async def wait_ready(self, within: float = 5.0) -> None:
        """Return when the server answers; raises `TargetError` when it does not within so many seconds."""
        with anyio.move_on_after(within):
            while True:
                try:
                    await _in_thread(self._api.version)
                except NoAnswerError:
                    await anyio.sleep(_READY_EVERY)
                else:
                    return
        raise TargetError(f"the Toxiproxy server did not answer within {within:g} s", hint="squall doctor")

    async def version(self) -> str:
        """Return what the server calls its version."""
        return await _in_thread(self._api.version)

    async def populate(self, links: Mapping[str, tuple[Address, Address]]) -> None:
        """Make exactly these proxies, without toxics.

        Parameters
        ----------
        links
            Link name -> (where the proxy listens, where it leads).
        """
        async with self._turn:
            self._desired = {name: _Desired(listen, upstream) for name, (listen, upstream) in links.items()}
            for name in await _in_thread(self._api.proxies):
                await _in_thread(self._api.delete, name)
            await self._make_all()

    async def take_over(self, links: Mapping[str, tuple[Address, Address]]) -> None:
        """Make these proxies besides those that are known; one that is there just so stays, with its connections.

        One that is to lead elsewhere keeps its toxics and its switch; its connections end.
        """
        async with self._turn:
            for name, (listen, upstream) in links.items():
                known = self._desired.get(name) or _Desired(listen, upstream)
                self._desired[name] = _Desired(listen, upstream, known.enabled, known.toxics)
            await _in_thread(partial(self._make, list(links)))

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Add a toxic to a link; a toxic of that name that is there is replaced."""
        await self._change(link, partial(_put, toxic), partial(self._put, link, toxic))

    async def remove_toxic(self, link: str, name: str) -> None:
        """Remove a toxic from a link; nothing to do when it is not there."""
        await self._change(link, partial(_drop, name), partial(self._remove, link, name))

    async def set_enabled(self, link: str, enabled: bool) -> None:
        """Let a link's proxy listen, or refuse and end its connections."""
        await self._change(link, partial(_enable, enabled), partial(self._api.set_enabled, link, enabled))

    async def recreate(self, link: str) -> None:
        """Delete a link's proxy and make it again with the toxics that it should have; its connections end."""
        async with self._turn:
            self._of(link)
            await self._mend(link, "asked for")

    async def repopulate(self) -> None:
        """Give a new server all proxies, toxics and switches that the old one should have had."""
        async with self._turn:
            await self._make_all()

    async def toxics(self, link: str) -> dict[str, Toxic]:
        """Return name -> toxic, as the server has them."""
        return await _in_thread(self._api.toxics, link)

    async def proxies(self) -> dict[str, ProxyState]:
        """Return link -> proxy, as the server has them, without their toxics."""
        found = await _in_thread(self._api.proxies)
        return {name: ProxyState(proxy.listen, proxy.upstream, proxy.enabled, ()) for name, proxy in found.items()}

    async def found(self) -> dict[str, ProxyState]:
        """Return link -> proxy, as the server has them, toxics and all."""
        async with self._turn:
            return await _in_thread(self._found)

    def snapshot(self) -> dict[str, ProxyState]:
        """Return link -> proxy, as they should be."""
        return {
            name: ProxyState(str(want.listen), str(want.upstream), want.enabled, tuple(want.toxics))
            for name, want in self._desired.items()
        }

    def close(self) -> None:
        """Let the connections to the server go."""
        self._api.close()

    def _found(self) -> dict[str, ProxyState]:
        return {
            name: ProxyState(proxy.listen, proxy.upstream, proxy.enabled, tuple(self._api.toxics(name)))
            for name, proxy in self._api.proxies().items()
        }

    def _of(self, link: str) -> _Desired:
        if link not in self._desired:
            raise TargetError(f"Toxiproxy has no link {link}", hint=f"links: {', '.join(sorted(self._desired))}")
        return self._desired[link]

    async def _change(self, link: str, note: Callable[[_Desired], None], call: Callable[[], None]) -> None:
        """Note what should be, tell the server, and mend the proxy or the server when it does not answer."""
        async with self._turn:
            before = _copy(self._of(link))
            note(self._desired[link])
            try:
                await _in_thread(call)
            except NoAnswerError as error:
                await self._mend(link, str(error))
            except TargetError:
                self._desired[link] = before
                raise

    def _put(self, link: str, toxic: Toxic) -> None:
        if toxic.name in self._api.toxics(link):
            self._api.update_toxic(link, toxic)
        else:
            self._api.add_toxic(link, toxic)

    def _remove(self, link: str, name: str) -> None:
        with suppress(NotThereError):
            self._api.remove_toxic(link, name)

    async def _mend(self, link: str, why: str) -> None:
        try:
            await _in_thread(partial(self._make_again, link))
        except NoAnswerError as error:
            await self._mend_server(link, error)
        else:
            self._tell(f"the Toxiproxy proxy {link} was deleted and made again: {why}")

    async def _mend_server(self, link: str, error: NoAnswerError) -> None:
        if self._restart is None:
            raise ServerWedged(f"the Toxiproxy server is wedged at {link}: {error}", hint="kill it") from error
        await self._restart()
        await self.wait_ready()
        await self._make_all()
        self._tell(f"the Toxiproxy server was started anew and populated again: it gave no answer at {link}")

    def _make_again(self, link: str) -> None:
        with suppress(NotThereError):  # an earlier try got that far
            self._api.delete(link)
        self._make([link])

    async def _make_all(self) -> None:
        await _in_thread(partial(self._make, list(self._desired)))

    def _make(self, links: list[str]) -> None:
        self._api.populate([_proxy_document(link, self._desired[link]) for link in links])
        for link in links:
            for toxic in self._desired[link].toxics.values():
                self._put(link, toxic)


def _proxy_document(link: str, want: _Desired) -> dict[str, Any]:
    return {"name": link, "listen": str(want.listen), "upstream": str(want.upstream), "enabled": want.enabled}


def _copy(want: _Desired) -> _Desired:
    return _Desired(want.listen, want.upstream, want.enabled, dict(want.toxics))


def _put(toxic: Toxic, want: _Desired) -> None:
    want.toxics[toxic.name] = toxic


def _drop(name: str, want: _Desired) -> None:
    want.toxics.pop(name, None)


def _enable(enabled: bool, want: _Desired) -> None:
    want.enabled = enabled


async def _in_thread(call: Callable[..., Result], *arguments: Any) -> Result:
    """Run a blocking call in a thread; it ends by its own deadline, so a cancellation waits for it."""
    return await anyio.to_thread.run_sync(partial(call, *arguments))
