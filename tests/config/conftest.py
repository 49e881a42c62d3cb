"""What the tests of the configuration share: a file that they write, and its mistakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import ConfigError, Mistake, load

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "gateway.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes_in(path: Path, environ: dict[str, str] | None = None) -> tuple[Mistake, ...]:
    """Load a file that must be refused."""
    with pytest.raises(ConfigError) as refusal:
        load(path, environ or {})
    return refusal.value.mistakes
