"""Handover: a new process of the same command takes the listening sockets over, and says when it is ready.

The sockets are inherited. Two sockets on one port (SO_REUSEPORT) would lose the connections that wait in the queue of
the one that is closed; of one socket with two owners, nothing is lost when one of them lets go.
"""

import asyncio
import logging
import os
import re
import socket
import subprocess
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from gateway.config import ConfigError, Mistake
from gateway.listening import adopt

log = logging.getLogger("gateway")

VARIABLE = "AIGATEWAY_HANDOVER"
"""Tells a successor what it inherits: the descriptors of the sockets, and that of the pipe on which it says ready."""

READY_S = 30.0
"""How long a successor may take: it reads its configuration, and opens what that names."""

END_S = 2.0
"""How long one may take that is told to end before it was ready."""

_READY = b"ready\n"
_INHERITANCE = re.compile(r"sockets=(\d{1,9}(?:,\d{1,9})*) ready=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The process that started this one to be replaced by it."""

    sockets: tuple[socket.socket, ...]
    ready_pipe: int

    def say_ready(self) -> None:
        """Requests are answered here from now on."""
        try:
            os.write(self.ready_pipe, _READY)
        except OSError as error:
            log.warning("the process that was to be replaced cannot be told so: %s", error)
        finally:
            os.close(self.ready_pipe)


def predecessor(environ: MutableMapping[str, str]) -> Predecessor | None:
    """Who started this process to be replaced by it; None if nobody did.

    The variable is removed: it is for this process and not for those that it starts.

    Raises:
        ConfigError: what was passed cannot be listened on.
    """
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    inherited = _INHERITANCE.fullmatch(text)
    if inherited is None:
        raise ConfigError("the environment", [Mistake(VARIABLE, "is set by the gateway itself: remove it")])
    ready_pipe = int(inherited[2])
    try:
        os.set_inheritable(ready_pipe, False)
    except OSError as error:
        wrong = f"names descriptor {ready_pipe}, which is not open ({error.strerror})"
        raise ConfigError("the environment", [Mistake(VARIABLE, wrong)]) from None
    return Predecessor(adopt([int(one) for one in inherited[1].split(",")], VARIABLE), ready_pipe)


class NoSuccessor(Exception):
    """Nobody took over; the message says why."""


class Succession:
    """Starts successors.

    Args:
        command: of this process, which is that of its successors too.
        environ: its environment.
        patience_s: how long a successor may take to be ready.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], patience_s: float = READY_S) -> None:
        self._command = list(command)
        self._environ = environ
        self._patience_s = patience_s

    async def start(self, descriptors: Sequence[int]) -> int:
        """Start a successor and wait until it is ready; returns its process id.

        Args:
            descriptors: of the sockets that it inherits.

        Raises:
            NoSuccessor: there is none; what was started has ended.
        """
        if os.getpid() == 1:
            raise NoSuccessor("this is process 1 of a container, which ends with it: start another container instead")
        try:
            process, reading = self._spawn(descriptors)
        except OSError as error:
            raise NoSuccessor(f"{self._command[0]} cannot be started: {error.strerror}") from None
        pipe = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(pipe), os.fdopen(reading, "rb", 0)
        )
        try:
            await self._until_ready(process, pipe)
        except BaseException:
            await _end(process, pipe)
            raise
        finally:
            transport.close()
        # It outlives this process, so nobody waits for its end.
        process.returncode = 0
        return process.pid

    def _spawn(self, descriptors: Sequence[int]) -> "tuple[subprocess.Popen[bytes], int]":
        """Start the command; returns it and the end of the pipe on which it says that it is ready.

        (asyncio's own way of starting processes kills them when the loop is closed.)
        """
        reading, writing = os.pipe()
        try:
            inheritance = f"sockets={','.join(map(str, descriptors))} ready={writing}"
            process = subprocess.Popen(  # noqa: S603 (our own command line)
                self._command, env={**self._environ, VARIABLE: inheritance}, pass_fds=[*descriptors, writing]
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return process, reading

    async def _until_ready(self, process: "subprocess.Popen[bytes]", pipe: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                said = await pipe.read(len(_READY))
        except TimeoutError:
            raise NoSuccessor(f"it was not ready within {self._patience_s:g} s") from None
        if not said:
            # The pipe's other end was closed by its exit.
            status = await asyncio.to_thread(process.wait)
            raise NoSuccessor(f"it ended with status {status} before it was ready")


async def _end(process: "subprocess.Popen[bytes]", pipe: asyncio.StreamReader) -> None:
    """End a process that is not wanted any more. Its end of the pipe closes with it, whatever it does before."""
    for end in (process.terminate, process.kill):
        end()
        try:
            async with asyncio.timeout(END_S):
                await pipe.read()
            break
        except TimeoutError:
            continue
    await asyncio.to_thread(process.wait)
