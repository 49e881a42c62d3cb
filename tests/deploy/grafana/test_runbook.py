"""The runbook's Markdown as rows and panels."""

import pytest

from deploy.grafana.runbook import Section, runbook_rows, sections

TEXT = """# Runbook

How to use it.

## Providers

### CircuitOpen

What it means.

```sh
# no heading
curl x
```

### AllCircuitsOpen

Short.
"""


def test_sections_are_found_below_their_headings() -> None:
    """A comment in a block of code is no heading."""
    assert sections(TEXT) == [
        Section(1, "Runbook", "How to use it."),
        Section(2, "Providers", ""),
        Section(3, "CircuitOpen", "What it means.\n\n```sh\n# no heading\ncurl x\n```"),
        Section(3, "AllCircuitsOpen", "Short."),
    ]


def test_chapters_become_rows_and_sections_panels() -> None:
    """Current alerts first; two panels side by side are equally high."""
    rows = [(title, [panel.title for panel in panels]) for title, panels in runbook_rows(TEXT)]
    assert rows == [("Now", ["Current Alerts", "Runbook"]), ("Providers", ["CircuitOpen", "AllCircuitsOpen"])]
    one, other = runbook_rows(TEXT)[1][1]
    assert one.height == other.height > 4
    assert one.options["content"].startswith("What it means.")


def test_a_flat_runbook_has_one_row_of_sections() -> None:
    """Headings of the second level without chapters."""
    rows = runbook_rows("# Runbook\n\nIntro.\n\n## One\n\na\n\n## Two\n\nb\n")
    assert [(title, [panel.title for panel in panels]) for title, panels in rows] == [
        ("Now", ["Current Alerts", "Runbook"]),
        ("Sections", ["One", "Two"]),
    ]


def test_a_longer_section_gets_a_higher_panel() -> None:
    """Long lines wrap, so they count more than once."""
    heights = [runbook_rows(f"## One\n\n{body}\n")[1][1][0].height for body in ("word", "word\n\n" * 5, "word " * 200)]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[errors.md](errors.md)", "`docs/errors.md`"),
        ("[the endings](errors.md#stalled)", "the endings (`docs/errors.md`)"),
        ("[the README](../README.md)", "the README (`README.md`)"),
        ("[CircuitOpen](#circuitopen)", "**CircuitOpen**"),
        ("[RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)", "[RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)"),
    ],
)
def test_links_within_the_repository_name_the_file(written: str, shown: str) -> None:
    """Grafana would look for it on its own server; a link to elsewhere stays one."""
    page = runbook_rows(f"## One\n\nSee {written}.\n")[1][1][0]
    assert page.options["content"] == f"See {shown}."


def test_a_runbook_without_sections_is_refused() -> None:
    """Its dashboard would help nobody."""
    with pytest.raises(ValueError, match="write a heading"):
        runbook_rows("Nothing here.\n")
