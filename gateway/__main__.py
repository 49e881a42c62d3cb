"""The command line: serve, check, simulate, traffic, keygen."""

import argparse
import asyncio
import json
import math
import os
import secrets
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.config import ConfigError, json_schema, load
from gateway.serving import serve
from gateway.simulator import SimulatorSettings, run_simulator
from gateway.state import StoresUnusable
from gateway.tenancy.tenants import KEY_ENTROPY_BYTES, hash_key, new_key
from gateway.traffic import DEMO, Address, TrafficSettings, alone, run_traffic

WRONG_CONFIG = 2
"""Exit status where the configuration, not the machine, is at fault."""


def _port(text: str) -> int:
    """A TCP port, 0 for any free one. The event loop would take 65,536 for 0 and so on."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    try:
        return SimulatorSettings(speed=float(text)).speed
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: write a number above 0, 2 is twice as fast") from None


def _above_0(text: str) -> float:
    with suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def _address(text: str) -> Address:
    try:
        return Address.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write http://HOST:PORT, without a path")
    return text.rstrip("/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aigateway", description="A streaming-first AI gateway.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("serve", help="run the gateway")
    command.add_argument(
        "--config", type=Path, help="default: $AIGATEWAY_CONFIG, then ./gateway.yaml, then the built-in demo"
    )
    command.add_argument("--host", help="instead of server.host")
    command.add_argument("--port", type=_port, help="instead of server.port")

    command = commands.add_parser("check", help="validate a configuration without starting")
    command.add_argument("file", type=Path, nargs="?")
    command.add_argument("--schema", action="store_true", help="print the JSON Schema of gateway.yaml")

    command = commands.add_parser("simulate", help="run the embedded provider alone")
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--port", type=_port, default=8081)
    command.add_argument("--speed", type=_speed, default=1.0, help="divides every delay")
    command.add_argument("--seed", type=int, default=0, help="everything random follows from it")

    command = commands.add_parser("traffic", help="ask a gateway for things, as several tenants would")
    command.add_argument("--url", type=_url, help="the gateway's address; left out: nobody asks, see --play")
    command.add_argument("--key", help="ask with this key for the simulator's models; default: the demo's tenants")
    command.add_argument("--rate", type=_above_0, default=6.0, help="requests per second of an ordinary minute")
    command.add_argument("--for", type=_above_0, dest="for_s", metavar="S", help="seconds; default: until stopped")
    command.add_argument(
        "--play",
        type=_address,
        nargs="+",
        default=[],
        metavar="[HOST:]PORT",
        help="be the simulated providers too; the last one fails and recovers",
    )

    commands.add_parser("keygen", help="make a tenant key and its hash")
    return parser


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run on uvloop; on asyncio, with a warning, where it is missing."""
    try:
        import uvloop
    except ImportError:
        print(
            "warning: uvloop is not installed; each TLS connection to a provider then takes about 300 KB "
            "instead of 56 KB",
            file=sys.stderr,
        )
        return asyncio.run(work) or 0
    return uvloop.run(work) or 0


def _check(file: Path | None, schema: bool) -> int:
    if schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    if file is None:
        print("aigateway check: name a file, or give --schema", file=sys.stderr)
        return WRONG_CONFIG
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIG
    counted = f"{len(config.providers)} providers, {len(config.models.names())} models, {len(config.tenants)} tenants"
    print(f"{file} is valid: {counted}.")
    return 0


def _keygen() -> int:
    key = new_key(secrets.token_bytes(KEY_ENTROPY_BYTES))
    print(f"key:  {key}\nhash: {hash_key(key)}")
    print(
        "Give the key to the tenant, put the hash into gateway.yaml; the key is shown only now.",
        file=sys.stderr,
    )
    return 0


def _traffic(options: argparse.Namespace) -> int:
    if options.url is None and not options.play:
        print("aigateway traffic: give --url, a gateway's address, or --play, ports for providers", file=sys.stderr)
        return WRONG_CONFIG
    cast = DEMO if options.key is None else alone(options.key)
    return run(run_traffic(TrafficSettings(options.url, cast, options.rate, options.for_s, options.play), _say))


def _say(line: str) -> None:
    """Print a line that is read while the program runs, through a pipe too."""
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "serve":
                return run(serve(options.config, options.host, options.port, os.environ))
            case "check":
                return _check(options.file, options.schema)
            case "simulate":
                settings = SimulatorSettings(speed=options.speed, seed=options.seed)
                return run(run_simulator(options.host, options.port, settings))
            case "traffic":
                return _traffic(options)
            case _:
                return _keygen()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIG
    except (OSError, StoresUnusable) as error:
        print(f"aigateway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
