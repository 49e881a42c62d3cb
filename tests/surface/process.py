"""A gateway as a process of its own: started from a shell's point of view, read line by line, signalled."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_S = 120.0
"""For a process to say what it has to say; nothing takes so long on a machine that works."""


def environment(**more: str) -> dict[str, str]:
    """What a fresh clone has: a path, and no key of any provider."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


@dataclass(slots=True)
class Running:
    """A process, its output lines so far."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def says(self, word: str, stream: asyncio.StreamReader | None = None) -> str:
        """Waits for a line with this word on standard error (or another stream); returns the line."""
        source = stream or self.process.stderr
        assert source is not None
        async with asyncio.timeout(START_S):
            while line := (await source.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if word in line:
                    return line.rstrip("\n")
        raise AssertionError(f"it ended without saying {word!r}: {self.lines}")

    async def ended(self) -> int:
        """Waits for the end; the rest of standard error is in ``lines``."""
        assert self.process.stderr is not None
        async with asyncio.timeout(START_S):
            self.lines += (await self.process.stderr.read()).decode().splitlines()
            return await self.process.wait()


@asynccontextmanager
async def running(*command: str, cwd: Path, **env: str) -> AsyncIterator[Running]:
    """Runs a command line and kills it at the end, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment(**env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def gateway_command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "gateway", *arguments)
