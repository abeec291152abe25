"""A Toxiproxy populate file: its proxies are edges of the target, their toxics faults."""

from squall.importing import loads, toxics
from squall.importing.naming import edge_of
from squall.importing.reading import Spot
from squall.importing.taken import Draft, Onto

_READ = {"name", "listen", "upstream", "enabled", "toxics"}


def is_it(spot: Spot) -> bool:
    """Tell whether a file looks like one: a list of proxies."""
    return spot.is_list and any(item.at("upstream").there for item in spot.items())


def take(spot: Spot, onto: Onto) -> Draft:
    """Return what a populate file says as a scenario."""
    draft = Draft("from-toxiproxy", about="The toxics of a Toxiproxy file, all at once.")
    draft.phases = {"warm": "3s", "baseline": "8s", "fault": "12s", "recovery": "10s"}
    for proxy in spot.items():
        _take_proxy(proxy, onto, draft)
    if not draft.faults:
        draft.note(0, "no fault: no proxy that was taken over has a toxic or is disabled")
    loads.own(draft, onto)
    return draft


def _take_proxy(proxy: Spot, onto: Onto, draft: Draft) -> None:
    name = proxy.at("name").text()
    edge = edge_of(name, proxy.line, onto, draft)
    for key, spot in proxy.entries():
        if key not in _READ:
            draft.note(spot.line, f"proxy {name}: {key} not taken over, Toxiproxy has no such setting")
    if edge is None:
        return
    where = f"{proxy.at('listen').text() or '?'} to {proxy.at('upstream').text() or '?'}"
    draft.note(proxy.line, f"proxy {name}: its addresses ({where}) not taken over, squall gives {edge} its own")
    if proxy.at("enabled").value is False:
        draft.faults.append(_during(f"down: {toxics.flow({'edge': edge})}", proxy.at("enabled").line))
    for toxic in proxy.at("toxics").items():
        text = toxics.fault(edge, toxic.value, toxic.line, draft)
        if text is not None:
            draft.faults.append(_during(text, toxic.line))


def _during(text: str, line: int) -> loads.Piece:
    return loads.Piece(f"{{at: fault, {text}}}", line)
