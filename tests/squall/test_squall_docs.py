"""The documentation cannot drift from the code."""

from pathlib import Path

import pytest

from squall.docs import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    """Each generated page is current; `make docs` writes it anew."""
    assert (DOCS / "reference" / name).read_text() == PAGES[name]()


def test_every_exit_code_has_its_row() -> None:
    """The page of the command line names every exit code."""
    page = PAGES["command-line.md"]()
    for code in (0, 1, 2, 3, 4, 64, 70, 130):
        assert f"| {code} |" in page
