"""Which processes live: each raises a number again and again, and who watches sees that it grows.

No clock is compared with another machine's, and a database that was away for a while makes nobody dead: who watches
starts anew after a gap of its own.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, delete, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from gateway.core.clock import Clock, WallClock
from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import OPEN, exchanges, instances

BEAT_S: Final = 5.0
"""How often a process says that it lives, and looks who else does."""

DEAD_AFTER_S: Final = 30.0
"""A process that has not said so for so long is gone, or will find its exchanges settled when it returns."""

MAX_GAP_S: Final = 15.0
"""Between two looks; after a longer one nothing is known of what happened meanwhile."""


class Watch:
    """Tells who has shown no sign of life for :data:`DEAD_AFTER_S` of steady looking."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._looked_at_s: float | None = None

    def look(self, now_s: float, beats: Mapping[str, int | None]) -> list[str]:
        """Take in what the database has now, and return who is dead.

        Args:
            now_s: reading of a monotonic clock, in seconds.
            beats: of each process; None where only its open rows are known.
        """
        if self._looked_at_s is None or now_s - self._looked_at_s > MAX_GAP_S:
            self._seen.clear()
        self._looked_at_s = now_s
        before = self._seen
        self._seen = {
            name: before[name] if name in before and before[name][0] == count else (count, now_s)
            for name, count in beats.items()
        }
        return [name for name, (_, since_s) in self._seen.items() if now_s - since_s >= DEAD_AFTER_S]


class InstanceTaken(Exception):
    """Another process has the same instance id."""


class Instances:
    """This process among the others.

    Args:
        instance_id: new at each start: a process that came back under its old name would keep the dead one's rows open.
        clock: for the watch.
        wall_clock: for the times that people read.
    """

    def __init__(self, database: Database, instance_id: str, clock: Clock, wall_clock: WallClock) -> None:
        self._database = database
        self._id = instance_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._watch = Watch()
        self._has_left = False

    async def join(self) -> None:
        """Say that this process is there; before its first opening.

        Raises:
            InstanceTaken: the id is in use.
            DatabaseDown: nothing can be said now.
        """
        try:
            await self._database.write(self._enter)
        except IntegrityError:
            raise InstanceTaken(
                f"The instance id {self._id} is in use by a process that runs or has just died: make one at each start."
            ) from None

    async def beat(self) -> list[str]:
        """Say that this process lives, and return who does not, by :class:`Watch`.

        Raises:
            DatabaseDown: nothing was said or seen.
        """
        beats = await self._database.write(self._beat)
        return self._watch.look(self._clock(), beats)

    async def leave(self) -> None:
        """Say that this process is gone, for good. Rows that it left open are orphans from now on."""
        # Who gives up a beat does not stop SQLite's thread, which may come to it only after this.
        self._has_left = True
        await self._database.write(
            lambda connection: connection.execute(delete(instances).where(instances.c.instance_id == self._id))
        )

    def _enter(self, connection: Connection) -> None:
        now_us = int(self._wall_clock() * 1_000_000)
        row = {"instance_id": self._id, "started_at_us": now_us, "heartbeat_at_us": now_us, "beats": 0}
        connection.execute(insert(instances), row)

    def _beat(self, connection: Connection) -> dict[str, int | None]:
        now_us = int(self._wall_clock() * 1_000_000)
        mine = update(instances).where(instances.c.instance_id == self._id)
        beaten = connection.execute(mine.values(heartbeat_at_us=now_us, beats=instances.c.beats + 1)).rowcount
        if not beaten and not self._has_left:
            # Given up for dead in a long pause.
            self._enter(connection)
        known = select(instances.c.instance_id, instances.c.beats)
        unknown = (
            select(exchanges.c.instance_id, null())
            .where(exchanges.c.state == OPEN, exchanges.c.instance_id.not_in(select(instances.c.instance_id)))
            .distinct()
        )
        found = [*connection.execute(known), *connection.execute(unknown)]
        return {name: count for name, count in found if name != self._id}
