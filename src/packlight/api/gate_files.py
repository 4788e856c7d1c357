"""Files of a check: JUnit XML, Markdown, and a history of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from packlight.disk import check_output_path, replacing
from packlight.errors import InputError, PacklightError
from packlight.presentation.gate import (
    conditions,
    failure_markdown,
    headline,
    markdown,
    numbers,
    remark,
)
from packlight.presentation.markup import UNPRINTABLE
from packlight.records import CheckedBudget, Gate, GateRun, canonical, loads
from packlight.report import gate_page, write_page

SUITE = "packlight check"


@dataclass(frozen=True, slots=True)
class GateFiles:
    """Files that a check writes; None for those that it does not.

    Attributes:
        junit: JUnit XML, one test case for each budget.
        markdown: a table.
        history: a JSON record for each run, which this one is appended to.
        report: HTML, with the history.
    """

    junit: Path | None = None
    markdown: Path | None = None
    history: Path | None = None
    report: Path | None = None


def check_gate_files(files: GateFiles) -> None:
    """Refuse paths that cannot be written, and a history that is none, before any work.

    Raises:
        InputError: with the path.
    """
    for path in (files.junit, files.markdown, files.history, files.report):
        if path is not None:
            check_output_path(path)
    if files.history is not None:
        read_history(files.history)


def write_gate_files(gate: Gate, files: GateFiles) -> None:
    """Write the files of a check.

    Raises:
        InputError: one cannot be written.
    """
    runs: Sequence[GateRun] = ()
    if files.history is not None:
        runs = append_history(gate, files.history)
    if files.junit is not None:
        write_junit(gate, files.junit)
    if files.markdown is not None:
        write_markdown(gate, files.markdown)
    if files.report is not None:
        write_page(gate_page(gate, runs), files.report)


def write_failure(error: PacklightError, new: str, files: GateFiles) -> None:
    """Write why a check could not be made, for jobs that show its files whatever happened.

    Args:
        error: that stopped the check.
        new: the model to check, as it was named.
        files: of the check; the history and the report stay as they are.

    Raises:
        InputError: one cannot be written.
    """
    sentence = _xml(str(error))
    if files.junit is not None:
        root, suite = _suite(new, {"tests": "1", "failures": "0", "errors": "1"})
        case = ET.SubElement(suite, "testcase", {"name": SUITE, "classname": _xml(new)})
        ET.SubElement(case, "error", {"message": sentence, "type": type(error).__name__})
        _write_xml(files.junit, root)
    if files.markdown is not None:
        _write_text(files.markdown, failure_markdown(str(error), new))


def _suite(new: str, counts: Mapping[str, str]) -> tuple[ET.Element, ET.Element]:
    """The root of a file, and the suite of the model to check in it."""
    root = ET.Element("testsuites", {"name": SUITE, **counts})
    return root, ET.SubElement(root, "testsuite", {"name": _xml(f"{SUITE} {new}"), **counts})


def _write_xml(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    _write_text(path, ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def write_junit(gate: Gate, path: Path) -> None:
    """Write one test case for each budget, as CI systems show them.

    Raises:
        InputError: the file cannot be written.
    """
    failures = sum(not checked.passed for checked in gate.budgets)
    counts = {"tests": str(len(gate.budgets)), "failures": str(failures), "errors": "0"}
    root, suite = _suite(gate.new, counts)
    for checked in gate.budgets:
        _add_case(suite, gate, checked)
    _write_xml(path, root)


def _add_case(suite: ET.Element, gate: Gate, checked: CheckedBudget) -> None:
    names = {"name": _xml(checked.budget), "classname": _xml(gate.new)}
    case = ET.SubElement(suite, "testcase", names)
    sentence = _xml(". ".join(filter(None, [numbers(checked), remark(checked)])))
    if not checked.passed:
        failure = ET.SubElement(case, "failure", {"message": sentence, "type": checked.meets})
        failure.text = _xml(f"{headline(gate)} {conditions(gate)}")
    ET.SubElement(case, "system-out").text = sentence


def _xml(text: str) -> str:
    """A text that XML 1.0 may hold."""
    return UNPRINTABLE.sub("\ufffd", text)


def write_markdown(gate: Gate, path: Path) -> None:
    """Write the table of budgets as Markdown.

    Raises:
        InputError: the file cannot be written.
    """
    _write_text(path, markdown(gate))


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_history(path: Path) -> list[GateRun]:
    """Read the runs of a history file, oldest first; none where there is no file yet.

    Raises:
        InputError: the file cannot be read, or a line is no run.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the history '{path}' cannot be read: {error}") from error
    runs = []
    for number, line in enumerate(lines, start=1):
        try:
            runs.append(loads(GateRun, line))
        except (ValueError, InputError) as error:
            raise InputError(
                f"line {number} of the history '{path}' is no run of a check: {error}"
            ) from error
    return runs


def append_history(gate: Gate, path: Path) -> Sequence[GateRun]:
    """Append a run to a history file of one JSON record a line.

    Returns:
        All runs, this one last.

    Raises:
        InputError: the file cannot be written, or holds something else.
    """
    earlier = read_history(path)
    run = GateRun(datetime.now(UTC).isoformat(timespec="seconds"), gate)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(canonical(run) + "\n")
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error
    return [*earlier, run]
