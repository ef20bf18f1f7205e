"""Write the generated pages of docs/ again: ``python -m docs.build``, or ``make docs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs import api_page, cli_page, picture, settings_page
from stream_infer.telemetry import reference

FOLDER: Final = Path(__file__).parent
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "api.md": api_page.markdown,
    "cli.md": cli_page.markdown,
    "images/architecture.svg": picture.svg,
    "metrics.md": reference.markdown,
    "settings.md": settings_page.markdown,
}


def main() -> None:
    """Write every page that is not up to date, and print its name."""
    for name, page in PAGES.items():
        file, text = FOLDER / name, page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
