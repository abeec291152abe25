"""`squall import` takes over what it can, lists the rest with its line, and writes scenarios that can be run."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scenarios.loader import load
from squall.cli import cli
from squall.commands.import_ import Wish, taken_over
from squall.exits import Exit
from squall.importing.taken import ImportRefused
from squall.importing.toxics import scalar

PROXY = {"name": "orders->payments", "listen": "[::]:26379", "upstream": "payments:8080", "enabled": True}


def action(module: str, func: str, after: float = 0, **arguments: Any) -> dict[str, Any]:
    provider = {"type": "python", "module": f"chaostoxi.{module}.actions", "func": func, "arguments": arguments}
    return {"type": "action", "name": func, "provider": provider, "pauses": {"after": after}}


def docker(words: str, after: float = 0) -> dict[str, Any]:
    provider = {"type": "process", "path": "docker", "arguments": words}
    return {"type": "action", "name": words, "provider": provider, "pauses": {"after": after}}


def imported(tmp_path: Path, document: Any, **wish: Any) -> tuple[list[str], list[str]]:
    """Return the scenario's lines and the notes, as `LINE text`; what is written can be loaded."""
    path = tmp_path / "theirs.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    text, draft = taken_over(path, Wish(**wish))
    (tmp_path / "ours.yaml").write_text(text)
    load(tmp_path / "ours.yaml")
    return text.splitlines(), [f"{note.line} {note.text}" for note in sorted(set(draft.notes))]


def entries(lines: list[str], key: str) -> list[str]:
    """Return the entries of one list of the scenario."""
    below = lines[lines.index(f"{key}:") + 1 :] if f"{key}:" in lines else []
    end = next((number for number, line in enumerate(below) if not line.startswith("  - ")), len(below))
    return [line.removeprefix("  - ") for line in below[:end]]


def noted(notes: list[str], words: str) -> list[str]:
    return [note for note in notes if words in note]


@pytest.mark.parametrize(
    ("toxic", "fault"),
    [
        ({"type": "latency", "attributes": {"latency": 300, "jitter": 20}}, "latency: {E, delay: 300ms, jitter: 20ms}"),
        ({"type": "latency", "stream": "upstream", "toxicity": 0.5, "attributes": {"latency": 300}},
         "latency: {E, delay: 300ms, direction: upstream, share: 50%}"),
        ({"type": "bandwidth", "attributes": {"rate": 100}}, "bandwidth: {E, rate: 100kB/s}"),
        ({"type": "slow_close", "attributes": {"delay": 200}}, "slow_close: {E, delay: 200ms}"),
        ({"type": "timeout", "attributes": {"timeout": 0}}, "timeout: {E}"),
        ({"type": "reset_peer", "attributes": {"timeout": 50}}, "reset_peer: {E, timeout: 50ms}"),
        ({"type": "slicer", "attributes": {"average_size": 64, "size_variation": 8, "delay": 2000}},
         "slicer: {E, average_size: 64B, size_variation: 8B, delay: 2000us}"),
        ({"type": "limit_data", "attributes": {"bytes": 10}}, "limit_data: {E, bytes: 10B}"),
    ],
)  # fmt: skip
def test_every_toxic_becomes_the_fault_of_its_kind(tmp_path: Path, toxic: dict[str, Any], fault: str) -> None:
    """A toxic of a populate file is a fault on the edge of the proxy's name."""
    lines, _ = imported(tmp_path, [{**PROXY, "toxics": [toxic]}])
    assert entries(lines, "faults") == [f"{{at: fault, {fault.replace('E', 'edge: orders->payments', 1)}}}"]


def test_what_a_populate_file_says_beyond_that_is_listed(tmp_path: Path) -> None:
    """Addresses, unknown toxics, attributes and proxies each have a line, with its number."""
    odd = {"type": "latency", "attributes": {"latency": 300, "latncy": 5}}
    text = (
        "[\n"
        + json.dumps({**PROXY, "toxics": [odd, {"type": "wobble"}]})
        + ",\n"
        + json.dumps({"name": "cache", "upstream": "c:1"})
        + "\n]"
    )
    lines, notes = imported(tmp_path, text)
    assert len(entries(lines, "faults")) == 1
    assert noted(notes, "latncy") == ["2 latency: attribute latncy not taken over, Toxiproxy ignores it too"]
    assert noted(notes, "wobble")[0].startswith("2 toxic wobble: not taken over")
    assert noted(notes, "cache")[0].startswith("3 proxy cache: not taken over, mesh has nothing of that name")
    assert noted(notes, "[::]:26379")
    assert noted(notes, "no load")
    assert noted(notes, "availability of all >= 99% is squall's word")


def test_names_are_mapped_as_said_or_alike_and_never_silently(tmp_path: Path) -> None:
    """`--map` decides; a name that is only alike is taken with a line that says so."""
    down = {"upstream": "x:1", "enabled": False}
    lines, notes = imported(tmp_path, [{"name": "orders_payments", **down}])
    assert entries(lines, "faults") == ["{at: fault, down: {edge: orders->payments}}"]
    assert noted(notes, "whose name is alike")
    lines, notes = imported(tmp_path, [{"name": "db", **down}], names=("db=orders->postgres-primary",))
    assert entries(lines, "faults") == ["{at: fault, down: {edge: orders->postgres-primary}}"]
    assert not noted(notes, "alike")


def test_a_method_becomes_faults_with_its_pauses_as_times(tmp_path: Path) -> None:
    """What a later action takes back ends there; what nothing takes back ends with the method."""
    method = [
        action("toxic", "create_latency_toxic", 6, for_proxy="orders->payments", toxic_name="l", latency="${delay}"),
        action("toxic", "delete_toxic", 3, for_proxy="orders->payments", toxic_name="l"),
        docker("kill payments-2", 4),
        docker("start payments-2", 2),
        action("proxy", "disable_proxy", 5, proxy_name="catalog->valkey-replica"),
    ]
    lines, _ = imported(tmp_path, {"title": "Slow & dead!", "configuration": {"delay": 900}, "method": method})
    assert entries(lines, "faults") == [
        "{at: fault, for: 6s, latency: {edge: orders->payments, delay: 900ms}}",
        "{at: fault + 9s, for: 4s, crash: {node: payments-2}}",
        "{at: fault + 15s, for: 5s, down: {edge: catalog->valkey-replica}}",
    ]
    assert "name: slow-dead" in lines
    assert "phases: {warm: 3s, baseline: 8s, fault: 20s, recovery: 10s}" in lines


def test_what_an_experiment_does_beyond_that_is_listed(tmp_path: Path) -> None:
    """Other drivers, programs, probes, controls, rollbacks, values from outside: a line each."""
    pod = {
        "type": "action",
        "name": "pod",
        "provider": {"type": "python", "module": "chaosk8s.pod.actions", "func": "f"},
    }
    program = {
        "type": "action",
        "name": "prog",
        "provider": {"type": "process", "path": "rm", "arguments": ["-rf", "x"]},
    }
    probe = {"type": "probe", "name": "look", "provider": {"type": "http", "url": "http://x/"}}
    document = {
        "title": "t",
        "configuration": {"who": {"type": "env", "key": "WHO"}},
        "method": [pod, program, probe, docker("kill ${who}")],
        "rollbacks": [docker("start payments-2")],
        "controls": [{"name": "trace"}],
    }
    lines, notes = imported(tmp_path, document)
    assert entries(lines, "faults") == []
    for words in (
        "configuration who",
        "chaosk8s.pod.actions",
        "calls no programs: rm",
        "look: not",
        "node ${who}",
        "rollbacks",
        "controls",
    ):
        assert noted(notes, words), words


def test_a_hypothesis_is_what_every_answer_must_be_before_and_after(tmp_path: Path) -> None:
    """An HTTP probe that wants 200 is all answers to the operation of its path; any other probe is listed."""
    good = {"name": "up", "tolerance": 200, "provider": {"type": "http", "url": "http://x/catalog/sku-1?a=1"}}
    body = {
        "name": "body",
        "tolerance": {"type": "regex", "pattern": "ok"},
        "provider": {"type": "http", "url": "http://x/"},
    }
    lost = {"name": "lost", "tolerance": 200, "provider": {"type": "http", "url": "http://x/nowhere"}}
    document = {"title": "t", "steady-state-hypothesis": {"probes": [good, body, lost]}, "method": []}
    lines, notes = imported(tmp_path, document)
    assert entries(lines, "expect") == [
        "availability of browse = 100% during baseline",
        "availability of browse = 100% during recovery",
    ]
    assert noted(notes, "body: not taken over")
    assert noted(notes, "lost: not taken over, no operation of mesh asks for GET /nowhere")


def test_a_fault_that_canaries_could_not_feel_is_left_out_and_listed(tmp_path: Path) -> None:
    """What the loader refuses is not in the scenario, and the reason is the loader's own."""
    toxic = {"type": "latency", "attributes": {"latency": 3}}
    lines, notes = imported(tmp_path, [{**PROXY, "toxics": [toxic]}])
    assert entries(lines, "faults") == []
    assert noted(notes, "3 ms is less than 20 ms: a canary could not feel it")


def test_thresholds_become_expectations_as_far_as_they_go(tmp_path: Path) -> None:
    """Percentiles, mean, maximum and failures; with a tag of an operation's name, of that one."""
    document = {
        "vus": 5,
        "duration": "1m30s",
        "thresholds": {
            "http_req_duration": [
                *("p(95)<500", "med<100", "max<=2000", "p(97)<700"),
                {"threshold": "avg<200", "abortOnFail": True},
            ],
            "http_req_duration{name:checkout}": "p(99)<800",
            "http_req_duration{scenario:x}": ["p(90)<1"],
            "http_req_failed": ["rate<0.01"],
            "checks": ["rate>0.9"],
        },
    }
    lines, notes = imported(tmp_path, document)
    assert entries(lines, "expect") == [
        "p95 of all < 500ms",
        "p50 of all < 100ms",
        "p100 of all <= 2000ms",
        "mean of all < 200ms",
        "p99 of checkout < 800ms",
        "availability of all > 99%",
    ]
    for words in ("p(97)<700: not", "abortOnFail", "no tag scenario", "does not measure checks", "k6 breaks nothing"):
        assert noted(notes, words), words
    assert "phases: {warm: 3s, baseline: 90s}" in lines
    assert "users: 5" in entries(lines, "load")[0]


def test_stages_of_a_rate_become_phases_with_ramps(tmp_path: Path) -> None:
    """A ramping arrival rate is one stream for each stage; a second scenario is listed."""
    stages = [{"target": 60, "duration": "30s"}, {"target": 60, "duration": "1m"}]
    ramping = {"executor": "ramping-arrival-rate", "startRate": 6, "timeUnit": "1s", "stages": stages, "maxVUs": 80}
    other = {"executor": "shared-iterations"}
    lines, notes = imported(tmp_path, {"scenarios": {"a": ramping, "b": other}, "thresholds": {}})
    assert "phases: {stage-1: 30s, stage-2: 60s}" in lines
    assert "max_users: 80" in lines
    assert ["ramp: {from: 6/s, to: 60/s}" in line for line in entries(lines, "load")] == [True, False]
    assert noted(notes, "scenario b: not taken over, shared-iterations")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.json", '{"a": 1}', "is of no tool that squall knows"),
        ("a.json", "{", "not YAML"),
        ("a.js", "export const options = {}", "k6 inspect a.js > options.json"),
        ("a.json", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_ends_with_64(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    """The message says why, and nothing is written."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ImportRefused, match=why.replace(".", r"\.")):
        taken_over(tmp_path / name, Wish())
    ran = CliRunner().invoke(cli, ["import", str(tmp_path / name)], standalone_mode=False)
    assert (ran.return_value, ran.stdout) == (Exit.BAD_SCENARIO, "")


def test_the_scenario_goes_to_its_file_or_to_standard_output(tmp_path: Path) -> None:
    """With `--out` its path is the last line; a file that is there is never written over."""
    path, out = tmp_path / "theirs.json", tmp_path / "ours.yaml"
    path.write_text(json.dumps([PROXY]))
    ran = CliRunner().invoke(cli, ["import", str(path), "--out", str(out)], standalone_mode=False)
    assert (ran.return_value, ran.stdout) == (Exit.PASS, f"{out}\n")
    printed = CliRunner().invoke(cli, ["import", str(path)], standalone_mode=False)
    assert printed.stdout == out.read_text()
    again = CliRunner().invoke(cli, ["import", str(path), "--out", str(out)], standalone_mode=False)
    assert again.return_value == Exit.BAD_SCENARIO


@pytest.mark.parametrize("text", ["plain words", "a: b", "true", "- x", "#", "", "é{}", 'say "it"', " pad "])
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    """Whatever a title is, it stands in the scenario as that text."""
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load(f"about: {scalar(text)}")["about"] == text
