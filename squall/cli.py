"""The command line: a contract with scripts and CI systems (docs/command-line.md)."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from squall.exits import Exit

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
def plan(path: Path, as_json: bool, **options: Any) -> int:
    """Show the absolute steps of a scenario and what its checks can say; starts nothing."""
    from squall.commands import plan as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(path, as_json, options, console())


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
@click.option("--variant", default="full", show_default=True, help="Protections to switch on.")
def up(target: str, variant: str) -> int:
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


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all runs; default runs/<time>-suite.")
def suite(paths: tuple[Path, ...], out: Path | None) -> int:
    """Run several scenarios one after the other, with a summary and a comparison to the suite before."""
    from squall.commands import suite as command  # noqa: PLC0415 - a command imports only what it needs

    return command.main(paths, out, console())


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
