"""What is done to packets in a node's own network namespace, by iptables and tc; the machine's tables are not touched.

Pure but for `Packets`, which has them run by the node's companion.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from targets.base import TargetError
from targets.compose.companion import Companion, Companions
from targets.containers import Way

COMMENT: Final = "squall"  # on each rule
LONGEST_WAIT: Final = "200ms"  # of a packet in the queue of a slow sender
_BITS: Final = 8000  # a second for each kB a second
_RATES: Final[Mapping[str, float]] = {"bit": 1, "Kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}


def drop(way: Way, share: float) -> tuple[str, ...]:
    """Return the rule that drops a share of the packets, without what puts it in or takes it out."""
    chain, interface = ("INPUT", "-i") if way == "in" else ("OUTPUT", "-o")
    some = () if share == 1 else ("-m", "statistic", "--mode", "random", "--probability", f"{share:.6f}")
    return (chain, "!", interface, "lo", *some, "-m", "comment", "--comment", COMMENT, "-j", "DROP")


def is_empty(saved: str, table: str = "filter") -> bool:
    """Tell whether a table of `iptables-save` is as it is made: its own chains alone, without a rule."""
    lines = _lines_of(saved, table)
    return all(re.fullmatch(r":(INPUT|FORWARD|OUTPUT) ACCEPT .*", line) for line in lines)


def has_table(saved: str, table: str = "filter") -> bool:
    """Tell whether `iptables-save` knows a table."""
    return f"*{table}" in saved.splitlines()


def _lines_of(saved: str, table: str) -> list[str]:
    _, _, after = saved.partition(f"*{table}\n")
    return after.partition("COMMIT")[0].splitlines()


def interfaces(shown: str) -> tuple[str, ...]:
    """Return the interfaces of `ip -o link`, without the loopback one."""
    names = [line.split(":")[1].split("@")[0].strip() for line in shown.splitlines()]
    return tuple(name for name in names if name != "lo")


def bucket(rate_kb_s: float) -> tuple[str, ...]:
    """Return a token bucket of `tc qdisc` that lets 10 ms at the rate pass at once, two packets at the least."""
    burst = max(3200, round(rate_kb_s * 10))
    return ("tbf", "rate", f"{round(rate_kb_s * _BITS)}bit", "burst", f"{burst}b", "latency", LONGEST_WAIT)


def late(delay_s: float, jitter_s: float) -> tuple[str, ...]:
    """Return a netem of `tc qdisc` that delays all packets, and has room for a second of a fast network."""
    jitter = () if not jitter_s else (f"{round(jitter_s * 1e6)}us",)
    return ("netem", "limit", "100000", "delay", f"{round(delay_s * 1e6)}us", *jitter)


def rate_of(shown: str) -> float:
    """Return the kB a second of the token bucket in `tc qdisc show`; 0 without one."""
    match = re.search(r"qdisc tbf .*? rate ([\d.]+)([KMG]?bit)", shown)
    return 0.0 if match is None else float(match[1]) * _RATES[match[2]] / _BITS


class Packets:
    """Drops, delays and shapes the packets of nodes, and puts everything back as it was."""

    def __init__(self, companions: Companions) -> None:
        self._companions = companions
        self._rules: dict[str, tuple[tuple[str, ...], bool]] = {}  # node -> its rule, and whether the table is ours
        self._queues: dict[str, tuple[str, ...]] = {}  # node -> the interfaces that have one of ours

    async def drop(self, node: str, way: Way, share: float) -> None:
        """Drop a share of the packets into or out of a node."""
        companion = await self._companions.of(node)
        if node in self._rules:
            raise TargetError(f"packets of {node} are dropped already")
        rule, saved = drop(way, share), await companion.do("run", argv=["iptables-save"])
        self._rules[node] = (rule, not has_table(saved))
        await companion.do("run", argv=["iptables", "-w", "-I", *rule])

    async def pass_all(self, node: str) -> None:
        """Drop none any more; a table that the rule had made goes with it."""
        companion = await self._still(node)
        if companion is not None and node in self._rules:
            rule, ours = self._rules[node]
            if _shown(rule) in await companion.do("run", argv=["iptables-save"]):
                await companion.do("run", argv=["iptables", "-w", "-D", *rule])
            saved = await companion.do("run", argv=["iptables-save"])
            if ours and has_table(saved) and is_empty(saved):
                await companion.do("drop_table", name="filter")
        self._rules.pop(node, None)

    async def queue(self, node: str, words: Sequence[str]) -> None:
        """Put a queueing discipline on each interface of a node."""
        companion = await self._companions.of(node)
        if node in self._queues:
            raise TargetError(f"{node} sends through a queue of squall already")
        names = interfaces(await companion.do("run", argv=["ip", "-o", "link"]))
        shown = {name: await companion.do("run", argv=["tc", "qdisc", "show", "dev", name]) for name in names}
        strange = [name for name, one in shown.items() if not one.startswith("qdisc noqueue ")]
        if strange:
            said = f"{node} has a queue of its own on {', '.join(strange)}, which could not be put back"
            raise TargetError(said, hint="docker logs: who gives it NET_ADMIN?")
        self._queues[node] = names
        for name in names:
            await companion.do("run", argv=["tc", "qdisc", "add", "dev", name, "root", *words])

    async def unqueue(self, node: str) -> None:
        """Take it off again; what the kernel gives an interface by itself comes back."""
        companion = await self._still(node)
        if companion is not None:
            for name in self._queues.get(node, ()):
                if "noqueue" not in await companion.do("run", argv=["tc", "qdisc", "show", "dev", name]):
                    await companion.do("run", argv=["tc", "qdisc", "del", "dev", name, "root"])
        self._queues.pop(node, None)

    async def rate(self, node: str) -> float:
        """Return the kB a second that a node may send; 0 when that is not limited."""
        companion = await self._companions.of(node)
        return rate_of(await companion.do("run", argv=["tc", "qdisc", "show"]))

    async def _still(self, node: str) -> Companion | None:
        """Return the companion of a node; None when the node is gone, and with it all that was done to its packets."""
        return await self._companions.of(node) if await self._companions.runs(node) else None


def _shown(rule: tuple[str, ...]) -> str:
    """Return the part of a rule by which it is found in `iptables-save`."""
    return f"-A {rule[0]} ! {rule[2]} lo"
