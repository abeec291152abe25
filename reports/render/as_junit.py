"""The verdict as JUnit XML: one test case for each check, each validity row, and the control."""

from xml.etree import ElementTree as ET

from reports.render.analysed import findings, tally
from reports.render.view import View
from reports.render.words import printable, quantity
from reports.verdict import CheckRow, ControlRow, Result, ValidityRow


def render(view: View) -> str:
    """Return the document; `fail` becomes a failure and `unknown` an error, so that no CI takes it for a pass."""
    plan = view.main.history.header.plan
    name = printable(plan.name or view.main.history.directory.name)
    suite = ET.Element("testsuite", name=f"squall.{name}")
    _properties(suite, view)
    for check in view.verdict.checks:
        _case(suite, f"{name}.checks", check.expect, check.result, _check_text(check))
    for row in view.verdict.validity:
        _case(suite, f"{name}.validity", f"{row.id} {row.name}", row.result, _validity_text(row))
    if view.verdict.control is not None:
        _case(suite, f"{name}.control", *_control(view.verdict.control))
    whole = "; ".join(view.verdict.why) or "see the checks and the validity rows"
    _case(suite, f"{name}.run", "the run as a whole", view.verdict.verdict, whole)
    _findings(suite, view)
    root = ET.Element("testsuites", name="squall")
    root.append(suite)
    for element in (suite, root):
        _count(element, suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _properties(suite: ET.Element, view: View) -> None:
    header = view.main.history.header
    facts = {
        "verdict": view.verdict.verdict,
        "run_id": header.run_id,
        "variant": header.plan.variant,
        "target": header.plan.target,
        "seed": header.plan.seed,
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=printable(value))


def _findings(suite: ET.Element, view: View) -> None:
    """Tell what broke its own rule beside the test cases: it is no failure, since no expectation speaks of it."""
    said = view.main.analysed()
    if said:
        lines = [*(one.text for one in findings(said)), tally(said)]
        ET.SubElement(suite, "system-out").text = "\n".join(map(printable, lines))


def _case(suite: ET.Element, group: str, name: str, result: Result, text: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=group, name=printable(name))
    if result == "pass":
        return
    tag = "failure" if result == "fail" else "error"
    message = printable(text)
    ET.SubElement(case, tag, type=result, message=message).text = message


def _check_text(check: CheckRow) -> str:
    measured = f"measured {quantity(check.value, check.unit)}, limit {quantity(check.limit, check.unit)}"
    return "; ".join(part for part in (check.why, f"{measured}, {check.samples} samples") if part)


def _validity_text(row: ValidityRow) -> str:
    measured = f"measured {quantity(row.value, row.unit)}, limit {quantity(row.limit, row.unit)}"
    return "; ".join(part for part in (row.why, measured) if part)


def _control(control: ControlRow) -> tuple[str, Result, str]:
    """Return name, result and text: a control does its duty by failing, and otherwise the scenario proves nothing."""
    name = f"the control ({control.variant}) fails at least one expectation"
    result: Result = "pass" if control.verdict == "fail" else "unknown"
    return name, result, control.why or f"the control's verdict is {control.verdict}"


def _count(element: ET.Element, suite: ET.Element) -> None:
    element.set("tests", str(len(suite.findall("testcase"))))
    element.set("failures", str(len(suite.findall("testcase/failure"))))
    element.set("errors", str(len(suite.findall("testcase/error"))))
