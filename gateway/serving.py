"""The process around a gateway: its configuration and sockets, file descriptors, garbage collection, first words."""

import asyncio
import gc
import logging
import resource
import secrets
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gateway import app, systemd
from gateway.config import DEMO_KEY, Config, ConfigError, Mistake, demo
from gateway.handover import Predecessor, Succession, predecessor
from gateway.reloading import ConfigSource
from gateway.signals import Signals, serve_until_told
from gateway.simulator import ANTHROPIC_MODELS, OPENAI_MODELS, Simulator
from gateway.simulator import start as start_simulator
from gateway.tenancy.tenants import KEY_ENTROPY_BYTES, new_key

log = logging.getLogger("gateway")

LOCAL_KEY_FILE = Path("data/local.key")
"""Where the random key to real providers lives when there is no configuration file."""

DESCRIPTORS_BESIDE_POOLS = 64
"""Listeners, logs, databases and the like."""

GC_YOUNG_THRESHOLD = 10_000
"""Allocations between passes over the youngest objects: at 50,000 one pass takes 7-20 ms with 5,000 streams."""

GC_NEVER = 1_000_000
"""Full passes (220-390 ms with 5,000 streams) happen when nothing streams, and not by counting."""

GC_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where this process comes from: sockets that were open before it, and who waits for it to be ready."""

    environ: Mapping[str, str]
    sockets: Sequence[socket.socket]
    predecessor: Predecessor | None
    succession: Succession

    @classmethod
    def of_this_process(cls, environ: MutableMapping[str, str]) -> "Origin":
        """Read, and remove, what the environment says about it.

        Raises:
            ConfigError: sockets were passed that cannot be listened on.
        """
        before = predecessor(environ)
        sockets = before.sockets if before is not None else systemd.passed_sockets(environ)
        return cls(environ, sockets, before, Succession([sys.executable, *sys.orig_argv[1:]], environ))

    def say_ready(self) -> None:
        """Tell whoever waits for it."""
        if self.predecessor is not None:
            self.predecessor.say_ready()
        else:
            systemd.notify(self.environ, "READY=1")


async def serve(file: Path | None, host: str | None, port: int | None, environ: MutableMapping[str, str]) -> int:
    """Run a gateway until SIGINT or SIGTERM, or until another process has taken over after SIGUSR2.

    Raises:
        ConfigError: the configuration cannot be used, or the sockets that were passed.
        OSError: the address cannot be listened on.
    """
    # whoever reads the greeting may send a signal at once
    signals = Signals()
    _raise_descriptor_limit()
    origin = Origin.of_this_process(environ)
    path = _config_file(file, environ)
    if path is not None:
        source = ConfigSource(path, environ, _check_pools, _set_log_level)
        return await _run(source.read(), source, host, port, origin, signals)
    simulator = await start_simulator()
    try:
        source = ConfigSource(None, environ, _check_pools, _set_log_level)
        return await _run(_built_in(environ, simulator), source, host, port, origin, signals)
    finally:
        await simulator.close()


async def _run(
    config: Config, source: ConfigSource, host: str | None, port: int | None, origin: Origin, signals: Signals
) -> int:
    is_demo = source.path is None
    logging.basicConfig(
        level=config.server.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    local_only = frozenset({"demo"}) if is_demo else frozenset[str]()
    gateway = await app.start(
        config, host=host, port=port, local_only=local_only, source=source, sockets=origin.sockets
    )
    _greet(gateway, is_demo)
    origin.say_ready()
    _tune_gc()
    collecting = asyncio.create_task(_collect_when_idle(gateway))
    try:
        await serve_until_told(gateway, signals, origin.succession, partial(systemd.notify, origin.environ))
    finally:
        collecting.cancel()
    return 0


async def _collect_when_idle(gateway: app.Gateway) -> None:
    while True:
        await asyncio.sleep(GC_IDLE_S)
        if not len(gateway.live):
            gc.collect()


def _config_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if environ.get("AIGATEWAY_CONFIG"):
        return Path(environ["AIGATEWAY_CONFIG"])
    default = Path("gateway.yaml")
    return default if default.exists() else None


def _built_in(environ: Mapping[str, str], simulator: Simulator) -> Config:
    real = any(environ.get(name) for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"))
    config = demo(
        environ,
        simulator_base=simulator.base_url,
        openai_models=OPENAI_MODELS,
        anthropic_models=ANTHROPIC_MODELS,
        local_key=_local_key() if real else DEMO_KEY,
    )
    # No load balancer has to learn that a demo leaves, and whoever tries it out wants their terminal back.
    return replace(config, server=config.server.model_copy(update={"ready_grace_s": 0.0}))


def _local_key() -> str:
    """The random key that reaches real providers: made once, kept in a file that only its owner can read."""
    if LOCAL_KEY_FILE.exists() and (kept := LOCAL_KEY_FILE.read_text().strip()):
        return kept
    key = new_key(secrets.token_bytes(KEY_ENTROPY_BYTES))
    LOCAL_KEY_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    LOCAL_KEY_FILE.touch(mode=0o600)
    LOCAL_KEY_FILE.chmod(0o600)
    LOCAL_KEY_FILE.write_text(key + "\n")
    return key


def _raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_pools(config: Config) -> None:
    """Refuse pools that could never be filled.

    Raises:
        ConfigError: a pool that the file sets is larger than the open files that this process may have.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return
    # Each stream takes two descriptors: the client's and the provider's.
    most = (hard - DESCRIPTORS_BESIDE_POOLS) // 2
    mistakes = [
        Mistake(
            f"providers.{name}.pool.connections",
            f"is {provider.pool.connections}, but this process may open {hard} files, which is enough for "
            f"{most} streams: raise the limit (ulimit -Hn) or lower the setting",
        )
        for name, provider in config.providers.items()
        if provider.pool.connections > most and "connections" in provider.pool.model_fields_set
    ]
    if mistakes:
        raise ConfigError(config.source, mistakes)


def _set_log_level(config: Config) -> None:
    """Log as another configuration says."""
    logging.getLogger().setLevel(config.server.log_level.upper())


def _tune_gc() -> None:
    """What was built at start lives for ever: no pass looks at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_THRESHOLD, 20, GC_NEVER)


def _greet(gateway: app.Gateway, is_demo: bool) -> None:
    url = gateway.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 (what to type, not where to listen)
    lines = [f"aigateway listens on {gateway.url}, configured by {gateway.config.source}"]
    if is_demo:
        lines += [
            "",
            "Try it:",
            f"  curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {DEMO_KEY}' \\",
            "    -H 'Content-Type: application/json' \\",
            """    -d '{"model": "sim-chat", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'""",
        ]
        if gateway.config.providers.keys() & {"openai", "anthropic"}:
            lines += ["", f"Key to the real providers (kept in {LOCAL_KEY_FILE}): {_local_key()}"]
    lines += [
        "",
        f"OpenAI SDK:    base_url={url}/v1",
        f"Anthropic SDK: base_url={url}",
        f"Metrics:       {url}/metrics",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)
