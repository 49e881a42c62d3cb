"""What the traffic came to so far, in one line."""

from collections import Counter

from gateway.traffic.endings import Ending


class Tally:
    """Counts requests by their endings.

    Attributes:
        asked: requests that were sent.
        skipped: requests that were not sent, because too many were running.
        endings: how many ended in which way, since the start.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.skipped = 0
        self.endings: Counter[Ending] = Counter()
        self._told: Counter[Ending] = Counter()
        self._words: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many are still being answered."""
        return self.asked - self.endings.total()

    def ended(self, ending: Ending, word: str = "") -> None:
        """Count one, with the gateway's word for what was wrong."""
        self.endings[ending] += 1
        if word:
            self._words[word] += 1

    def line(self, at_s: float, scene: str) -> str:
        """Return what happened since the line before, at a moment in seconds since the start."""
        now, self._told = self.endings - self._told, self.endings.copy()
        words, self._words = self._words, Counter()
        parts = [f"{now[ending]} {ending}" for ending in Ending if now[ending] or ending is Ending.WHOLE]
        text = f"{int(at_s) // 60}:{int(at_s) % 60:02} {scene}: {', '.join(parts)}, {self.running} running"
        if words:
            text += " (" + ", ".join(f"{count} {word}" for word, count in words.most_common()) + ")"
        return text

    def total(self) -> str:
        """Return the sum of everything."""
        parts = [f"{self.endings[ending]} {ending}" for ending in Ending if self.endings[ending]]
        if self.skipped:
            parts.append(f"{self.skipped} not sent, because too many were running")
        return f"{self.asked} requests: {', '.join(parts) or 'nothing came back'}"
