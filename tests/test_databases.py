"""Where tests find PostgreSQL's programs: on PATH, or where Debian has them."""

from pathlib import Path

import pytest

from tests.databases import BINARIES, postgres_binaries


def installed(directory: Path, names: tuple[str, ...] = BINARIES) -> Path:
    """Programs that anybody may run."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).touch(mode=0o755)
    return directory


def test_the_highest_version_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten is more than nine; what is not whole, or no version, is passed by."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgres_binaries(tmp_path) is None
    installed(tmp_path / "9" / "bin")
    ten = installed(tmp_path / "10" / "bin")
    installed(tmp_path / "11" / "bin", BINARIES[:-1])
    installed(tmp_path / "common" / "bin")
    assert postgres_binaries(tmp_path) == ten


def test_path_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If all of them are there; a client's tools alone are not a server."""
    debian = installed(tmp_path / "debian" / "15" / "bin")
    here = installed(tmp_path / "here")
    monkeypatch.setenv("PATH", str(here))
    assert postgres_binaries(tmp_path / "debian") == here
    (here / "postgres").unlink()
    assert postgres_binaries(tmp_path / "debian") == debian
