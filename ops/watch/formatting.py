"""Numbers, times and names as a person reads them: the same on the page, in the terminal and in the doctor's sentences."""

from __future__ import annotations

import math
import time
from urllib.parse import urlsplit, urlunsplit

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float | None) -> str:
    """``1,234`` · ``1.23 M`` · ``—``."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    for limit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{value / limit:.2f} {name}"
    if 0 < abs(value) < 10 and value != int(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """``120 ms`` · ``4.2 s`` · ``3 min`` · ``2 h 5 min`` · ``4 d``."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "never"
    if value < 0.0005:
        return "0 s"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 99.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    minutes = value / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours, rest = divmod(round(minutes), 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours / 24:.0f} d"


def ago(value: float) -> str:
    """``12 s ago``, or ``just now`` within the last second."""
    return "just now" if value < 1 else f"{seconds(value)} ago"


def size(value: float | None) -> str:
    """``1.5 MiB``."""
    if value is None:
        return "—"
    amount = float(value)
    for name in _SIZES:
        if abs(amount) < 1024 or name == _SIZES[-1]:
            return f"{amount:.0f} {name}" if name == "B" or amount >= 100 else f"{amount:.1f} {name}"
        amount /= 1024
    raise AssertionError("unreachable")


def percent(share: float | None) -> str:
    """``98 %``; a share above 0 is never shown as 0."""
    if share is None:
        return "—"
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{min(share, 9.99) * 100:.0f} %"


def clock(at: float | None, now: float | None = None) -> str:
    """``12:03``, with the date where it was another day; in the server's time zone."""
    if not at:
        return "—"
    moment = time.localtime(at)
    same_day = moment[:3] == time.localtime(now if now is not None else time.time())[:3]
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", moment)


def count(amount: float, thing: str) -> str:
    """``1 split``, ``2 splits``."""
    return f"{number(amount)} {thing}" + ("" if amount == 1 else "s")


def clipped(text: str, limit: int = 200) -> str:
    """One line, cut in the middle if it is long: its beginning and its end are kept."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    tail = limit // 3
    return f"{line[: limit - tail - 1]}…{line[-tail:]}"


def coordinate(record_id: str, limit: int) -> str:
    """A short form of a record id, which still differs from its neighbours' and which `where` accepts."""
    if record_id.startswith("kafka://"):
        return clipped(record_id.split("/", 3)[3], limit)
    name, _, rest = record_id.partition("?version=")
    row = rest.partition("#")[2]
    name += f"#{row}" if row not in ("", "0") else ""
    return name if len(name) <= limit else f"…{name[1 - limit :]}"


def without_credentials(url: str) -> str:
    """A URL without credentials, query and fragment, so that it may be shown."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
