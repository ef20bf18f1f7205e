"""The suite of catalogs accepts a table in memory and catches each way of breaking a promise."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from stream_infer.catalogs import Publication
from stream_infer.errors import Fatal
from stream_infer.testing import CheckedTable, check_catalog


@dataclass
class _Table:
    """What a table keeps: its publications by number, in one transaction each."""

    publications: dict[int, Publication] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    extra: list[str] = field(default_factory=list)

    def files(self) -> list[str]:
        return [file for publication in self.publications.values() for file in publication.files] + self.extra


class _MemoryCatalog:
    """Implements `catalogs.Catalog`."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def publish(self, publication: Publication) -> None:
        with self._table.lock:
            self._check(publication)
            self._table.publications.setdefault(publication.number, publication)

    def _check(self, publication: Publication) -> None:
        last = self.published()
        if publication.number > last + 1:
            raise Fatal(f"publication {publication.number} does not follow {last}")
        if publication.number > last > 0 and publication.epoch < self._table.publications[last].epoch:
            raise Fatal("a newer instance publishes")

    def published(self) -> int:
        return max(self._table.publications, default=0)


class _Repeating(_MemoryCatalog):
    """Appends the files of a number that is published already."""

    def publish(self, publication: Publication) -> None:
        if publication.number <= self.published():
            self._table.extra += publication.files
        super().publish(publication)


class _Skipping(_MemoryCatalog):
    """Takes any number."""

    def _check(self, publication: Publication) -> None:
        return


class _Unfenced(_MemoryCatalog):
    """Takes any epoch."""

    def _check(self, publication: Publication) -> None:
        if publication.number > self.published() + 1:
            raise Fatal("a gap")


class _Forgetful(_MemoryCatalog):
    """Counts in the process, not in the table."""

    def __init__(self, table: _Table) -> None:
        super().__init__(table)
        self._count = 0

    def publish(self, publication: Publication) -> None:
        super().publish(publication)
        self._count = publication.number

    def published(self) -> int:
        return self._count


class _Partial(_MemoryCatalog):
    """Shows a publication's first file alone."""

    def publish(self, publication: Publication) -> None:
        super().publish(Publication(publication.number, publication.epoch, publication.files[:1]))


def _check(catalog: type[_MemoryCatalog]) -> None:
    def make() -> CheckedTable:
        table = _Table()
        return CheckedTable(open=lambda: catalog(table), files=table.files)

    check_catalog(make)


def test_a_table_in_memory_passes_the_suite_of_catalogs() -> None:
    _check(_MemoryCatalog)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_Repeating, "in the table twice"),
        (_Skipping, "leaves a gap"),
        (_Unfenced, "older epoch"),
        (_Forgetful, "published"),
        (_Partial, "does not show just its files"),
    ],
)
def test_a_broken_catalog_is_caught(broken: type[_MemoryCatalog], sentence: str) -> None:
    with pytest.raises((AssertionError, Fatal), match=sentence if broken is not _Forgetful else ""):
        _check(broken)
