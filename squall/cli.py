"""The command line: a contract with scripts and CI systems (docs/command-line.md)."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from squall.exits import Exit

LISTEN = "HOST[:PORT] here where the load's workers are awaited, each started by `squall worker`; default: none."
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def console() -> Console:
    """Return the console for all but results: standard error, colours only on a terminal without `NO_COLOR`."""
    return Console(stderr=True)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="squall")
def cli() -> None:
    """Chaos and load testing: break a service mesh on schedule, and prove what held up."""


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--variant", help="Protections to switch on, instead of the scenario's.")
@click.option("--target", help="Target to run against, instead of the scenario's.")
@click.option("--seed", type=int, help="Seed of all that is random, instead of the scenario's.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default runs/<time>-<name>.")
@click.option("--no-control", is_flag=True, help="Leave out the run without protections.")
@click.option("--listen", help=LISTEN)
def run(path: Path, **options: Any) -> int:
    """Run a scenario: plan, run, judge, render. The run directory is the last line of standard output."""
    from squall.commands import run as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(path, command.Options(**options), console())


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--variant", help="Protections to switch on, instead of the scenario's.")
@click.option("--target", help="Target to run against, instead of the scenario's.")
@click.option("--seed", type=int, help="Seed of all that is random, instead of the scenario's.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--overlay", is_flag=True, help="Print what a target file's project is overlaid with, instead.")
def plan(path: Path, as_json: bool, overlay: bool, **options: Any) -> int:
    """Show the absolute steps of a scenario and what its checks can say; starts nothing."""
    from squall.commands import plan as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(path, command.Form(as_json=as_json, overlay=overlay), options, console())


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--project", default="", help="Name of the project; default: as Compose names it.")
@click.option("--profile", "profiles", multiple=True, help="A profile to switch on; can be given more than once.")
@click.option("--env-file", type=click.Path(path_type=Path), help="File of variables; default: .env beside PATH.")
@click.option("--traffic", default="", help="Where traffic enters, such as web:8080; default: a guess, which is said.")
@click.option("--out", type=click.Path(path_type=Path), help="Target file; default PROJECT.target.yaml here.")
def adopt(path: Path, **options: Any) -> int:
    """Write the target file of a Compose project, and show what can be hurt in it; starts nothing.

    PATH is the project's docker-compose.yml. The target file is the last line of standard output.
    """
    from squall.commands import adopt as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(path, command.Wish(**options), console())


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def check(directory: Path) -> int:
    """Judge a run directory again from its files; same files, same verdict.json, byte for byte."""
    from squall.commands import judge as command  # noqa: PLC0415 - a command imports only what it needs

    return command.check(directory, console())


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--format", "form", default="text", help="text, html, junit, markdown or json.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write; default standard output.")
def report(directory: Path, form: str, output: Path | None) -> int:
    """Render a run directory again."""
    from squall.commands import judge as command  # noqa: PLC0415 - a command imports only what it needs

    return command.report(directory, form, output, console())


@cli.command()
@click.option("--target", default="mesh", show_default=True, help="Target to bring up.")
@click.option("--variant", help="Protections to switch on; default full, or a project as it is.")
def up(target: str, variant: str | None) -> int:
    """Bring a target up by hand and print its addresses; Ctrl-C ends it."""
    from squall.commands import up as command  # noqa: PLC0415 - a command imports only what it needs

    return command.up(target, variant, console())


@cli.command()
def down() -> int:
    """End the targets that `squall up` holds."""
    from squall.commands import up as command  # noqa: PLC0415 - a command imports only what it needs

    return command.down(console())


@cli.command()
def status() -> int:
    """Say what live or dead runs on this machine still hold."""
    from squall.commands import recover as command  # noqa: PLC0415 - a command imports only what it needs

    return command.status(console())


@cli.command()
def recover() -> int:
    """Undo what dead runs left on this machine."""
    from squall.commands import recover as command  # noqa: PLC0415 - a command imports only what it needs

    return command.recover(console())


@cli.command()
@click.option("--target", default="mesh", show_default=True, help="Target whose needs are looked at.")
@click.option("--fix", is_flag=True, help="Build what can be built, such as the Toxiproxy server.")
def doctor(target: str, fix: bool) -> int:
    """Say what this machine has and lacks, with the command that mends it."""
    from squall.commands import doctor as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(target, fix, console())


def _catalogue(name: str, about: str) -> None:
    @cli.command(name=name, help=about)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def command(as_json: bool) -> int:
        from squall.commands import catalogues  # noqa: PLC0415 - a command imports only what it needs

        return catalogues.show(name, as_json)


for _name, _about in (
    ("faults", "List the faults, with their parameters."),
    ("scenarios", "List the scenarios of the library."),
    ("targets", "List the targets, with their nodes, edges, operations and variants."),
):
    _catalogue(_name, _about)


@cli.command(name="import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--from", "tool", type=click.Choice(["chaostoolkit", "toxiproxy", "k6"]), help="Default: as it looks.")
@click.option("--out", type=click.Path(path_type=Path), help="Scenario to write; default standard output.")
@click.option("--target", default="mesh", show_default=True, help="Target of the scenario.")
@click.option("--variant", help="Protections to switch on; default full, or a project as it is.")
@click.option("--map", "names", multiple=True, help="THEIRS=OURS: what a name of the file is in the target.")
def import_(path: Path, **options: Any) -> int:
    """Write a scenario from a file of another tool, and say what could not be taken over; starts nothing.

    PATH is a Chaos Toolkit experiment, a Toxiproxy populate file, or k6's options with thresholds.
    """
    from squall.commands import import_ as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(path, command.Wish(**options), console())


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all runs; default runs/<time>-suite.")
@click.option("--tag", "tags", multiple=True, help="Only scenarios that carry it; can be given more than once.")
@click.option("--shard", help="A share of the scenarios, such as 2/5: the second of five.")
@click.option("--time-budget", help="Longest that it may take, such as 15m; says what it left out.")
@click.option("--repeat", type=int, default=1, show_default=True, help="How often each scenario runs.")
@click.option("--again", type=int, default=2, show_default=True, help="Further tries at one that did not pass.")
@click.option("--no-control", is_flag=True, help="Leave out the runs without protections.")
@click.option("--variant", help="Protections to switch on, instead of the scenarios'.")
@click.option("--target", help="Target to run against, instead of the scenarios'.")
@click.option("--calibrate", is_flag=True, help="First measure what this host is worth tonight, for squall trend.")
@click.option("--fresh", is_flag=True, help="Bring the target up from nothing for every run; keep nothing up between.")
@click.option("--listen", help=LISTEN)
@click.option("--resume", type=click.Path(path_type=Path), help="Folder of an interrupted suite, to go on with.")
def suite(paths: tuple[Path, ...], **options: Any) -> int:
    """Run several scenarios one after the other, with a summary and a comparison to the suite before."""
    from squall.commands import suite as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(paths, command.Wish(**options), console())


@cli.command()
@click.option("--master", required=True, help="HOST[:PORT] where a run awaits workers with --listen.")
@click.option("--target", default="", help="HOST:PORT where this machine reaches the target; default: as the run does.")
@click.option("--wait", default="60s", show_default=True, help="How long to look for a run, at first and after each.")
def worker(master: str, target: str, wait: str) -> int:
    """Do a share of the load of runs on another machine, one run after the other, until none is there any more."""
    from squall.commands import worker as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(command.Wish(master, target, wait), console())


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--repeats", type=int, default=3, show_default=True, help="How often each configuration runs.")
@click.option("--only", multiple=True, help="A protection to look at; can be given more than once. Default: all.")
@click.option("--variant", help="Protections to look at, instead of the scenario's.")
@click.option("--target", help="Target to run against, instead of the scenario's.")
@click.option("--seed", type=int, help="Seed of the first repeat, instead of the scenario's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all; default runs/<time>-<name>-ablation.")
def ablate(path: Path, repeats: int, only: tuple[str, ...], **options: Any) -> int:
    """Run a scenario with each protection switched off alone and on alone: what each one buys and costs.

    PATH is a scenario, or the folder of an earlier ablation, which is then compared again.
    """
    from squall.commands import ablate as command  # noqa: PLC0415 - a command imports only what it needs
    from squall.commands.run import Options  # noqa: PLC0415 - likewise

    return command.main(path, command.Wish(Options(**options), repeats, only), console())


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--variant", help="Protections to switch on, instead of the scenario's.")
@click.option("--target", help="Target to run against, instead of the scenario's.")
@click.option("--seed", type=int, help="Seed of all that is random, instead of the scenario's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all runs; default runs/<time>-<name>-search.")
def search(path: Path, **options: Any) -> int:
    """Find the hidden capacity: the highest load at which the system recovers from a scenario's faults."""
    from squall.commands import search as command  # noqa: PLC0415 - a command imports only what it needs
    from squall.commands.run import Options  # noqa: PLC0415 - likewise

    return command.main(path, Options(**options), console())


@cli.command()
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("runs/nights.jsonl"),
    show_default=True,
    help="File that remembers the nights; made when it is not there.",
)
@click.option(
    "--add", multiple=True, type=click.Path(path_type=Path), help="Folder of a suite to remember; repeatable."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the page and the files of a CI system.")
def trend(store: Path, add: tuple[Path, ...], out: Path | None) -> int:
    """Remember nights, and say what has become worse: 1 when something was found tonight.

    With --out the page is the last line of standard output, and beside it are summary.md, junit.xml, annotations.txt
    (GitHub), codequality.json (GitLab), metrics.prom (Prometheus) and message.txt (for an issue or a chat).
    """
    from squall.commands import trend as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(command.Wish(store, add, out), console())


@cli.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--store", type=click.Path(path_type=Path), help="File of nights; default nights.jsonl in SOURCE.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("site"), show_default=True, help="The site's folder."
)
def site(source: Path, store: Path | None, out: Path) -> int:
    """Write the whole history as a static site: an index of nights, the trend, and each run's page.

    SOURCE is the folder that holds the suites' folders, or a file of nights in it. The first page is the last line of
    standard output.
    """
    from squall.commands import site as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(source, store, out, console())


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="File to write; default spans.jsonl in DIRECTORY.")
def spans(directory: Path, output: Path | None) -> int:
    """Write a run as spans in OTLP JSON, for a tracing system: its phases and faults, with what happened as events."""
    from squall.commands import spans as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(directory, output, console())


def main() -> None:
    """Run the command line and exit with its code; every error is one clear message."""
    sys.exit(_guarded(lambda: cli.main(standalone_mode=False)))


def _guarded(work: Callable[[], Any]) -> int:
    try:
        code = work()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.BAD_SCENARIO
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except Exception:  # noqa: BLE001 - the edge of the program: whatever it was, it is shown and has an exit code
        console().print_exception()
        console().print("This is a defect of squall: please report it with the lines above.", style="bold red")
        return Exit.INTERNAL
    return code if isinstance(code, int) else Exit.PASS
