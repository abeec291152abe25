"""Both sides of the metastability bound on real processes, again and again: how many are called rightly.

    python tests/truth/metastable_often.py 20 [AT_ONCE]

Each time one stub has a line so long that it must stay down, and one a line so short that it must come back (see
`test_truth_metastability_real`); the arrivals of each time are drawn anew. A time takes about 80 s, and a quiet
machine: what other work delays is no longer the case that theory speaks of. Ends with 1 when one was called wrongly.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import rig
import test_truth_metastability_real as real
from histories import EDGE

from reports.analyses import section_of
from reports.analyses.base import Section
from reports.analyses.metastability import METASTABILITY

FEEDS = {f"retries on {EDGE}", f"queue wait on {EDGE}"}
SIDES = {
    "stays down": (real.LONG, "metastable", FEEDS),
    "comes back": (real.SHORT, "stable", set[str]()),
}


@dataclass(slots=True)
class Tally:
    """How often one side was called what it is."""

    right: int = 0
    verdict: int = 0  # the verdict alone, whatever was said to feed it
    times: int = 0

    def add(self, section: Section, wanted: str, feeds: set[str]) -> bool:
        """Count one section; returns whether all of it is right."""
        facts = section.subjects[0].facts if section.subjects else {}
        same = facts.get("verdict") == wanted
        right = same and set(facts.get("sustained_by", ())) == feeds
        self.times, self.verdict, self.right = self.times + 1, self.verdict + same, self.right + right
        return right


def main(times: int, at_once: int) -> int:
    """Play both sides so many times, and print each and the sums."""
    tallies = {name: Tally() for name in SIDES}
    for number in range(times):
        cases = [
            replace(case, shots=rig.asks(rig.poisson(real.RATE, real.END, seed=number + 1), deadline=real.DEADLINE))
            for case in (real.case(bound) for bound, *_ in SIDES.values())
        ]
        for (name, (_, wanted, feeds)), played in zip(SIDES.items(), rig.play_all(cases, at_once), strict=True):
            section = section_of(METASTABILITY, played.history)
            right = tallies[name].add(section, wanted, feeds)
            said = (
                f"{number + 1:>3}  {name}  {'right' if right else 'WRONG'}  {played.late_s * 1000:4.0f} ms late at most"
            )
            print(said if right else f"{said}  {section.sentence or section.why}", flush=True)
    for name, tally in tallies.items():
        print(f"{name}: {tally.right} of {tally.times} called rightly, {tally.verdict} by the verdict alone")
    return int(any(tally.right < tally.times for tally in tallies.values()))


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [20, 2][len(given) :])))
