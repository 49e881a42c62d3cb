"""Records against truth: the ledger's rows, the access log's lines and the clients' bytes, request by request."""

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import Any

from gateway.stores.sql.address import SqliteAddress
from tests.behaviour.stage import CHAT, COUNT_TOKENS, Stage
from tests.behaviour.truth import Told
from tests.upstream_script import body_of

ASKS_FOR_ITSELF = "two"
"""The provider whose usage the gateway does not ask for, and so does not hide either."""


def rows_of(stage: Stage, query: str) -> list[dict[str, Any]]:
    """What stands in the database, read as anybody could."""
    address = stage.gateway.state.database.address
    assert isinstance(address, SqliteAddress)
    with closing(sqlite3.connect(address.path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def ledger_mismatches(stage: Stage, told: list[Told]) -> list[str]:
    """The ledger against each request, one by one: a row for whatever reached a provider and could cost something."""
    rows: dict[str, Any] = {row["request_id"]: row for row in rows_of(stage, "SELECT * FROM exchanges")}
    tried: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows_of(stage, "SELECT * FROM attempts ORDER BY exchange_id, number"):
        tried[row["exchange_id"]].append((row["provider"], row["outcome"]))
    wrong = []
    for one in told:
        row = rows.pop(one.id, None)
        paid = bool(one.attempts) and one.fate.path != COUNT_TOKENS
        if row is None or not paid:
            wrong += [f"{one.id}: {one.fate.name}: a row is {'missing' if paid else 'too much'}"] * (
                paid or row is not None
            )
            continue
        tokens, source = one.usage
        true = (one.tenant, one.outcome, tokens.all_input, tokens.output, source, one.cost_nanousd, one.attempts)
        said = (
            row["tenant_id"],
            row["outcome"],
            row["input_tokens"] + row["cached_input_tokens"] + row["cache_write_tokens"],
            row["output_tokens"],
            row["source"],
            row["cost_nanousd"],
            tried[row["exchange_id"]],
        )
        wrong += [f"{one.id}: {one.fate.name}: the row says {said}, true is {true}"] if true != said else []
    return wrong + [f"{request_id}: nobody asked for it" for request_id in rows]


def log_mismatches(log: str, told: list[Told]) -> list[str]:
    """The access log likewise: a line for each, with its events."""
    lines = {line["id"]: line for line in map(json.loads, log.splitlines())}
    wrong = []
    for one in told:
        line = lines.pop(one.id, {})
        tokens, _ = one.usage
        true: tuple[object, ...] = (one.outcome, len(one.attempts), one.fate.stream and one.was_admitted)
        said: tuple[object, ...] = (line.get("outcome"), line.get("attempts"), line.get("stream"))
        if one.attempts:
            true += (one.provider, tokens.all_input, tokens.output, one.cost_nanousd)
            said += tuple(line.get(name) for name in ("provider", "input_tokens", "output_tokens", "cost_nanousd"))
        if one.has_stream:
            true, said = (*true, len(one.words)), (*said, line.get("events"))
        wrong += [f"{one.id}: {one.fate.name}: the log says {said}, true is {true}"] if true != said else []
    return wrong + [f"{request_id}: nobody asked for it" for request_id in lines]


def byte_mismatches(told: list[Told]) -> list[str]:
    """What clients heard against what the upstream sent: byte for byte, less the usage that was not asked for."""
    wrong = []
    for one in told:
        play = one.served
        if play is None or one.heard is None or one.outcome != "success":
            continue
        sent = body_of(play.script)
        if (
            one.fate.path == CHAT
            and one.fate.stream
            and one.provider != "two"
            and "stream_options" not in one.fate.fields
        ):
            sent = b"".join(part + b"\n\n" for part in sent.split(b"\n\n")[:-1] if b'"choices":[],' not in part)
        if sent != one.body:
            wrong.append(f"{one.id}: {one.fate.name}: {len(one.body)} bytes heard of {len(sent)}")
    return wrong
