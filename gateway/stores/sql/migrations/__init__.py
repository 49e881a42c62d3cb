"""The steps of the schema, oldest first, applied by :mod:`gateway.stores.sql.migrate`.

A new step is a file beside the others in ``versions``: the next number, ``down_revision`` the one before, and what
the tables in ``schema.py`` have gained; the tests compare the two. There is no way back: that is what backups are for.
"""
