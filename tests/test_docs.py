"""What the documents say is what the code does."""

import re
from pathlib import Path

from gateway.core.errors import KINDS

DOCS = Path(__file__).parent.parent / "docs"


def test_errors_page_prints_the_table() -> None:
    """Every code stands there with its status, its types and its outcome, and no other does."""
    text = (DOCS / "errors.md").read_text()
    printed = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", text, re.MULTILINE)
    assert printed == [
        (code, str(kind.status), kind.openai_type, kind.anthropic_type, str(kind.outcome))
        for code, kind in KINDS.items()
    ]


def test_every_decision_is_listed() -> None:
    """The index of decisions names every file beside it."""
    index = (DOCS / "adr" / "README.md").read_text()
    files = sorted(path.name for path in (DOCS / "adr").glob("0*.md"))
    assert re.findall(r"\]\((0\d+[^)]+)\)", index) == files
