"""Expectations against the load, the phases, the faults and the target."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reports.expectations import ALL, ANY, Amplification, Balance, GoodputRetention, LossArea, Name, NameKind, Recovery
from scenarios.diagnosis import NAMES as DIAGNOSIS
from scenarios.draft import Draft, ExpectDraft
from scenarios.problems import Place, Problems
from scenarios.tree import Mapping as MappingTree
from scenarios.tree import Scalar
from targets.base import TargetMap

Related = Sequence[tuple[Place, str]]
_NEEDS_FAULT: Final = (Recovery, LossArea, GoodputRetention)


def check_expectations(draft: Draft, target: TargetMap | None, problems: Problems) -> None:
    """Note expectations about things that the scenario or its target does not have."""
    check_name = _name_checker(draft, target, problems)
    said: dict[str, Place] = {}
    for entry in draft.expects:
        for name in entry.names:
            check_name(entry, name)
        _check_form(entry, draft, target, problems)
        text = str(entry.value or entry.text.value)
        if text in said:
            problems.add(entry.text.place, "the same expectation stands twice", related=[(said[text], "first here")])
        said.setdefault(text, entry.text.place)


def _name_checker(draft: Draft, target: TargetMap | None, problems: Problems) -> Callable[[ExpectDraft, Name], None]:
    known = _known(draft, target)
    related = {"operation": _load_says(draft)}

    def check(entry: ExpectDraft, name: Name) -> None:
        names = known.get(name.kind)
        if names is not None and name.text not in names:
            place = entry.text.within(name.column)
            problems.unknown(place, name.kind, name.text, names, related=related.get(name.kind, ()))

    return check


def _known(draft: Draft, target: TargetMap | None) -> Mapping[NameKind, Sequence[str]]:
    """Return the names that are known of each kind; a kind that nobody can know yet is left out."""
    known: dict[NameKind, Sequence[str]] = {}
    operations = operations_of(draft)
    if draft.phases:
        known["phase"] = [*draft.phases, *(DIAGNOSIS if draft.confirm else ())]
    if draft.loads:
        known["tenant"] = _tenants(draft)
    if operations:
        known["operation"] = [*operations, ALL]
    if target is not None:
        links = [link.name for edge in target.edges for link in edge.links]
        known["edge"] = [*(edge.name for edge in target.edges), *links]
        known["link"] = links
        known["observation"] = list(target.observations)
        known["service"] = list(dict.fromkeys(node.service for node in target.nodes))
        if operations:
            known["limiter"] = [*target.limiters, *operations, ANY]
    return known


def operations_of(draft: Draft) -> list[str]:
    """Return the operations that the load contains; empty when that cannot be known, as with a locustfile."""
    found: list[str] = []
    for load in draft.loads:
        mix = load.tree.get("mix")
        if not isinstance(mix, MappingTree):
            return []
        found += mix.keys()
    return list(dict.fromkeys(found))


def _load_says(draft: Draft) -> Related:
    mixes = [mix for load in draft.loads if isinstance(mix := load.tree.get("mix"), MappingTree)]
    names = operations_of(draft)
    return [(mixes[0].place, f"the load's operations are {', '.join(names)}")] if mixes and names else []


def _tenants(draft: Draft) -> list[str]:
    scalars = (load.tree.get("tenant") for load in draft.loads)
    return [str(scalar.value) for scalar in scalars if isinstance(scalar, Scalar) and scalar.value]


def _check_form(entry: ExpectDraft, draft: Draft, target: TargetMap | None, problems: Problems) -> None:
    """Note what a form needs beyond names that exist."""
    if isinstance(entry.value, _NEEDS_FAULT) and not draft.faults:
        problems.add(entry.text.place, f"{entry.value.form.replace('_', ' ')} needs a fault; this scenario has none")
    if target is None:
        return
    edges = {edge.name: [link.name for link in edge.links] for edge in target.edges}
    if isinstance(entry.value, Balance):
        links = edges.get(entry.value.edge)
        if links and entry.value.link not in links and entry.value.link not in edges:
            said = f"{entry.value.link} is no link of {entry.value.edge}"
            problems.add(entry.text.place, said, f"its links are {', '.join(links)}")
    if isinstance(entry.value, Amplification) and entry.value.edge not in edges and target.links_of(entry.value.edge):
        whole = next(name for name, links in edges.items() if entry.value.edge in links)
        problems.add(entry.text.place, "amplification belongs to a whole edge, not to one link", f"write {whole}")
