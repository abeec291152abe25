"""A plan is the scenario worked out to absolute steps; literal tables."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written import GOOD, changed, load_text

from scenarios.loader import Overrides
from scenarios.plan import OpenStream, RatePoint, planned, planned_between

LOAD = "  - {mix: {browse: 3, checkout: 1}, rate: 80/s, arrivals: poisson}"
FAULT = "  - {at: fault, latency: {edge: orders->payments, delay: 900ms, jitter: 50ms}}"


def streams(folder, entry):
    """Return the streams of the good scenario with another load."""
    return load_text(folder, changed((LOAD, f"  - {entry}"))).streams


def profile(folder, entry):
    """Return the profile of the first stream as pairs."""
    return [(point.t, point.rate) for point in streams(folder, entry)[0].profile]


def test_the_whole_document(tmp_path):
    """The plan's document is what docs/run-directory.md says, in plain JSON types."""
    plan = load_text(tmp_path, GOOD + "control: {variant: none}\n")
    document = plan.to_document()
    assert json.loads(json.dumps(document)) == document
    facts = document.pop("target_facts")
    assert document == {
        "name": "good",
        "about": "Payments answers late; orders must fail fast.",
        "teaches": "",
        "target": "mesh",
        "variant": "full",
        "seed": 11,
        "control": "none",
        "confirm": None,
        "search": None,
        "duration": 31.0,
        "max_users": 360,
        "workers": 1,
        "listen": "",
        "phases": [
            {"name": "warm", "start": 0.0, "end": 3.0},
            {"name": "baseline", "start": 3.0, "end": 9.0},
            {"name": "fault", "start": 9.0, "end": 21.0},
            {"name": "recovery", "start": 21.0, "end": 31.0},
        ],
        "streams": [
            {
                "index": 0,
                "kind": "open",
                "mix": {"browse": 3.0, "checkout": 1.0},
                "profile": [{"t": 0.0, "rate": 80.0}, {"t": 31.0, "rate": 80.0}],
                "arrivals": "poisson",
                "start": 0.0,
                "end": 31.0,
                "tenant": "",
                "deadline": None,
                "priority": "",
                "planned": 2480.0,
            }
        ],
        "faults": [
            {
                "index": 0,
                "kind": "latency",
                "level": "network",
                "where": "orders->payments",
                "text": "latency 900 ms ± 50 ms on orders->payments",
                "at": 9.0,
                "until": 21.0,
                "phase": "fault",
                "links": ["orders->payments-1", "orders->payments-2"],
                "share": 1.0,
                "params": {
                    "edge": "orders->payments",
                    "delay": 0.9,
                    "jitter": 0.05,
                    "direction": "downstream",
                    "share": 1.0,
                },
            }
        ],
        "expectations": ["availability of browse >= 99%"],
    }
    assert {"name": "payments-2", "service": "payments", "kind": "service"} in facts["nodes"]
    assert {
        "name": "orders->payments",
        "caller": "orders",
        "callee": "payments",
        "via": "payments-lb",
        "links": ["orders->payments-1", "orders->payments-2"],
    } in facts["edges"]
    assert facts["protections"]["services"]["payments_retry"] is None
    assert facts["operations"]["browse"] == {"deadline": 1.0, "depends": ["traffic->edge", "edge->catalog"]}


PROFILES = [
    ("{mix: {browse: 1}, rate: 50/s}", [(0, 50), (31, 50)]),
    ("{mix: {browse: 1}, rate: 50/s, from: baseline, until: fault + 2s}", [(3, 50), (11, 50)]),
    ("{mix: {browse: 1}, rate: 50/s, during: fault}", [(9, 50), (21, 50)]),
    (
        "{mix: {browse: 1}, rate: 50/s, steps: [{at: fault + 5s, rate: 200/s}, {at: recovery, rate: 0/s}]}",
        [(0, 50), (14, 50), (14, 200), (21, 200), (21, 0), (31, 0)],
    ),
    ("{mix: {browse: 1}, steps: [{at: warm, rate: 20/s}]}", [(0, 20), (31, 20)]),
    ("{mix: {browse: 1}, steps: [{at: fault, rate: 20/s}]}", [(0, 0), (9, 0), (9, 20), (31, 20)]),
    ("{mix: {browse: 1}, ramp: {from: 10/s, to: 200/s}, during: fault}", [(9, 10), (21, 200)]),
]


@pytest.mark.parametrize(("entry", "expected"), PROFILES, ids=[entry for entry, _ in PROFILES])
def test_profile(tmp_path, entry, expected):
    """Rates, steps and ramps become points of a broken line."""
    assert expected == profile(tmp_path, entry)


def test_closed_loop(tmp_path):
    """Users become a closed stream, whose number of requests nobody can plan."""
    (stream,) = streams(tmp_path, "{mix: {browse: 1}, users: 20, think: 500ms, tenant: gold, deadline: 2s}")
    assert (
        stream.kind,
        stream.users,
        stream.spawn_rate,
        stream.think,
        stream.start,
        stream.end,
    ) == ("closed", 20, 10.0, 0.5, 0.0, 31.0)
    assert (stream.tenant, stream.deadline, planned(stream)) == ("gold", 2.0, None)


def test_locustfile(tmp_path):
    """A locustfile is found from the scenario's folder; expectations on its requests cannot be checked beforehand."""
    (tmp_path / "users.py").write_text("")
    text = changed((LOAD, "  - {locustfile: users.py, users: 5, spawn_rate: 2/s}"), ("browse", '"GET /x"'))
    plan = load_text(tmp_path, text)
    (stream,) = plan.streams
    assert ("locustfile", str(tmp_path / "users.py"), 5, 2.0) == (
        stream.kind,
        stream.path,
        stream.users,
        stream.spawn_rate,
    )
    assert plan.max_users == 50


def test_faults_are_in_the_order_of_time(tmp_path):
    """Faults are numbered by when they begin, and last to the end of their phase unless told otherwise."""
    more = [
        "  - {at: recovery + 2s, for: 3s, pause: {node: nats}}",
        FAULT,
        "  - {at: fault + 2500ms, for: 1s, crash: {node: payments-2}}",
    ]
    plan = load_text(tmp_path, changed((FAULT, "\n".join(more))))
    assert [(step.index, step.fault.kind, step.at, step.until, step.links) for step in plan.faults] == [
        (0, "latency", 9.0, 21.0, ("orders->payments-1", "orders->payments-2")),
        (1, "crash", 11.5, 12.5, ("orders->payments-2",)),
        (2, "pause", 23.0, 26.0, ("orders->nats", "notifier->nats")),
    ]


@pytest.mark.parametrize("control", ["", "control: none\n", "control:\n", "control: null\n"])
def test_no_control(tmp_path, control):
    """Without a control, or with none, there is no control run."""
    assert load_text(tmp_path, GOOD + control).control is None


def test_overrides(tmp_path):
    """The command line's values stand in the plan; a control that becomes the run itself is left out."""
    text = GOOD + "control: {variant: none}\n"
    plan = load_text(tmp_path, text, Overrides(variant="envoy", target="mesh", seed=3))
    assert (plan.variant, plan.target, plan.seed, plan.control) == ("envoy", "mesh", 3, "none")
    assert load_text(tmp_path, text, Overrides(variant="none")).control is None


def test_the_pool_of_users_is_bounded_by_the_load(tmp_path):
    """The pool holds everything that can be in flight, and the file may say otherwise."""
    assert load_text(tmp_path, changed(("80/s", "1000/s"))).max_users == 4000
    assert load_text(tmp_path, changed(("80/s", "1/s"))).max_users == 50
    assert load_text(tmp_path, GOOD + "max_users: 77\n").max_users == 77


def test_the_control_has_its_own_protections(tmp_path):
    """A plan carried over to its control's variant tells that variant's protections."""
    plan = load_text(tmp_path, GOOD + "control: {variant: none}\n")
    main, control = (replace(plan, variant=name).to_document() for name in ("full", "none"))
    timeouts = [one["target_facts"]["protections"]["services"]["timeouts"] for one in (main, control)]
    assert timeouts[0] != timeouts[1]
    assert timeouts[1]["payments_s"] == 30.0


def test_same_file_same_plan(tmp_path):
    """Planning is pure: the same file gives the same document."""
    assert load_text(tmp_path, GOOD).to_document() == load_text(tmp_path, GOOD).to_document()


rates = st.floats(0, 1000, allow_nan=False)


@given(st.lists(st.tuples(st.floats(0.01, 10), rates), min_size=1, max_size=6), rates, st.floats(0, 60))
def test_planned_parts_add_up(pieces, first, cut):
    """The expected requests of two halves are those of the whole, wherever it is cut."""
    points = [RatePoint(0.0, first)]
    for seconds, rate in pieces:
        points.append(RatePoint(points[-1].t + seconds, rate))
    stream = OpenStream(0, {"browse": 1.0}, tuple(points), "poisson", 0.0, points[-1].t)
    left, right = planned_between(stream, 0.0, cut), planned_between(stream, cut, stream.end)
    assert left + right == pytest.approx(planned(stream), abs=1e-5)
