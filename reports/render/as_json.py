"""The verdict as JSON: the text of `verdict.json`."""

from reports.render.view import View


def render(view: View) -> str:
    """Return the verdict document, byte for byte what judging writes."""
    return view.verdict.to_json()
