"""The suite of catalogs: a publication is visible as a whole, once, and never again from an older instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stream_infer.catalogs import Catalog, Publication
from stream_infer.errors import Fatal
from stream_infer.testing.checks import require

_PUBLISHERS = 8


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """A table and how the suite looks at it.

    Attributes:
        open: gives a catalog over the table, a new one each time, as each start of the service does.
        files: the files that a reader of the table sees, each as often as its rows would be read.
    """

    open: Callable[[], Catalog]
    files: Callable[[], Iterable[str]]


def check_catalog(make: Callable[[], CheckedTable]) -> None:
    """Hold a catalog against the promises of `catalogs.Catalog`.

    Args:
        make: creates an empty table.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    for check in (
        _publications_add_up,
        _publication_counts_once,
        _publishers_at_once_publish_once,
        _gap_is_refused,
        _older_instance_is_fenced,
    ):
        check(make())


def _publication(number: int, epoch: int = 1) -> Publication:
    files = tuple(f"date=2026-01-01/{number}-{letter}.parquet" for letter in "ab")
    return Publication(number, epoch, files)


def _files_of(publications: Collection[Publication]) -> list[str]:
    return sorted(file for publication in publications for file in publication.files)


def _publications_add_up(table: CheckedTable) -> None:
    require(table.open().published() == 0, "published() of an empty table is not 0")
    first, second = _publication(1), _publication(2)
    table.open().publish(first)
    require(sorted(table.files()) == _files_of([first]), "a publication does not show just its files")
    require(table.open().published() == 1, "published() does not give the number of the last publication")
    table.open().publish(second)
    require(sorted(table.files()) == _files_of([first, second]), "a second publication does not add its files")
    require(table.open().published() == 2, "a new catalog of the table does not know the last publication")


def _publication_counts_once(table: CheckedTable) -> None:
    catalog = table.open()
    for number in (1, 2, 2, 1):
        catalog.publish(_publication(number))
    table.open().publish(_publication(2))
    twice = [file for file, count in Counter(table.files()).items() if count > 1]
    require(twice == [], f"publish() is not idempotent by number: {twice[:1]} is in the table twice")
    require(catalog.published() == 2, "publish() of a number from before changed what published() gives")


def _publishers_at_once_publish_once(table: CheckedTable) -> None:
    catalogs = [table.open() for _ in range(_PUBLISHERS)]
    with ThreadPoolExecutor(_PUBLISHERS) as pool:
        list(pool.map(lambda catalog: catalog.publish(_publication(1)), catalogs))
    require(
        sorted(table.files()) == _files_of([_publication(1)]), "publishers of one number at once left its files twice"
    )


def _gap_is_refused(table: CheckedTable) -> None:
    catalog = table.open()
    catalog.publish(_publication(1))
    _refused(catalog, _publication(3), "publish() takes a number that leaves a gap: the files between would be missing")
    require(sorted(table.files()) == _files_of([_publication(1)]), "a refused publication shows files")


def _older_instance_is_fenced(table: CheckedTable) -> None:
    older, newer = table.open(), table.open()
    older.publish(_publication(1, epoch=1))
    newer.publish(_publication(2, epoch=2))
    _refused(older, _publication(3, epoch=1), "publish() takes a publication of an older epoch than the last one")
    require(newer.published() == 2, "a publication of an older epoch was published")


def _refused(catalog: Catalog, publication: Publication, sentence: str) -> None:
    try:
        catalog.publish(publication)
    except Fatal:
        return
    raise AssertionError(sentence)
