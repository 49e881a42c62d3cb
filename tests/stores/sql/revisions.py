"""Work for a database that wants to be tested: rows of its smallest table."""

from sqlalchemy import Connection, insert, select

from gateway.stores.sql.schema import revisions


class Put:
    """Work that writes a row, and fails after it if told so."""

    def __init__(self, subject: str, number: int = 1, then: Exception | None = None) -> None:
        self.row = {"subject": subject, "number": number}
        self.then = then

    def __call__(self, connection: Connection) -> None:
        connection.execute(insert(revisions), self.row)
        if self.then is not None:
            raise self.then


def subjects(connection: Connection) -> list[str]:
    return list(connection.scalars(select(revisions.c.subject).order_by(revisions.c.subject)))
