"""Tonight as Markdown for the summary of a CI job: the worst thing on top."""

from reports.nights.trend import Trend
from reports.render.as_markdown import escape
from reports.render.nights.wording import evidence, headline, reason, sentence, size, verdict
from reports.render.words import MARK, plural, quantity

_MOST = 20  # rows of a table that a summary has room for


def render(trend: Trend) -> str:
    """Return the summary."""
    result = verdict(trend)
    parts = [f"## {MARK[result]} {escape(headline(trend))}"]
    parts.append("\n".join(f"- **{escape(reason(one))}**" for one in trend.not_passed[:_MOST]))
    parts += [_alarms(trend), _list("Worse since earlier", [sentence(trend, one) for one in trend.standing])]
    others = [one for one in trend.found if one.kind != "worse"]
    parts.append(_list("Also changed", [sentence(trend, one) for one in others]))
    parts.append("\n".join(f"- {escape(one)}" for one in trend.remarks()))
    parts.append(f"<sub>{escape(_facts(trend))}</sub>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _alarms(trend: Trend) -> str:
    if not trend.alarms:
        return ""
    lines = [
        "### Worse tonight",
        "",
        "| what | change | now | before | since | evidence |",
        "|---|---|---:|---:|---|---|",
    ]
    for one in trend.alarms[:_MOST]:
        unit = one.course.unit
        cells = (
            one.course.name, size(one), quantity(one.after, unit), quantity(one.before, unit),
            trend.nights[one.at].day, evidence(one),
        )  # fmt: skip
        lines.append("| " + " | ".join(escape(cell) for cell in cells) + " |")
    if len(trend.alarms) > _MOST:
        lines += ["", f"and {len(trend.alarms) - _MOST} more in the page"]
    return "\n".join(lines)


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    more = [f"- and {len(lines) - _MOST} more in the page"] if len(lines) > _MOST else []
    return "\n".join([f"### {title}", "", *(f"- {escape(one)}" for one in lines[:_MOST]), *more])


def _facts(trend: Trend) -> str:
    last = trend.last
    facts = [f"night {last.id}", plural(len(trend.nights), "night"), f"git {last.git[:10]}" if last.git else ""]
    return " · ".join([*(one for one in facts if one), f"host {last.host.get('name', '') or 'unknown'}"])
