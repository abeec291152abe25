"""Change one constant of an analysis at a time and see a truth test fail: `make mutants`.

Prints a line for each number in `reports/analyses`: where, what it became, and which test noticed. Numbers in names of
formulas and texts are not code and stay. Ends with 1 when a change went unnoticed.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANALYSES = ROOT / "reports" / "analyses"
COPIED = ("reports", "tests/truth", "tests/histories.py")
WITHIN = 300.0  # seconds for the tests of one module
SHARED = {"__init__.py", "base.py"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One number of one module, changed."""

    path: Path  # below the project's root
    line: int
    column: int
    width: int
    was: str
    becomes: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column + 1}: {self.was} -> {self.becomes}"


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield a change of every number in a module, but for indices and those of the measures' descriptions."""
    tree = ast.parse(path.read_text())
    described = {
        id(part) for node in ast.walk(tree) if _is_described(node) for part in ast.walk(node) if part is not node
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or type(node.value) not in {int, float} or id(node) in described:
            continue
        changed = node.value + 1 if isinstance(node.value, int) else node.value * 1.5 + 0.01
        width = (node.end_col_offset or 0) - node.col_offset
        yield Mutant(path.relative_to(ROOT), node.lineno, node.col_offset, width, ast.unparse(node), repr(changed))


def _is_described(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "MeasureKind"


def tests_of(module: str) -> list[Path]:
    """Return the truth tests of a module: those whose names begin with its first word."""
    return sorted((ROOT / "tests" / "truth").glob(f"test_truth_{module.partition('_')[0]}*.py"))


def noticed(mutant: Mutant) -> str:
    """Return the first test that fails on a mutant; empty when none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
        _change(copy / mutant.path, mutant)
        tests = [str(copy / test.relative_to(ROOT)) for test in tests_of(mutant.path.stem)]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--rootdir", folder]
        options = ["-c", str(ROOT / "pyproject.toml"), "-m", "not e2e"]
        environment = {**os.environ, "PYTHONPATH": f"{copy}:{copy / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ran = subprocess.run(
                [*command, *options, *tests], cwd=folder, env=environment, capture_output=True, text=True,
                timeout=WITHIN, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "it never ended"
    failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].partition("::")[2] or failed[0] if failed else ""


def _change(path: Path, mutant: Mutant) -> None:
    lines = path.read_text().splitlines(keepends=True)
    line = lines[mutant.line - 1].encode()
    end = mutant.column + mutant.width
    lines[mutant.line - 1] = (line[: mutant.column] + mutant.becomes.encode() + line[end:]).decode()
    path.write_text("".join(lines))


def main(names: list[str]) -> int:
    """Try all mutants of the analyses named, or of all; returns 1 when one went unnoticed."""
    paths = [path for path in sorted(ANALYSES.glob("*.py")) if path.name not in SHARED]
    chosen = [path for path in paths if not names or path.stem in names]
    all_of_them = [mutant for path in chosen for mutant in mutants(path)]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, test in zip(all_of_them, pool.map(noticed, all_of_them), strict=True):
            missed += not test
            print(f"{'noticed' if test else 'MISSED '}  {mutant}  {test}", flush=True)
    print(f"{len(all_of_them) - missed} of {len(all_of_them)} changes were noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
