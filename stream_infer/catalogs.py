"""The seam of catalogs: a catalog makes committed files visible in a table, such as one of Delta or Iceberg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Publication:
    """Committed files that become visible in a table together.

    Attributes:
        number: 1 for the first of a pipeline, then one more each time.
        epoch: fencing number of the instance that publishes.
        files: files relative to the sink's root.
    """

    number: int
    epoch: int
    files: tuple[str, ...]


class Catalog(Protocol):
    """Driver side, optional. The table itself keeps the number and the epoch of its last publication."""

    def publish(self, publication: Publication) -> None:
        """Make all files of the publication visible at once. Does nothing where its number is published already.

        Raises:
            Fatal: the number leaves a gap, or the table has a publication of a newer epoch.
            Retryable: the outcome is unknown; call again with the same publication.
        """
        ...

    def published(self) -> int:
        """Number of the last publication that the table has; 0 for none."""
        ...
