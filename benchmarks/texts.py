"""Real text of any amount: the paragraphs of the installed packages' sources and docstrings."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from stream_infer.ops.demo.texts import docstrings

_KEPT = 100_000


def texts(count: int) -> Iterator[bytes]:
    """So many paragraphs of at most 2,000 bytes of UTF-8, in a fixed shuffled order; repeated if there are fewer."""
    paragraphs: list[bytes] = []
    for folder in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_paths()[folder]).glob("*/*.py")):
            for paragraph in path.read_text(encoding="utf-8", errors="ignore").split("\n\n"):
                if len(paragraph.strip()) > 20:
                    paragraphs.append(paragraph.strip().encode()[:2000].decode("utf-8", "ignore").encode())
        if len(paragraphs) >= _KEPT:
            break
    random.Random(0).shuffle(paragraphs)
    return islice(cycle(paragraphs[:_KEPT]), count)


def documents(count: int) -> list[str]:
    """So many different docstrings, as long as they naturally are (at least 40 characters), in a fixed shuffled order."""
    docs = list(dict.fromkeys(text for _name, text in islice(docstrings(), 20 * count) if len(text) >= 40))
    random.Random(0).shuffle(docs)
    return docs[:count]
