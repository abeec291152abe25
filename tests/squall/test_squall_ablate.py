"""Which runs an ablation makes, in which order, and how it ends."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from reports.fake import write_run
from reports.story import Story
from scenarios.loader import load
from squall.ablate import counted, order, plan_of, variants
from squall.commands import ablate as command
from squall.commands.ablate import Wish
from squall.commands.run import Options
from squall.exits import Exit
from targets.catalogue import switched_on

SCENARIO = """\
name: ablated
variant: full
seed: 5
phases: {baseline: 5s, fault: 5s, recovery: 5s}
load: [{mix: {checkout: 1}, rate: 100/s}]
faults: [{at: fault, latency: {edge: orders->payments, delay: 100ms}}]
expect: [availability of checkout >= 1%]
control: {variant: none}
"""
NAMES = ("payments_breaker", "envoy_retry")


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    return path


def test_each_protection_is_switched_off_alone_and_on_alone():
    """With the whole variant and nothing to compare them with; what is put in comes from the variant itself."""
    assert variants("full", ["payments_breaker"]) == [
        ("whole", "", "full"),
        ("none", "", "none"),
        ("without", "payments_breaker", "full-without-payments_breaker"),
        ("with", "payments_breaker", "none-with-payments_breaker"),
    ]
    assert variants("retries", ["payments_retry"])[-1][2] == "none-with-payments_retry-of-retries"


@pytest.mark.parametrize("repeats", [2, 4])
def test_repeats_go_forwards_and_backwards(repeats):
    """So that every configuration has the same mean place in the order, and a drift hits all alike."""
    runs = order("full", NAMES, repeats)
    places = {}
    for place, run in enumerate(runs):
        places.setdefault(run.variant, []).append(place)
    assert {len(found) for found in places.values()} == {repeats}
    assert {sum(found) / repeats for found in places.values()} == {(len(runs) - 1) / 2}
    assert len({run.directory for run in runs}) == len(runs)
    assert [run.repeat for run in runs] == sorted(run.repeat for run in runs)


def test_runs_of_one_repeat_have_one_seed(scenario):
    """And each has its own variant's policies, and no control."""
    plan = load(scenario)
    runs = order("full", NAMES, 2)
    plans = [plan_of(plan, run) for run in runs]
    assert {(run.repeat, one.seed) for run, one in zip(runs, plans, strict=True)} == {(1, 5), (2, 6)}
    assert {one.control for one in plans} == {None}
    without = next(one for one in plans if one.variant == "full-without-payments_breaker")
    facts = without.to_document()["target_facts"]
    assert facts["protections"]["services"]["payments_breaker"] is None
    breakers = [one for one in facts["policies"] if (one["kind"], one["edge"]) == ("breaker", "orders->payments")]
    assert [one["name"] for one in breakers] == ["Envoy's ejection"]


def test_the_protections_of_a_variant_are_where_it_differs_from_none():
    """`none` has none, `retries` no breaker; a variant that is derived already has none either."""
    assert switched_on("mesh", "none") == ()
    assert "payments_breaker" in switched_on("mesh", "full")
    assert "payments_breaker" not in switched_on("mesh", "retries")
    assert switched_on("mesh", "full-without-payments_breaker") == ()
    assert "breaker" in switched_on("stub", "full")


def test_only_the_whole_variant_must_keep_its_expectations():
    """What has a protection left out may fail; anything worse than a failure counts always."""
    whole, _, without, _ = order("full", ["payments_breaker"], 1)
    assert counted(whole, Exit.FAIL) == Exit.FAIL
    assert counted(without, Exit.FAIL) == Exit.PASS
    assert counted(without, Exit.UNKNOWN) == Exit.UNKNOWN
    assert counted(without, Exit.NOT_UNDONE) == Exit.NOT_UNDONE


def _faked(code_of):
    def fake(plan, directory, _console):
        story = Story(
            name=plan.name,
            variant=plan.variant,
            control=None,
            phases={"warm": 1.0, "baseline": 4.0, "fault": 4.0, "recovery": 8.0},
        )
        write_run(directory, seed=plan.seed, story=story, control=None, verdict=True)
        return code_of(plan)

    return fake


def test_the_command_runs_all_and_compares_them(scenario, tmp_path, monkeypatch, capsys):
    """Runs are faked, all alike: no protection shows a difference."""
    monkeypatch.setattr(command, "run_plan", _faked(lambda plan: Exit.PASS if plan.variant == "full" else Exit.FAIL))
    out = tmp_path / "out"
    wish = Wish(Options(out=out), repeats=2, only=("payments_breaker",))
    assert command.main(scenario, wish, Console(stderr=True)) == Exit.PASS
    assert capsys.readouterr().out == f"{out}\n"
    document = json.loads((out / "ablation.json").read_text())
    assert document["left_out"] == []
    assert {one["shown"] for one in document["effects"]} == {"no difference shown"}
    assert document["says"] == ["payments_breaker: no difference shown."]
    assert (out / "ablation.html").read_text().startswith("<!doctype html>")
    assert len(json.loads((out / "runs.json").read_text())["runs"]) == 8


def test_an_interruption_ends_it_with_what_there_is(scenario, tmp_path, monkeypatch):
    """The second run is interrupted: no third one is begun, and what was run is compared."""
    codes = iter([Exit.PASS, Exit.INTERRUPTED])
    monkeypatch.setattr(command, "run_plan", _faked(lambda _plan: next(codes)))
    wish = Wish(Options(out=tmp_path / "out"), only=("payments_breaker",))
    assert command.main(scenario, wish, Console(stderr=True)) == Exit.INTERRUPTED
    assert len(json.loads((tmp_path / "out" / "runs.json").read_text())["runs"]) == 2
    stored = (tmp_path / "out" / "ablation.json").read_bytes()
    (tmp_path / "out" / "ablation.json").unlink()
    assert command.main(tmp_path / "out", Wish(Options()), Console(stderr=True)) == Exit.PASS
    assert (tmp_path / "out" / "ablation.json").read_bytes() == stored


def test_a_damaged_folder_is_refused(tmp_path, capsys):
    """What `runs.json` should say is missing."""
    (tmp_path / "runs.json").write_text("{}")
    assert command.main(tmp_path, Wish(Options()), Console(stderr=True, width=300)) == Exit.BAD_SCENARIO
    assert "holds no ablation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"only": ("payments_braker",)}, "did you mean 'payments_breaker'?"),
        ({"repeats": 0}, "--repeats should be at least 1"),
        ({"run": Options(variant="none")}, "none of mesh has no protection"),
        ({"run": Options(variant="ful")}, "did you mean full?"),
    ],
)
def test_what_cannot_be_compared_is_refused(scenario, tmp_path, change, said):
    """With the reason, before anything starts."""
    with (tmp_path / "said").open("w+") as sink:
        wish = replace(Wish(Options()), **change)
        assert command.main(scenario, wish, Console(file=sink, width=400)) == Exit.BAD_SCENARIO
        sink.seek(0)
        assert said in sink.read()


def test_a_folder_with_content_is_never_written_over(scenario, tmp_path, capsys):
    """It says so and starts nothing."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("x")
    assert command.main(scenario, Wish(Options(out=tmp_path / "out")), Console(stderr=True)) == Exit.BAD_SCENARIO
    assert "is not empty" in capsys.readouterr().err.replace("\n", " ")
