"""What several workers can share: the schedule of an open load, ticket by ticket."""

from scenarios.draft import Draft, LoadDraft
from scenarios.model import ClosedLoad, LocustfileLoad
from scenarios.problems import Place, Problems
from targets.units import parse_address


def check_address(draft: Draft, problems: Problems) -> None:
    """Note an address of the command line that is none."""
    try:
        parse_address(draft.listen or "localhost")
    except ValueError as error:
        problems.add(Place(), f"listen: {error}")


def check_sharing(load: LoadDraft, draft: Draft, problems: Problems) -> None:
    """Note a stream that has no schedule to share."""
    if draft.workers == 1 and not draft.listen:
        return
    said = "workers from elsewhere" if draft.listen else f"{draft.workers} workers"
    hint = "share out requests by rate, or leave out the workers"
    if isinstance(load.value, ClosedLoad):
        problems.add(load.tree.place, f"{said} share a schedule, and users of a closed loop have none", hint)
    elif isinstance(load.value, LocustfileLoad):
        problems.add(load.tree.place, f"{said} share a schedule, and a locustfile has none", hint)
