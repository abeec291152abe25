"""What the analysis says of a simulated breaker, in few words."""

from breaker_world import EDGE, evenly, failing, rule_of, simulate

from reports.analyses import section_of
from reports.analyses.breaker import BREAKER

OPEN = 2.0
SLACK = 0.05  # the definition's own: what a loaded machine may take


def subject(history, name=EDGE):
    return next(one for one in section_of(BREAKER, history).subjects if one.name == name)


def measure(history, name, where=EDGE):
    return subject(history, where).measure(name)


def value(history, name):
    return measure(history, name).value


def broken(history):
    """Return the names of all measures that break their rule."""
    return {one.name for _, one in section_of(BREAKER, history).findings}


def outage(rate=20.0, took=0.01, until=20.0, flaws=None, **numbers):
    """Return a world in which every call fails from 10 s on."""
    rule = rule_of(**numbers)
    return simulate(rule, failing(took=took, until=until), evenly(rate), flaws=flaws)
