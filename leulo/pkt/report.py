"""How scripts went, for a person, for a program (JSON) and for a CI server (JUnit)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from leulo.pkt.outcome import Outcome, Status

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


@dataclass(slots=True)
class Result:
    """One script's. ``seconds`` of real time."""

    file: str
    outcome: Outcome
    seconds: float = 0.0


def text_of(result: Result) -> str:
    """Several lines on a script that did not pass; one on a script that did."""
    outcome = result.outcome
    if outcome.status is Status.PASSED:
        return f"passed  {result.file}"
    where = f"{result.file}:{outcome.line}" if outcome.line is not None else result.file
    if outcome.status is Status.REFUSED:
        return f"refused {where}: {outcome.actual}"
    if outcome.status is Status.ERROR:
        return f"error   {where}: {outcome.actual}"
    lines = [f"FAILED  {where}"]
    if outcome.history:
        lines.append("  before:")
        lines += [f"    {event}" for event in outcome.history]
    lines.append(f"  line:     {outcome.script_line}")
    lines.append(f"  expected: {outcome.expected}")
    lines.append(f"  actual:   {outcome.actual}")
    return "\n".join(lines)


def counts(results: Sequence[Result]) -> dict[Status, int]:
    """How many of each."""
    found = dict.fromkeys(Status, 0)
    for result in results:
        found[result.outcome.status] += 1
    return found


def summary(results: Sequence[Result]) -> str:
    """``250 scripts: 248 passed, 2 refused in 0.9 s``."""
    parts = [f"{count} {status.value}" for status, count in counts(results).items() if count]
    seconds = sum(result.seconds for result in results)
    noun = "script" if len(results) == 1 else "scripts"
    return f"{len(results)} {noun}: {', '.join(parts) or 'none'} in {seconds:.2f} s"


def as_json(results: Sequence[Result]) -> str:
    """``{"results": [{"file", "status", "line", "expected", "actual"}]}``; null where there is
    nothing to say."""
    plain = [
        {
            "file": result.file,
            "status": result.outcome.status.value,
            "line": result.outcome.line,
            "expected": result.outcome.expected or None,
            "actual": result.outcome.actual or None,
        }
        for result in results
    ]
    return json.dumps({"results": plain}, indent=1)


def as_junit(results: Sequence[Result]) -> str:
    """One test case a script, in the form that CI servers read."""
    found = counts(results)
    seconds = sum(result.seconds for result in results)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="leulo pkt" tests="{len(results)}" '
        f'failures="{found[Status.FAILED]}" errors="{found[Status.ERROR]}" '
        f'skipped="{found[Status.REFUSED]}" time="{seconds:.3f}">',
    ]
    for result in results:
        outcome = result.outcome
        folder, _, name = result.file.rpartition("/")
        head = (
            f"<testcase classname={_attribute(folder.replace('/', '.') or '.')} "
            f'name={_attribute(name)} time="{result.seconds:.4f}"'
        )
        if outcome.status is Status.PASSED:
            out.append(head + "/>")
            continue
        tag = {Status.FAILED: "failure", Status.ERROR: "error", Status.REFUSED: "skipped"}
        kind = tag[outcome.status]
        message = outcome.actual
        if outcome.status is Status.FAILED:
            message = f"expected {outcome.expected}, got {outcome.actual}"
        body = escape(_NOT_XML.sub("?", text_of(result)))
        out.append(f"{head}><{kind} message={_attribute(message)}>{body}</{kind}></testcase>")
    out.append("</testsuite>")
    return "\n".join(out) + "\n"


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text))
