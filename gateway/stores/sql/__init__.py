"""SQLite and PostgreSQL behind one schema: the ledger of what was spent, tenants and keys, the audit.

Money is integer nano-dollars. Times are integer microseconds since the Unix epoch; their columns end in ``_at_us``.
"""
