"""The load of a scenario whose source has none, or does not say what is asked for. Said, never silent."""

from squall.importing.taken import Draft, Onto, Piece
from squall.importing.toxics import flow

__all__ = ["Piece", "mix", "own", "own_expectation"]

_RATE = "30/s"


def own(draft: Draft, onto: Onto) -> None:
    """Add a load of squall's own."""
    draft.load.append(Piece(flow({"mix": mix(onto), "rate": _RATE, "arrivals": "poisson"})))
    draft.note(
        0, f"the file has no load: the scenario asks {', '.join(mix(onto))} {_RATE}, which is squall's word; change it"
    )


def mix(onto: Onto) -> dict[str, int]:
    """Return every operation of the target, evenly."""
    return {operation.name: 1 for operation in onto.target.operations}


def own_expectation(draft: Draft) -> None:
    """Add an expectation where none was taken over: a scenario that expects nothing proves nothing."""
    if not draft.expect:
        draft.expect.append(Piece("availability of all >= 99%"))
        draft.note(0, "nothing that is expected was taken over: availability of all >= 99% is squall's word; change it")
