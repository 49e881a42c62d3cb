"""What Alembic runs for each command: on the connection that it is given, in the transaction that this is in."""

from alembic import context

from gateway.stores.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_server_default=True,
    transactional_ddl=True,
)
context.run_migrations()
