"""Where state lives beyond one request: in this process, in SQLite or PostgreSQL, in Redis."""
