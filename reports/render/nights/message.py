"""Tonight as plain text for an issue or a chat: short, and only what somebody must know."""

from reports.nights.trend import Trend
from reports.render.nights.wording import evidence, headline, reason, sentence

_MOST = 5


def render(trend: Trend) -> str:
    """Return the text; its first line can be the issue's title."""
    lines = [f"squall, night of {trend.last.day}: {headline(trend)}"]
    told = [reason(one) for one in trend.not_passed]
    told += [f"{sentence(trend, one)}: {evidence(one)}" for one in trend.alarms]
    if told:
        lines += ["", *(f"* {one}" for one in told[:_MOST])]
        lines += [f"* and {len(told) - _MOST} more"] if len(told) > _MOST else []
    return "\n".join([*lines, *(["", *trend.remarks()] if trend.remarks() else [])]) + "\n"
