"""The tables, for SQLite and PostgreSQL alike; ``migrations`` brings a database to what stands here."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    literal_column,
)

HEAD = "r0001"
"""The revision that these tables have."""

OPEN = literal_column("'open'", Text)
SETTLED = literal_column("'settled'", Text)
"""The values of ``exchanges.state``. Literals: to a bound parameter neither database applies a partial index."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_Number = BigInteger().with_variant(Integer, "sqlite")
"""A key that counts up by itself; SQLite does that for INTEGER only (https://sqlite.org/autoinc.html)."""

exchanges = Table(
    "exchanges",
    metadata,
    Column("exchange_id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("model_asked", Text, nullable=False),
    Column("model_served", Text),
    Column("provider", Text),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cached_input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_1h_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reasoning_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_nanousd", BigInteger, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, server_default="none"),
    Column("outcome", Text),
    Column("status", BigInteger, nullable=False, server_default="0"),
    Column("opened_at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger),
    Column("ttft_ms", Double),
    Column("tags", JSON, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    Column("instance_id", Text, nullable=False),
    Column("input_estimate_tokens", BigInteger, nullable=False),
    Column("output_so_far_tokens", BigInteger, nullable=False, server_default="0"),
    Column("hold_nanousd", BigInteger, nullable=False),
    Column("price", Text),
)
"""One row per exchange: what the tenant is charged. See :mod:`gateway.core.ledger` for what the columns mean."""

# With the key and the cost a budget is summed from the index alone: a third of the time, and no dearer to write.
Index(
    "ix_exchanges_spent",
    exchanges.c.tenant_id,
    exchanges.c.opened_at_us,
    exchanges.c.key_id,
    exchanges.c.cost_nanousd,
)
Index("ix_exchanges_opened", exchanges.c.opened_at_us)
Index(
    "ix_exchanges_open",
    exchanges.c.instance_id,
    sqlite_where=exchanges.c.state == OPEN,
    postgresql_where=exchanges.c.state == OPEN,
)

attempts = Table(
    "attempts",
    metadata,
    Column("exchange_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""One row per dispatched attempt: what the operator pays a provider. Short rows, so the key alone is its tree."""

archived_spend = Table(
    "archived_spend",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("exchanges", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
)
"""What rows cost that retention has deleted: a budget without a period still counts them."""

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
)
"""Tenants made through the admin API; ``settings`` is what ``gateway.yaml`` would say of one, without its keys.

``revision`` is the number of ``revisions`` at its last change, so that who polls reads what changed and no more. The
row of a deleted one stays for that.
"""
Index("ix_tenants_revision", tenants.c.revision)

keys = Table(
    "keys",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("label", Text),
    Column("settings", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
)
"""Keys made through the admin API; ``settings`` are their limits and budget.

The row of a revoked one stays: its id is in the ledger, and is not given again.
"""
Index("ix_keys_revision", keys.c.revision)

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("ends_at_us", BigInteger),
)
"""What opens: ``digest`` is the SHA-256 of a whole secret in hex, and the secret itself is nowhere.

A key that was rotated has several; those that were replaced end. A revoked key has none.
"""
Index("ix_key_secrets_of_key", key_secrets.c.tenant_id, key_secrets.c.key_id)
Index("ix_key_secrets_ends", key_secrets.c.ends_at_us)

audit = Table(
    "audit",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""Every write through the admin API: who did what to what. Numbers are never given twice."""
Index("ix_audit_at", audit.c.at_us)

revisions = Table(
    "revisions",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""Counts the changes of a kind of thing (``keys``), raised in the transaction of each change.

Its row's lock puts the transactions in line, so who polls the number misses none; a highest ``audit.number`` would
not do, since PostgreSQL gives numbers before it commits.
"""

instances = Table(
    "instances",
    metadata,
    Column("instance_id", Text, primary_key=True),
    Column("started_at_us", BigInteger, nullable=False),
    Column("heartbeat_at_us", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False),
)
"""Running processes. That one lives is seen from ``beats``, which grow, never from the clocks of two machines."""

budget_marks = Table(
    "budget_marks",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("period_start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("threshold_ppm", Integer, primary_key=True, autoincrement=False),
    Column("told_at_us", BigInteger, nullable=False),
)
"""Soft thresholds of budgets that have been told, so that each is told once; in millionths of the budget."""
