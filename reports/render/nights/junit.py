"""Tonight as JUnit XML: one test suite a scenario, with its verdict and whether anything of it became worse."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from reports.nights.judging import Change
from reports.nights.records import Ran
from reports.nights.trend import Trend
from reports.render.nights.wording import evidence, sentence
from reports.render.words import printable


def render(trend: Trend) -> str:
    """Return the document; a change for the worse is a failure, a scenario that could not be judged an error."""
    root = ET.Element("testsuites", name="squall nights")
    for number, one in enumerate(trend.last.ran):
        mine = [change for change in trend.alarms if change.course.scenario == one.scenario]
        root.append(_suite(trend, one, mine, number))
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(trend: Trend, one: Ran, alarms: Sequence[Change], number: int) -> ET.Element:
    name = printable(one.scenario)
    stamp = trend.last.started[:19] or "1970-01-01T00:00:00"
    host = printable(trend.last.host.get("name") or "unknown")
    suite = ET.Element("testsuite", name=f"squall.{name}", id=str(number), timestamp=stamp, hostname=host)
    ended = _case(suite, name, "the scenario passes")
    if one.verdict != "pass" or one.exit:
        why = printable(one.why or f"it ended with {one.exit}")
        kind = "failure" if one.verdict == "fail" else "error"
        ET.SubElement(ended, kind, type=one.verdict, message=why).text = why
    trended = _case(suite, name, "nothing became worse")
    if alarms:
        told = [printable(f"{sentence(trend, change)}: {evidence(change)}") for change in alarms]
        ET.SubElement(trended, "failure", type="worse", message=told[0]).text = "\n".join(told)
    _count(suite)
    return suite


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"squall.{group}", name=name, time="0")


def _count(element: ET.Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    element.set("failures", str(len(element.findall(".//failure"))))
    element.set("errors", str(len(element.findall(".//error"))))
    element.set("time", "0")
