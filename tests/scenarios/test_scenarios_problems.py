"""Every kind of mistake in a scenario is found, pointed at, and named with what would be right."""

import pytest
from written import GOOD, changed, complaints

from scenarios.loader import Overrides, ScenarioError, load

FAULT = "  - {at: fault, latency: {edge: orders->payments, delay: 900ms, jitter: 50ms}}"
LOAD = "  - {mix: {browse: 3, checkout: 1}, rate: 80/s, arrivals: poisson}"
EXPECT = "  - availability of browse >= 99%"


def test_six_mistakes_are_six_lines(tmp_path):
    """All mistakes of a file are shown at once, in its order, with the nearest known names."""
    bad = changed(
        ("variant: full", "variant: ful"),
        ("seed: 11", "sead: 11"),
        ("latency:", "latncy:"),
        ("orders->payments", "orders->paymnts"),
        ("900ms", "900 parsecs"),
        ("of browse", "of brwse"),
    )
    assert complaints(tmp_path, bad) == [
        "bad.yaml:4:10: unknown variant ful; did you mean full?",
        "bad.yaml:5:1: unknown key sead; did you mean seed?",
        "bad.yaml:10:17: unknown fault latncy; did you mean latency?",
        "bad.yaml:10:32: unknown edge orders->paymnts; did you mean orders->payments?",
        "bad.yaml:10:56: delay: a duration has no unit 'parsecs'; units are us, ms, s, m, min, h",
        "bad.yaml:12:21: unknown operation brwse; did you mean browse?",
        "  bad.yaml:8:11: the load's operations are browse, checkout",
    ]


def test_a_good_scenario_has_no_problems(tmp_path):
    """The scenario that all others are made from can be planned."""
    assert complaints(tmp_path, GOOD) == []


ONE = [
    # the file
    (GOOD.replace("name: good", "name: [good"), "not YAML: "),
    (GOOD.replace("  - {mix", "\t- {mix"), "bad.yaml:8:1: not YAML: found character '\\t' that cannot start any token"),
    ("", "bad.yaml:1:1: the file is empty"),
    ("[]", "bad.yaml:1:1: a scenario should be a mapping"),
    (GOOD + "seed: 12\n", "bad.yaml:13:1: seed stands twice"),
    (
        changed(("seed: 11", "seed: &x 11")).replace("name: good", "name: good\nmax_users: *x"),
        "not YAML: found undefined",
    ),
    (changed(("{warm", "&p {warm")) + "control: *p\n", "bad.yaml:6:9: anchors and aliases are not part"),
    (changed(("name: good", "name: !!python/name:os.system good")), "the tag tag:yaml.org,2002:python/name"),
    # keys and values
    (changed(("name: good\n", "")), "bad.yaml:1:1: name: is missing"),
    (changed(("name: good", "name: Not Good")), "bad.yaml:1:7: name: is not a name of the form"),
    (changed(("name: good", "name: 5")), "bad.yaml:1:7: name: should be a text"),
    (changed(("variant: full\n", "")), "bad.yaml:1:1: variant: is missing"),
    (changed(("seed: 11", "seed: -1")), "bad.yaml:5:7: seed: should be at least 0"),
    (changed(("seed: 11", "seed: 1.5")), "bad.yaml:5:7: seed: should be a whole number"),
    (changed(("target: mesh", "target: mash")), "bad.yaml:3:9: unknown target mash; did you mean mesh?"),
    (changed(("target: mesh", "target: elsewhere")), "unknown target elsewhere; known: "),
    (GOOD + "max_users: 0\n", "bad.yaml:13:12: max_users: should be at least 1"),
    # phases
    (changed(("phases: {warm: 3s, baseline: 6s, fault: 12s, recovery: 10s}\n", "")), "phases is missing"),
    (changed(("{warm: 3s, baseline: 6s, fault: 12s, recovery: 10s}", "{}")), "bad.yaml:6:9: phases is empty"),
    (changed(("{warm: 3s, baseline: 6s, fault: 12s, recovery: 10s}", "10s")), "6:9: phases should be a mapping"),
    (changed(("warm: 3s", "warm: 3")), "bad.yaml:6:16: warm: a duration needs a unit: write 3s"),
    (changed(("warm: 3s", "warm: 0s")), "bad.yaml:6:16: warm: should be above 0"),
    (changed(("warm: 3s", "warm up: 3s")), "bad.yaml:6:10: phase name: is not a name of the form"),
    (changed(("recovery: 10s", "fault: 3s")), "bad.yaml:6:46: fault stands twice"),
    # load
    (changed((LOAD, "  []")), "bad.yaml:8:3: load is empty"),
    (changed((LOAD, "  - fast")), "bad.yaml:8:5: an entry of load should be a mapping"),
    (changed((f"load:\n{LOAD}\n", "")), "load is missing"),
    (changed(("load:\n", "load: 5\n"), (LOAD + "\n", "")), "bad.yaml:7:7: load should be a list"),
    (changed(("checkout: 1}", "chekout: 1}")), "8:23: unknown operation chekout; did you mean checkout?"),
    (changed(("checkout: 1}", "checkout: 0}")), "bad.yaml:8:33: checkout: should be above 0"),
    (changed(("checkout: 1}", "checkout: -1}")), "bad.yaml:8:33: checkout: should be above 0"),
    (changed(("{browse: 3, checkout: 1}", "{}")), "bad.yaml:8:11: mix: is empty"),
    (changed(("rate: 80/s", "rate: 0/s")), "bad.yaml:8:43: rate: should be above 0"),
    (changed(("rate: 80/s", "rate: 80")), "bad.yaml:8:43: rate: a rate needs a unit: write 80/s"),
    (changed((" rate: 80/s,", "")), "bad.yaml:8:5: rate is missing"),
    (changed(("rate: 80/s", "rat: 80/s")), "bad.yaml:8:37: unknown key of a stream rat; did you mean rate?"),
    (
        changed(("arrivals: poisson", "arrivals: posson")),
        "arrivals: should be 'poisson' or 'constant'; did you mean poisson?",
    ),
    (changed(("arrivals: poisson", "users: 5")), "bad.yaml:8:49: users does not belong in an open stream (rate)"),
    (changed(("rate: 80/s, arrivals: poisson", "users: 5, arrivals: poisson")), "arrivals does not belong in a closed"),
    (changed(("rate: 80/s, arrivals: poisson", "users: 0")), "users: should be at least 1"),
    (changed(("arrivals: poisson", "ramp: {from: 1/s, to: 2/s}")), "ramp stands alone: leave out rate and steps"),
    (changed(("arrivals: poisson", "steps: [{at: falt, rate: 9/s}]")), "8:62: unknown phase falt; did you mean fault?"),
    (changed(("arrivals: poisson", "steps: [{at: fault, rte: 9/s}]")), "unknown key rte; did you mean rate?"),
    (changed(("arrivals: poisson", "steps: [{at: fault, rate: 9}]")), "8:75: rate: a rate needs a unit: write 9/s"),
    (changed(("arrivals: poisson", "steps: []")), "bad.yaml:8:56: steps: is empty"),
    (
        changed(("arrivals: poisson", "steps: [{at: fault, rate: 9/s}, {at: warm, rate: 8/s}]")),
        "bad.yaml:8:49: steps must be in the order of time",
    ),
    (
        changed(("arrivals: poisson", "until: fault, steps: [{at: recovery, rate: 9/s}]")),
        "a step is outside the stream, which lasts 0 s to 9 s",
    ),
    (changed(("arrivals: poisson", "from: fault, until: warm")), "8:5: the stream ends at 0 s, but begins at 9 s"),
    (changed(("arrivals: poisson", "until: recovery + 11s")), "8:49: the stream ends at 32 s, the run at 31 s"),
    (changed(("arrivals: poisson", "during: falt")), "8:57: unknown phase falt; did you mean fault?"),
    (changed(("arrivals: poisson", "during: fault, from: warm")), "leave out from and until"),
    (changed(("arrivals: poisson", "from: 5s after fault")), "from: a moment is a phase"),
    (changed(("arrivals: poisson", "deadline: 0s")), "deadline: should be above 0"),
    (changed((LOAD, "  - {locustfile: no.py, users: 3}")), "bad.yaml:8:18: there is no file "),
    # faults
    (changed((FAULT, "  - crash")), "bad.yaml:10:5: an entry of faults should be a mapping"),
    (changed((FAULT, "  - {at: fault}")), "bad.yaml:10:5: no fault stands here"),
    (changed((FAULT, "  - {crash: {node: nats}}")), "bad.yaml:10:5: at: is missing"),
    (changed((FAULT, "  - {at: fault, crash: nats}")), "bad.yaml:10:24: crash should be a mapping"),
    (
        changed((FAULT, "  - {at: fault, crash: {node: nats}, stop: {node: orders-1}}")),
        "bad.yaml:10:38: one entry is one fault",
    ),
    (changed((FAULT, "  - {at: fault, crash: {node: payments-3}}")), "10:31: unknown node payments-3; did you mean"),
    (changed((FAULT, "  - {at: fault, crash: {node: zebra}}")), "unknown node zebra; known: catalog-1, "),
    (changed((FAULT, "  - {at: fault, crash: {nod: nats}}")), "unknown parameter of crash nod; did you mean node?"),
    (changed((FAULT, "  - {at: fault, crash: {}}")), "bad.yaml:10:24: node: is missing"),
    (changed((FAULT, "  - {at: fault, abort: {edge: orders->nats, status: 503}}")), "no Envoy carries orders->nats"),
    (changed(("jitter: 50ms", "jitter: 2s")), "a jitter of 2 s is larger than the delay of 900 ms"),
    (changed(("jitter: 50ms", "share: 120%")), "share: a share lies between 0% and 100%"),
    (changed(("at: fault,", "at: falt,")), "bad.yaml:10:10: unknown phase falt; did you mean fault?"),
    (changed(("at: fault,", "at: fault + 5,")), "bad.yaml:10:10: at: a duration needs a unit: write 5s"),
    (changed(("at: fault,", "at: fault + 12s,")), "10:6: the fault begins 12 s into fault, which lasts 12 s"),
    (changed(("at: fault,", "at: fault, for: 23s,")), "10:17: the fault ends at 32 s, but the run ends at 31 s"),
    (changed(("at: fault,", "at: fault, for: 0s,")), "bad.yaml:10:22: for: should be above 0"),
    (changed(("at: fault,", "at: warm,")), "there is no time to learn what calm looks like"),
    (
        changed((FAULT, f"{FAULT}\n  - {{at: fault + 3s, bandwidth: {{edge: orders->payments-2, rate: 5kB/s}}}}")),
        "bad.yaml:11:22: bandwidth and latency cannot be told apart on orders->payments-2",
    ),
    (
        changed((FAULT, f"{FAULT}\n  - {{at: recovery + 500ms, down: {{edge: orders->payments}}}}")),
        "down and latency cannot be told apart on orders->payments-1, orders->payments-2",
    ),
    (
        changed((FAULT, f"{FAULT}\n  - {{at: fault, delay: {{edge: orders->payments, delay: 1s}}}}")),
        "delay and latency cannot be told apart",
    ),
    (
        changed((FAULT, "  - {at: fault, crash: {node: nats}}\n  - {at: fault + 1s, pause: {node: nats}}")),
        "pause and crash cannot be told apart on nats",
    ),
    # expectations
    (changed((EXPECT, "  []")), "bad.yaml:12:3: expect is empty"),
    (changed((EXPECT, "  - 99")), "bad.yaml:12:5: an entry of expect should be a text"),
    (changed((EXPECT, "  - {p99: 4s}")), "bad.yaml:12:5: an entry of expect should be a text"),
    (
        changed((EXPECT, "  - availabilty of browse >= 99%")),
        "bad.yaml:12:5: unknown metric 'availabilty'; did you mean",
    ),
    (changed((EXPECT, "  - 'p99 of browse < 9'")), "bad.yaml:12:22: 9 needs a unit; write it like 400ms or 5s"),
    (
        changed((EXPECT, "  - p99 of upload < 9s")),
        "bad.yaml:12:12: unknown operation upload; known: all, browse, checkout",
    ),
    (
        changed((EXPECT, "  - p99 of browse < 9s during falt")),
        "bad.yaml:12:31: unknown phase falt; did you mean fault?",
    ),
    (changed((EXPECT, "  - p99 of browse for tenant x < 9s")), "12:30: unknown tenant x; there is none"),
    (changed((EXPECT, "  - amplification of edge->payments < 2")), "unknown edge edge->payments; did you mean"),
    (changed((EXPECT, "  - amplification of orders->payments-1 < 2")), "belongs to a whole edge"),
    (
        changed((EXPECT, "  - share of orders->payments in orders->payments < 60%")),
        "12:14: unknown link orders->payments",
    ),
    (changed((EXPECT, "  - share of edge->media-1 in orders->payments < 60%")), "edge->media-1 is no link of"),
    (
        changed((EXPECT, "  - observation double_charge = 0")),
        "unknown observation double_charge; did you mean double_ch",
    ),
    (
        changed((EXPECT, "  - limiter of tenent rejects within 2s of fault")),
        "unknown limiter tenent; did you mean tenant?",
    ),
    (
        changed((EXPECT, "  - count of unsend of all = 0")),
        "bad.yaml:12:14: unknown outcome 'unsend'; did you mean unsent?",
    ),
    (changed((EXPECT, f"{EXPECT}\n{EXPECT.replace('>= ', '>=  ')}")), "13:5: the same expectation stands twice"),
    (changed((f"faults:\n{FAULT}\n", ""), (EXPECT, "  - recovery within 5s")), "recovery needs a fault"),
    # control
    (GOOD + "control: {variant: nne}\n", "bad.yaml:13:20: unknown variant nne; did you mean none?"),
    (GOOD + "control: {variant: full}\n", "bad.yaml:13:20: the control's variant is the run's own, full"),
    (GOOD + "control: full\n", "bad.yaml:13:10: control should be a mapping"),
    (GOOD + "control: {}\n", "bad.yaml:13:10: variant is missing"),
]


@pytest.mark.parametrize(("text", "message"), ONE, ids=[message for _, message in ONE])
def test_one_mistake_is_one_problem(tmp_path, text, message):
    """Each mistake alone gives one problem, with its place."""
    found = [line for line in complaints(tmp_path, text) if not line.startswith("  ")]
    assert len(found) == 1, found
    assert message in found[0]


def test_mistakes_inside_a_misspelt_key_are_found(tmp_path):
    """A misspelt key is read as the one that was meant, so that its value is checked in the same go."""
    text = changed((FAULT, "  - {at: falt, latncy: {edge: orders->paymnts, dealy: 900 parsecs}}"), ("phases", "phase"))
    found = complaints(tmp_path, text)
    assert [line.split(": ", 1)[1] for line in found] == [
        "unknown key phase; did you mean phases?",
        "unknown phase falt; did you mean fault?",
        "unknown fault latncy; did you mean latency?",
        "unknown edge orders->paymnts; did you mean orders->payments?",
        "unknown parameter of latency dealy; did you mean delay?",
        "delay: a duration has no unit 'parsecs'; units are us, ms, s, m, min, h",
    ]


def test_a_capability_that_the_target_lacks_is_refused(tmp_path):
    """A fault that needs what the target does not offer is refused before anything starts."""
    from dataclasses import replace

    from faults.catalogue import load as faults
    from scenarios.loader import World
    from targets.mesh.topology import MESH

    path = tmp_path / "bad.yaml"
    path.write_text(changed((FAULT, "  - {at: fault, pause: {node: nats}}")))
    world = World({"mesh": replace(MESH, capabilities=frozenset({"Proxied"}))}, faults())
    with pytest.raises(ScenarioError, match="pause needs a target that is Pausable; mesh offers Proxied"):
        load(path, world=world)


def test_faults_of_different_levels_may_overlap(tmp_path):
    """A crash behind a slow network, and faults at other places, can be told apart."""
    more = (
        "  - {at: fault + 5s, for: 5s, crash: {node: payments-2}}\n"
        "  - {at: fault, latency: {edge: edge->media, delay: 1s}}\n"
        "  - {at: recovery + 2s, for: 2s, latency: {edge: orders->payments, delay: 1s}}"
    )
    assert complaints(tmp_path, changed((FAULT, f"{FAULT}\n{more}"))) == []


def test_the_command_line_is_checked_too(tmp_path):
    """A value of the command line stands instead of the file's, and is checked like it."""
    assert complaints(tmp_path, GOOD, Overrides(variant="ful")) == ["bad.yaml: unknown variant ful; did you mean full?"]
    assert complaints(tmp_path, GOOD, Overrides(target="mush")) == ["bad.yaml: unknown target mush; did you mean mesh?"]
    assert complaints(tmp_path, GOOD, Overrides(seed=-1)) == ["bad.yaml: seed: should be at least 0, not -1"]
    assert complaints(tmp_path, changed(("variant: full", "variant: ful")), Overrides(variant="none")) == []


def test_unreadable_files_are_problems(tmp_path):
    """A file that is missing, a folder or not text is a problem of its own, not a traceback."""
    with pytest.raises(ScenarioError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"name: x\nabout: \xff\n")
    with pytest.raises(ScenarioError, match=r"bytes.yaml:2:8: this is not UTF-8 text"):
        load(tmp_path / "bytes.yaml")
    (tmp_path / "big.yaml").write_text("#" * 100_001)
    with pytest.raises(ScenarioError, match="at most 100,000 characters"):
        load(tmp_path / "big.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 500)
    with pytest.raises(ScenarioError, match="nested too deeply"):
        load(tmp_path / "deep.yaml")


def test_the_path_is_shown_as_given(tmp_path, monkeypatch):
    """Problems show the path as the user wrote it."""
    from pathlib import Path

    (tmp_path / "bad.yaml").write_text(changed(("seed: 11", "seed: x")))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load(Path("bad.yaml"))
    assert caught.value.render().startswith("bad.yaml:5:7: seed")
