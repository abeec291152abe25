"""Which edge or node of a target is meant by another tool's name: exactly, as said, or alike; never a guess unsaid."""

import re
from collections.abc import Sequence

from scenarios.problems import candidates
from squall.importing.taken import Draft, Onto


def edge_of(name: str, line: int, onto: Onto, draft: Draft) -> str | None:
    """Return the edge or link that a proxy's name stands for; None when there is none, which is noted."""
    known = [where for edge in onto.target.edges for where in (edge.name, *(link.name for link in edge.links))]
    return _named("proxy", name, known, (line, onto, draft))


def node_of(name: str, line: int, onto: Onto, draft: Draft) -> str | None:
    """Return the node that a container's or process's name stands for; None when there is none, which is noted."""
    return _named("node", name, [node.name for node in onto.target.nodes], (line, onto, draft))


def _named(kind: str, name: str, known: Sequence[str], where: tuple[int, Onto, Draft]) -> str | None:
    (line, onto, draft), what = where, f"{kind} {name}"
    said = onto.names.get(name, name)
    if said in known:
        return said
    alike = [one for one in dict.fromkeys(known) if _bare(one) == _bare(said)]
    if len(alike) == 1 and name not in onto.names:
        draft.note(line, f"{what}: taken for {alike[0]}, whose name is alike; --map {name}=... says otherwise")
        return alike[0]
    near = candidates(said, sorted(set(known)))
    hint = f"{', or '.join(near)}?" if near else f"one of {', '.join(dict.fromkeys(known))}"
    draft.note(line, f"{what}: not taken over, {onto.said} has nothing of that name; --map {name}={hint}")
    return None


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
