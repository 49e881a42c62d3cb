"""The runbook as panels: docs/runbook.md section by section, below the alerts that are firing now."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.grafana.kinds import Column, table, text
from deploy.grafana.panels import Panel, Steps

ALERT_LABELS = {
    "alertname": "Alert",
    "alertstate": "State",
    "severity": "Severity",
    "provider": "Provider",
    "model": "Model",
    "tenant_id": "Tenant",
    "store": "Store",
    "instance": "Instance",
}
_LINE_CHARS = 95
"""About what fits on one line of a panel of half the width; longer ones wrap."""
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:)([^)#]*)(?:#[^)]*)?\)")
"""A link within the repository: Grafana would look for it on its own server."""
_SEVERITIES: Steps = (("green", None), ("red", 1))

_CURRENT = table(
    "Current Alerts",
    "Alerts that are firing, or will if what they watch lasts (pending).",
    ALERT_LABELS,
    (
        Column(
            "Series",
            f'sum by ({", ".join(ALERT_LABELS)}) (ALERTS{{alertstate=~"firing|pending"}})',
            "none",
        ),
    ),
    width=24,
    height=8,
    steps=_SEVERITIES,
    no_value="No alert is firing, and none is pending",
)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the runbook, how deep it is (1: the title), and what stands below it."""

    level: int
    title: str
    body: str


def sections(markdown: str) -> list[Section]:
    """The runbook's sections down to level 3; a ``#`` within a fenced block is no heading."""
    found: list[Section] = []
    fenced = False
    body: list[str] = []
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"(#{1,3}) +(.+?) *$", line)
        if heading is None:
            body.append(line)
            continue
        _end(found, body)
        found.append(Section(len(heading[1]), heading[2], ""))
        body = []
    _end(found, body)
    return found


def runbook_rows(markdown: str) -> list[tuple[str, list[Panel]]]:
    """The rows of the dashboard: what is wrong now, then a row per chapter with a panel per section.

    Raises:
        ValueError: the runbook has no sections.
    """
    found = sections(markdown)
    if not any(section.level > 1 for section in found):
        raise ValueError("the runbook has no sections: write a heading (## or ###) for each alert")
    rows: list[tuple[str, list[Panel]]] = [("Now", [_CURRENT])]
    for section, following in zip(found, [*found[1:], None], strict=True):
        if section.level == 2 and following is not None and following.level == 3:
            rows.append((section.title, []))
        elif len(rows) == 1 and section.level == 2:
            rows.append(("Sections", []))
        if section.body:
            rows[-1][1].append(_page(section))
    return [(title, list(_even(panels))) for title, panels in rows]


def _end(found: list[Section], body: list[str]) -> None:
    if found:
        found[-1] = Section(found[-1].level, found[-1].title, "\n".join(body).strip())


def _page(section: Section) -> Panel:
    return text(
        section.title,
        f"From docs/runbook.md: {section.title}.",
        _LINK.sub(_named, section.body),
        width=24 if section.level == 1 else 12,
        # a grid unit is 38 pixels, a line of text about 22, the panel's heading about one unit
        height=min(3 + _lines(section.body) * 22 // 38, 24),
    )


def _named(link: re.Match[str]) -> str:
    """The words of a link, and where in the repository what it leads to lies."""
    words, target = link[1], posixpath.normpath(posixpath.join("docs", link[2]))
    if not link[2]:
        return f"**{words}**"
    return f"`{target}`" if words == link[2] else f"{words} (`{target}`)"


def _lines(markdown: str) -> int:
    """How many lines a text takes: paragraphs flow anew, blocks of code and tables stay as they are."""
    count = 0
    for block in markdown.split("\n\n"):
        kept = block.startswith(("```", "|", "-", "*", "1."))
        count += 1 + (len(block.splitlines()) if kept else 1 + len(block) // _LINE_CHARS)
    return count


def _even(panels: list[Panel]) -> Iterator[Panel]:
    """Two panels side by side are equally high."""
    line: list[Panel] = []
    for panel in panels:
        if sum(other.width for other in line) + panel.width > 24:
            yield from _level(line)
            line = []
        line.append(panel)
    yield from _level(line)


def _level(line: list[Panel]) -> Iterator[Panel]:
    height = max((panel.height for panel in line), default=0)
    yield from (panel.sized(panel.width, height) for panel in line)
