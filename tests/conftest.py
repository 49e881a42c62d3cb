"""What every test may ask for: scripted upstreams, a gateway in front of them, and a watch for leaks.

Async tests run on uvloop, as production does; marked
``@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])`` they run on both loops.
"""

import asyncio
import gc
import importlib
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import trustme
import uvloop
from hypothesis import settings
from pytest_asyncio import is_async_test

from tests.closing import CLOSE_PATIENCE_S, Alarm, OpenSockets, close_in_time, drop, open_sockets
from tests.late_loop import late_loop
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream

if TYPE_CHECKING:
    from gateway.app import Gateway

LEAK_PATIENCE_S = 5.0
"""How long tasks and sockets that are already closing may take; nothing waits so long in a clean test."""
TEST_PATIENCE_S = 180.0
"""An async test that takes so long waits for what never comes: it is broken off, its tasks printed."""
SOAK_PATIENCE_S = 600.0
"""The same at full size, where outages last half a minute and limits have minutes."""
GRACE_S = 0.05
"""What a gateway gives the exchanges that a test leaves running."""

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}

IN_CI = bool(os.environ.get("CI"))

# How long an example takes says more about the machine than about the code. In CI each run tries the same examples.
settings.register_profile("gateway", deadline=None, derandomize=IN_CI, print_blob=True)
settings.load_profile("gateway")


class NoSkips:
    """Makes a session fail in which anything was skipped: what CI does not run, nobody runs."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report, expected_failure=hasattr(report, "wasxfail"))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport, *, expected_failure: bool = False) -> None:
        if report.skipped and not expected_failure:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self._skipped.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.section("skipped, which CI does not allow", red=True)
            for line in self._skipped:
                terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak`: tests that have a full size run at it; `--late`: what leans on who is quicker is found."""
    parser.addoption("--soak", action="store_true", help="run at full size what has one (make soak)")
    parser.addoption("--late", type=int, metavar="SEED", help="on a loop that learns late of its sockets, by this seed")


def pytest_configure(config: pytest.Config) -> None:
    """In CI (its environment variable is set) nothing may be skipped."""
    if IN_CI:
        config.pluginmanager.register(NoSkips())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays until the end: looked at in every pass, it would be a quarter of a short test's time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, unless a test asks for more (the hook of pytest-asyncio that replaces loop policies).

    Late loops go by the names of those that they stand for, so that nothing is skipped: a test on two loops runs twice.
    """
    marker = item.get_closest_marker("asyncio")
    names = ("uvloop", "asyncio") if marker is not None and "loop_factories" in marker.kwargs else ("uvloop",)
    seed: int | None = config.getoption("--late")
    if seed is not None:
        return {name: partial(late_loop, f"{seed} {name}") for name in names}
    return {name: LOOPS[name] for name in names}


@pytest.fixture(autouse=True)
def leaks(request: pytest.FixtureRequest) -> None:
    """Fails an async test that leaves tasks or sockets behind, after all its other fixtures are gone."""
    if is_async_test(request.node):
        request.getfixturevalue("_watch_for_leaks")


@pytest.fixture
async def _watch_for_leaks(soaking: bool) -> AsyncIterator[None]:
    tasks_before, sockets_before = asyncio.all_tasks(), open_sockets()
    loop = asyncio.get_running_loop()
    alarm = Alarm(tasks_before, SOAK_PATIENCE_S if soaking else TEST_PATIENCE_S, CLOSE_PATIENCE_S)
    yield
    alarm.cancel()
    deadline_s = loop.time() + LEAK_PATIENCE_S
    # closing ends in callbacks of the loop; for a descriptor that goes away there is nothing to wait on
    while any(left := _leaked(tasks_before, sockets_before)) and loop.time() < deadline_s:
        await read_boundary()
    tasks, sockets = left
    if tasks or sockets:
        names = sorted(f"task {task.get_name()} in {task.get_coro()}" for task in tasks) + sorted(sockets.values())
        await drop(tasks, sockets, LEAK_PATIENCE_S)
        pytest.fail("the test left behind: " + "; ".join(names), pytrace=False)


@pytest.fixture(scope="session")
def soaking(request: pytest.FixtureRequest) -> bool:
    """Whether tests run at their full sizes; each chooses them by it."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate, for ``tls.ca_file``."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    """A client context that trusts the authority."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A scripted upstream on plain TCP, listening."""
    scripted = ScriptedUpstream()
    await scripted.start()
    yield scripted
    await close_in_time("the scripted upstream", scripted.stop)


@pytest.fixture
async def tls_upstream(ca: trustme.CA) -> AsyncIterator[ScriptedUpstream]:
    """A scripted upstream on TLS for 127.0.0.1 and localhost, listening."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    scripted = ScriptedUpstream(context)
    await scripted.start()
    yield scripted
    await close_in_time("the scripted upstream on TLS", scripted.stop)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of SQLite that is migrated and has no rows: to copy it is quicker than to migrate another."""
    made: bytes = importlib.import_module("tests.databases").migrated(tmp_path_factory.mktemp("sqlite"))
    return made


@pytest.fixture(scope="session")
def postgres_of_session() -> Iterator[Any]:
    """The one PostgreSQL of this session, started on first use; ask for ``tests.databases.postgres_server``."""
    yield from importlib.import_module("tests.databases").serving()


@pytest.fixture(scope="session")
def redis_of_session() -> Iterator[Any]:
    """The one Redis of this session, likewise; ask for ``tests.redis_server.redis_server``."""
    yield from importlib.import_module("tests.redis_server").serving()


@pytest.fixture
def new_database(migrated_file: bytes, tmp_path: Path) -> Callable[[], str]:
    """Makes a database of the test's own, migrated and empty; returns its ``stores.database_url``."""
    numbers = itertools.count()

    def make() -> str:
        path = tmp_path / f"gateway-{next(numbers)}.db"
        path.write_bytes(migrated_file)
        return f"sqlite:///{path}"

    return make


def with_database(yaml_text: str, url: str) -> str:
    """The text of a ``gateway.yaml`` with a database, unless it has one; none shall be in the working directory.

    And with patience, unless it says how much: a machine that is busy with other tests is no database that is away.
    """
    if "stores:" not in yaml_text:
        yaml_text = f"{yaml_text}\nstores: {{database_url: '{url}'}}\n"
    return yaml_text if "ledger:" in yaml_text else f"{yaml_text}\nledger: {{open_wait_s: 50, end_wait_s: 50}}\n"


class MakeGateway(Protocol):
    """``await make_gateway(yaml_text, start={"spliced": False}, OPENAI_API_KEY="sk-…")``.

    Each gets a database of its own, unless the text names one. ``start`` holds further arguments of
    :func:`gateway.app.start`; the rest are environment variables by name.
    """

    def __call__(self, yaml_text: str, *, start: Mapping[str, Any] = ..., **env: str) -> Awaitable["Gateway"]: ...


@pytest.fixture
async def make_gateway(tmp_path: Path, new_database: Callable[[], str]) -> AsyncIterator[MakeGateway]:
    """Starts gateways from the text of a ``gateway.yaml`` on a free port of loopback; closes them after the test.

    They see only the environment that the test gives. The package is imported on first use, so that tests of
    other parts do not need all of it.
    """
    numbers = itertools.count()
    closing = AsyncExitStack()

    async def make(yaml_text: str, *, start: Mapping[str, Any] = MappingProxyType({}), **env: str) -> "Gateway":
        app, config = importlib.import_module("gateway.app"), importlib.import_module("gateway.config")
        path = tmp_path / f"gateway-{next(numbers)}.yaml"
        path.write_text(with_database(yaml_text, new_database()), encoding="utf-8")
        running: Gateway = await app.start(config.load(path, env), host="127.0.0.1", port=0, **start)
        closing.push_async_callback(close_in_time, f"the gateway {running.url}", partial(running.close, GRACE_S))
        return running

    async with closing:
        yield make


def _leaked(
    tasks_before: set[asyncio.Task[Any]], sockets_before: OpenSockets
) -> tuple[set[asyncio.Task[Any]], OpenSockets]:
    this = asyncio.current_task()
    assert this is not None
    sockets = open_sockets()
    return asyncio.all_tasks() - tasks_before - {this}, {k: sockets[k] for k in sockets.keys() - sockets_before.keys()}
