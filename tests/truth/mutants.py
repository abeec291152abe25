"""Change one number of an analysis at a time and see a truth test fail: `make mutants`, `make mutants ANALYSIS=limit`.

Prints a line for each number in `reports/analyses`: where, what it became, and which test noticed; then a table.
Numbers in names of formulas and texts are not code and stay. Ends with 1 when a change went unnoticed, unless
`EQUIVALENT` says why nobody could notice it, or when such a reason is not needed any more.
"""

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mutating
from mutating import ANALYSES, ROOT, Change

COPIED = ("reports", "scenarios", "faults", "targets", "squall", "tests", "pyproject.toml")
HERE: Final = "--here"
SHARED = {"__init__.py", "base.py"}
HEAVY = ("numpy", "pandas", "pyarrow", "pydantic", "scipy.stats", "scipy.special", "lark")
EQUIVALENT: Final[Mapping[str, str]] = {
    "breaker_calls.: 1000000000.0 #0": "any weight that no number of missing attempts comes to is certain",
    "breaker_calls.: 1 #0": "any number that is no place in a list stands for nobody",
    "retry_spacing.fit: 0.0 #1": "of 500 pauses a distance of a hundredth is as likely as none",
    "breaker_states.openings: 3 #0": "of the states behind an opening only two are looked at",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One number of one module, changed."""

    path: Path
    line: int
    column: int
    width: int
    was: str
    becomes: str
    scope: str  # the outermost function or method about it; "" outside of functions
    function: int | None  # the line where that begins, its decorators included
    number: int  # how many of the same in that scope are before it

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}:{self.column + 1}: {self.was} -> {self.becomes}"

    @property
    def name(self) -> str:
        """What `EQUIVALENT` calls it: it does not change with the lines above."""
        return f"{self.path.stem}.{self.scope}: {self.was} #{self.number}"

    @property
    def change(self) -> Change:
        """The module with this change."""
        lines = self.path.read_text().splitlines(keepends=True)
        line, end = lines[self.line - 1].encode(), self.column + self.width
        lines[self.line - 1] = (line[: self.column] + self.becomes.encode() + line[end:]).decode()
        return Change(f"reports.analyses.{self.path.stem}", self.path, "".join(lines), self.function)


def mutants(path: Path) -> list[Mutant]:
    """Return a change of every number in a module, but for those of the measures' descriptions."""
    found, met = [], Counter[tuple[str, str]]()
    for node, scope, function in _numbers(ast.parse(path.read_text()), "", None):
        changed = _changed(node.value)
        width, was = (node.end_col_offset or 0) - node.col_offset, ast.unparse(node)
        found.append(
            Mutant(path, node.lineno, node.col_offset, width, was, repr(changed), scope, function, met[scope, was])
        )
        met[scope, was] += 1
    return found


def _changed(number: float) -> float:
    """Return a number half as large again, or the next integer; a share stays a share, farther away from one."""
    if isinstance(number, int):
        return number + 1
    return round(1 - 1.5 * (1 - number) - 0.01, 12) if 2 / 3 < number < 1 else number * 1.5 + 0.01


def _numbers(node: ast.AST, scope: str, function: int | None) -> Iterator[tuple[ast.Constant, str, int | None]]:
    """Yield the numbers below a node, each with the outermost function about it and its first line."""
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        yield node, scope, function
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "MeasureKind":
        return
    named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and function is None
    inner = f"{scope}.{node.name}".lstrip(".") if named else scope
    begins = min([node.lineno, *(one.lineno for one in node.decorator_list)]) if named else None
    for name, value in ast.iter_fields(node):
        inside = named and name == "body" and not isinstance(node, ast.ClassDef)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _numbers(child, inner, begins if inside else function)


def tests_of(module: str) -> list[Path]:
    """Return the truth tests of a module: those whose names begin with its first word."""
    return sorted((ROOT / "tests" / "truth").glob(f"test_truth_{module.partition('_')[0]}*.py"))


def try_all(found: Sequence[Mutant]) -> list[str]:
    """Try the mutants of modules that share their tests; returns which test noticed each, "" for none."""
    tests, changes = tests_of(found[0].path.stem), [one.change for one in found]

    with open(os.dup(sys.stdout.fileno()), "w") as voice:  # noqa: PTH123 - forks have no standard output

        def say(index: int, test: str) -> None:
            said = f"{'noticed' if test else 'MISSED '}  {found[index]}  {test.partition('::')[2] or test}"
            print(said, file=voice, flush=True)

        known, noticed = mutating.quick(tests, changes, say)
        left = [(index, change) for index, change in enumerate(changes) if noticed[index] == mutating.UNTRIED]
        for index, test in mutating.fresh(tests, left, known):
            noticed[index] = test
            say(index, test)
    return noticed


def table(found: Sequence[Mutant], noticed: Sequence[str]) -> str:
    """Return how many numbers of each module were noticed, and how many nobody can notice."""
    rows = [("module", "numbers", "noticed", "equivalent", "missed")]
    names = [*dict.fromkeys(one.path.stem for one in found), "all"]
    for name in names:
        of_it = [(one, test) for one, test in zip(found, noticed, strict=True) if name in {"all", one.path.stem}]
        same = sum(not test and one.name in EQUIVALENT for one, test in of_it)
        seen = sum(bool(test) for _, test in of_it)
        rows.append((name, *map(str, (len(of_it), seen, same, len(of_it) - seen - same))))
    return "\n".join(f"{row[0]:<20}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def main(names: list[str]) -> int:
    """Try all mutants of the analyses named, or of all; returns 1 when one went unnoticed."""
    paths = [path for path in sorted(ANALYSES.glob("*.py")) if path.name not in SHARED]
    chosen = [path for path in paths if not names or path.stem in names]
    for heavy in HEAVY:  # once, and not in every fork
        importlib.import_module(heavy)
    found, noticed = [], []
    with tempfile.TemporaryDirectory() as compiled:
        sys.pycache_prefix, sys.dont_write_bytecode = compiled, False
        for family in dict.fromkeys(path.stem.partition("_")[0] for path in chosen):
            of_it = [one for path in chosen if path.stem.partition("_")[0] == family for one in mutants(path)]
            found += of_it
            noticed += try_all(of_it) if of_it else []
    print(table(found, noticed))
    missed = [one for one, test in zip(found, noticed, strict=True) if not test and one.name not in EQUIVALENT]
    needless = [one for one, test in zip(found, noticed, strict=True) if test and one.name in EQUIVALENT]
    for one in missed:
        print(f"MISSED   {one}  ({one.name})")
    for one in needless:
        print(f"noticed after all, and still listed as equivalent: {one.name}")
    return int(bool(missed or needless))


def in_a_copy(names: Sequence[str]) -> int:
    """Do it in a copy of the project, so that the project may go on changing."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in COPIED:
            source, copy = ROOT / name, Path(folder) / name
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        script = Path(folder) / Path(__file__).relative_to(ROOT)
        environment = {**os.environ, "PYTHONPATH": folder}
        return subprocess.run(
            [sys.executable, script, HERE, *names], cwd=folder, env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]) if sys.argv[1:2] == [HERE] else in_a_copy(sys.argv[1:]))
