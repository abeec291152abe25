"""What the client does when a proxy or the whole server is wedged, shown on a fake server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from targets.base import Address, TargetError, Toxic
from targets.toxiproxy.api import NoAnswerError, NotThereError
from targets.toxiproxy.client import ServerWedged, ToxiproxyClient

pytestmark = pytest.mark.anyio

HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
LINKS = {"a->b-1": (HERE, THERE), "a->b-2": (Address("127.0.0.1", 3), THERE)}
SLOW = Toxic("slow", "latency", "downstream", 1.0, {"latency": 100})
THIN = Toxic("thin", "bandwidth", "upstream", 1.0, {"rate": 10})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class FakeApi:
    """A server in memory. `stuck` names the calls that get no answer until `stuck` is emptied."""

    stuck: set[str] = field(default_factory=set)
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: str = ""

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.stuck:
            raise NoAnswerError(f"{what} did not end")
        if what == self.refuse:
            raise TargetError(f"{what} was refused")

    def version(self) -> str:
        """Answer."""
        self._called("version")
        return "2.12.0"

    def proxies(self) -> dict[str, Any]:
        """Return what is there."""
        self._called("proxies")
        return dict(self.state)

    def populate(self, proxies: list[Mapping[str, Any]]) -> None:
        """Create proxies."""
        self._called("populate")
        for proxy in proxies:
            self.state[proxy["name"]] = {**proxy, "toxics": {}}

    def delete(self, name: str) -> None:
        """Delete a proxy."""
        self._called("delete")
        if self.state.pop(name, None) is None:
            raise NotThereError(name)

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Switch a proxy."""
        self._called("set_enabled")
        self.state[name]["enabled"] = enabled

    def toxics(self, name: str) -> dict[str, Toxic]:
        """Return a proxy's toxics."""
        self._called("toxics")
        return dict(self.state[name]["toxics"])

    def add_toxic(self, name: str, toxic: Toxic) -> None:
        """Add a toxic."""
        self._called("add_toxic")
        self.state[name]["toxics"][toxic.name] = toxic

    update_toxic = add_toxic

    def remove_toxic(self, name: str, toxic: str) -> None:
        """Remove a toxic."""
        self._called("remove_toxic")
        if self.state[name]["toxics"].pop(toxic, None) is None:
            raise NotThereError(toxic)

    def close(self) -> None:
        """Let go."""


class Rig:
    """A client on a fake server that can be killed and started again."""

    def __init__(self, *, restartable: bool = True) -> None:
        self.api, self.told, self.restarts = FakeApi(), [], 0
        self.client = ToxiproxyClient(HERE, self._restart if restartable else None, self.told.append)
        self.client._api = self.api

    async def _restart(self) -> None:
        self.restarts += 1
        self.api.stuck.clear()
        self.api.state.clear()

    def toxics(self) -> dict[str, list[str]]:
        """Return link -> names of the toxics that the server has."""
        return {name: sorted(proxy["toxics"]) for name, proxy in self.api.state.items()}


async def populated(**options: bool) -> Rig:
    rig = Rig(**options)
    await rig.client.populate(LINKS)
    await rig.client.add_toxic("a->b-1", SLOW)
    await rig.client.add_toxic("a->b-1", THIN)
    await rig.client.add_toxic("a->b-2", SLOW)
    return rig


async def test_populate_makes_exactly_these_links() -> None:
    """What was there before is gone, toxics included."""
    rig = await populated()
    await rig.client.populate({"c->d": (HERE, THERE)})
    assert rig.toxics() == {"c->d": []}


async def test_a_toxic_comes_goes_and_may_be_gone_already() -> None:
    """Adding twice replaces; removing twice is no error, so that an undo can be repeated."""
    rig = await populated()
    await rig.client.add_toxic("a->b-2", SLOW)
    await rig.client.remove_toxic("a->b-2", "slow")
    await rig.client.remove_toxic("a->b-2", "slow")
    assert rig.toxics() == {"a->b-1": ["slow", "thin"], "a->b-2": []}


async def test_a_wedged_proxy_is_made_again_with_what_stays() -> None:
    """A removal that does not end costs its own proxy only; the other toxics of the link are back."""
    rig = await populated()
    rig.api.stuck = {"remove_toxic"}
    await rig.client.remove_toxic("a->b-1", "slow")
    assert rig.toxics() == {"a->b-1": ["thin"], "a->b-2": ["slow"]}
    assert (rig.restarts, len(rig.told)) == (0, 1)


async def test_a_wedged_server_is_restarted_and_populated_again() -> None:
    """When deleting does not end either, the server is killed; toxics and switches are as they should be."""
    rig = await populated()
    await rig.client.set_enabled("a->b-2", False)
    rig.api.stuck = {"remove_toxic", "delete"}
    await rig.client.remove_toxic("a->b-1", "slow")
    assert rig.toxics() == {"a->b-1": ["thin"], "a->b-2": ["slow"]}
    assert rig.api.state["a->b-2"]["enabled"] is False
    assert (rig.restarts, len(rig.told)) == (1, 1)


async def test_a_wedge_without_a_restart_is_said_and_can_be_mended_later() -> None:
    """Whoever owns the server hears `ServerWedged`, and `repopulate` restores the state on a new one."""
    rig = await populated(restartable=False)
    rig.api.stuck = {"remove_toxic", "delete"}
    with pytest.raises(ServerWedged):
        await rig.client.remove_toxic("a->b-1", "slow")
    await rig._restart()
    await rig.client.repopulate()
    assert rig.toxics() == {"a->b-1": ["thin"], "a->b-2": ["slow"]}


async def test_a_switch_that_hangs_has_its_effect_in_the_end() -> None:
    """Disabling a link survives a wedge as well."""
    rig = await populated()
    rig.api.stuck = {"set_enabled"}
    await rig.client.set_enabled("a->b-1", False)
    assert rig.api.state["a->b-1"]["enabled"] is False


async def test_a_refused_change_is_not_remembered() -> None:
    """What the server refused is not made when the server is populated again."""
    rig = await populated()
    rig.api.refuse = "add_toxic"
    with pytest.raises(TargetError, match="refused"):
        await rig.client.add_toxic("a->b-1", Toxic("bad", "latncy", "downstream", 1.0, {}))
    assert rig.client.snapshot()["a->b-1"].toxics == ("slow", "thin")


async def test_an_unknown_link_is_named_with_the_known_ones() -> None:
    """A link that is not there is an error before the server is asked."""
    rig = await populated()
    with pytest.raises(TargetError) as error:
        await rig.client.add_toxic("a->c", SLOW)
    assert "a->b-1" in error.value.hint


async def test_recreating_a_link_keeps_its_toxics() -> None:
    """Making a proxy again by hand changes nothing but its connections."""
    rig = await populated()
    await rig.client.recreate("a->b-1")
    assert rig.toxics() == {"a->b-1": ["slow", "thin"], "a->b-2": ["slow"]}
    assert "delete" in rig.api.calls


async def test_a_server_that_never_answers_is_an_error() -> None:
    """Waiting for a server ends by itself."""
    rig = Rig()
    rig.api.stuck = {"version"}
    with pytest.raises(TargetError, match="did not answer"):
        await rig.client.wait_ready(within=0.05)
