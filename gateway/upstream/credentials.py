"""The keys of one provider."""

from collections.abc import Sequence


class KeyPool:
    """Hands out keys in turn.

    ``index`` numbers them from 0 in the configuration's order: logs and pins name a key by it, never by its text.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._next = 0

    def pick(self, pinned: int | None = None) -> tuple[int, str | None]:
        """The next key and its index, or the pinned one; (0, None) where the provider asks for no credential."""
        if not self._keys:
            return 0, None
        if pinned is not None and pinned < len(self._keys):
            return pinned, self._keys[pinned]
        index = self._next
        self._next = (index + 1) % len(self._keys)
        return index, self._keys[index]

    def scrub(self, data: bytes) -> bytes:
        """Take every key of the pool out of what a provider said."""
        for key in self._keys:
            data = data.replace(key.encode(), b"[key]")
        return data
