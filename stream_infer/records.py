"""The record table: provenance columns, content columns, and the coordinates that name a record for ever."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa

# Content of an object or a message: a memoryview where the client's own memory need not be copied.
Content = bytes | memoryview
# Columns of a reader's table before the content columns. ``key`` is the Kafka key or the object's key.
RECORD_FIELDS = (
    pa.field("record_id", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("key", pa.string()),
    pa.field("event_time", pa.timestamp("us", tz="UTC")),
    pa.field("trace_id", pa.string()),
)
# First columns of the output.
OUTPUT_FIELDS = (
    *RECORD_FIELDS[:4],
    pa.field("processed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field("split_id", pa.string(), nullable=False),
    pa.field("model", pa.string(), nullable=False),
    pa.field("trace_id", pa.string()),
)
RECORD_COLUMNS = tuple(field.name for field in RECORD_FIELDS)
RESERVED = frozenset(field.name for field in OUTPUT_FIELDS)
# RFC 3986 pchar without ";": safe in a path, and leaves "?" and "#" unambiguous.
_SAFE = "/-._~!$&'()*+,=:@"


def content_name(name: str) -> str:
    """Rename a content column that would be mistaken for a provenance column (``key`` becomes ``key_``)."""
    return f"{name}_" if name in RESERVED else name


@dataclass(frozen=True, slots=True)
class KafkaCoordinate:
    """``kafka://CLUSTER/TOPIC/PARTITION/OFFSET``; a topic made again under its name is ``TOPIC@2``."""

    cluster: str
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"kafka://{self.cluster}/{self.topic}/{self.partition}/{self.offset}"


def object_path(key: str, version: str) -> str:
    """Key and version as coordinates write them: ``KEY?version=VERSION``, unambiguous whatever the two contain."""
    return f"{quote(key, safe=_SAFE)}?version={quote(version, safe='')}"


@dataclass(frozen=True, slots=True)
class ObjectCoordinate:
    """``s3://BUCKET/KEY?version=ID-OR-ETAG#ROW`` with KEY percent-encoded, slashes kept."""

    scheme: str
    bucket: str
    key: str
    version: str
    row: int = 0

    @property
    def object_id(self) -> str:
        """The coordinate without its row: one version of one object."""
        return f"{self.scheme}://{self.bucket}/{object_path(self.key, self.version)}"

    def __str__(self) -> str:
        return f"{self.object_id}#{self.row}"


def parse_coordinate(text: str) -> KafkaCoordinate | ObjectCoordinate:
    """Parse a record_id.

    Raises:
        ValueError: the text is no coordinate; the message shows the form of one.
    """
    parts = urlsplit(text)
    if parts.scheme == "kafka":
        pieces = parts.path.strip("/").split("/")
        if len(pieces) == 3 and pieces[1].isdigit() and pieces[2].isdigit():
            cluster = text.removeprefix("kafka://").split("/", 1)[0]  # netloc would be lower-cased by some tools
            return KafkaCoordinate(cluster, pieces[0], int(pieces[1]), int(pieces[2]))
    elif parts.scheme and parts.query.startswith("version=") and (parts.fragment or "0").isdigit():
        version = unquote(parts.query.removeprefix("version="))
        key = unquote(parts.path[1:])
        return ObjectCoordinate(parts.scheme, parts.netloc, key, version, int(parts.fragment or "0"))
    raise ValueError(
        f"{text!r} is no coordinate: write kafka://CLUSTER/TOPIC/PARTITION/OFFSET or s3://BUCKET/KEY?version=ID#ROW"
    )
