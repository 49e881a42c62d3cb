"""Server-sent events (WHATWG HTML, "Server-sent events" §9.2): where events end, and what one says."""

import re
from dataclasses import dataclass

# Two line ends in a row, of any of the three kinds. `?+` is possessive: a CR LF must not count as two ends.
_BLANK_LINE = re.compile(rb"(?:\r\n?+|\n){2}")

_BOM = b"\xef\xbb\xbf"


def event_end(buffer: bytes | bytearray, start: int) -> int:
    """Index behind the blank line that ends the event in `buffer`, looked for from `start`; -1 if it has not come.

    A blank line may begin up to three bytes before bytes seen earlier (CR LF CR LF), so a caller that resumes a
    search steps back by three.
    """
    end = buffer.find(b"\n\n", start)
    if buffer.find(b"\r", start, end if end >= 0 else len(buffer)) < 0:
        return end + 2 if end >= 0 else -1
    match = _BLANK_LINE.search(buffer, start)
    return match.end() if match else -1


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name (empty: none given) and its data (`None`: no data field, a comment, say)."""

    name: bytes
    data: bytes | None


def parse_event(raw: bytes) -> ServerEvent:
    """Read the lines of one event, its closing blank line included or not."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return ServerEvent(b"", raw[6:-2])
    name = b""
    data: list[bytes] = []
    for line in raw.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return ServerEvent(name, b"\n".join(data) if data else None)


def format_event(data: bytes, name: bytes = b"") -> bytes:
    """Write one event. `data` must be a single line: JSON without line breaks."""
    head = b"event: " + name + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """A comment line and a blank line: clients ignore it, proxies in between see traffic."""
    return b": " + text + b"\n\n"
