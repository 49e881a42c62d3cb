"""A slow, literal reading of the WHATWG algorithm for server-sent events (HTML, §9.2.6), to compare with.

Written line by line from the standard, so that what it says is the standard and not our code.
"""


def lines_of(stream: bytes) -> list[bytes]:
    """The complete lines of a stream: each ends with CR LF, LF or CR; what follows the last end is no line."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines, line, at = [], bytearray(), 0
    while at < len(stream):
        byte = stream[at : at + 1]
        if byte in (b"\r", b"\n"):
            at += 2 if stream[at : at + 2] == b"\r\n" else 1
            lines.append(bytes(line))
            line.clear()
        else:
            at += 1
            line += byte
    return lines


def dispatched(stream: bytes) -> list[tuple[bytes, bytes]]:
    """What a client dispatches for a stream: (event type, data) of every event with a data field."""
    events = []
    data, name = b"", b""
    for line in lines_of(stream):
        if not line:
            if data:
                events.append((name, data.removesuffix(b"\n")))
            data, name = b"", b""
            continue
        if line.startswith(b":"):
            continue
        field, colon, value = line.partition(b":")
        if colon:
            value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return events
