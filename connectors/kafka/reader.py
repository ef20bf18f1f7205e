"""The worker's side of Kafka: an offset range becomes tables of records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from stream_infer import config, crash
from stream_infer.bounds import single
from stream_infer.connectors.kafka.cluster import Cluster, Link
from stream_infer.connectors.kafka.contents import Contents, build_contents
from stream_infer.connectors.kafka.messages import Run, offsets_of, piece_of
from stream_infer.connectors.kafka.partition_log import PartitionLog, range_of
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.contracts import Piece
from stream_infer.errors import Fatal, Retryable
from stream_infer.rejects import Original
from stream_infer.splits import Loss, Reject, Split

_MESSAGES = 2000  # of one call to the client
_POLL_SECONDS = 1.0
_FETCH_KIB = (64, 1024)  # of one fetch: what lies beyond a range's end comes along, and is thrown away
_SILENCE_SECONDS = 30.0  # a range that exists and does not come
_TABLE_ROWS = 10_000
_TABLE_BYTES = 16 * 2**20
_NOT_THERE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # the broker has no such offset


class KafkaReader:
    """Implements `contracts.Reader`. Keeps its consumers open; reads only what is committed (``read_committed``).

    The end of a range is a position, never a count: compaction and transactions leave gaps.
    """

    def __init__(self, settings: KafkaSettings, pipeline: str, limits: config.Limits) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._limits = limits
        self._start()

    def _start(self) -> None:
        self._link = Link(self._settings.name, self._settings.servers, self._settings.options)
        self._consumers: dict[int, Consumer] = {}  # by KiB of a fetch
        self._cluster = Cluster(self._link)
        self._replaced: set[str | None] = set()  # ids of deleted topics
        self._contents: Contents | None = None

    def __getstate__(self) -> tuple[KafkaSettings, str, config.Limits]:
        return self._settings, self._pipeline, self._limits

    def __setstate__(self, state: tuple[KafkaSettings, str, config.Limits]) -> None:
        self._settings, self._pipeline, self._limits = state
        self._start()

    def read(self, split: Split) -> Iterator[Piece]:
        """See `contracts.Reader.read`."""
        if self._contents is None:
            self._contents = build_contents(self._settings, self._limits)
        bounds = range_of(split)
        if PartitionLog.of(bounds).topic_id in self._replaced:
            yield Piece(losses=(_loss(split, bounds.start, bounds.stop, "deleted"),))
            return
        try:
            for run in self._runs(split):
                crash.point("kafka.fetched")
                yield piece_of(split, run, self._contents)
        except Retryable:
            self._check_topic(split)  # or offsets that the new topic does not have yet would be waited for
            raise
        self._check_topic(split)  # what was yielded is void if this raises

    def original(self, split: Split, reject: Reject, most: int) -> Original:
        """See `contracts.Reader.original`."""
        one = replace(split, bounds=single(range_of(split), reject.record_id).to_json())
        try:
            fetches = list(self._fetches(one))
        except Retryable:
            if not self._is_replaced(split):
                raise
            fetches = []
        messages = [message for fetch in fetches if not isinstance(fetch, Loss) for message in fetch]
        if not messages or self._is_replaced(split):
            reasons = [fetch.reason for fetch in fetches if isinstance(fetch, Loss)]
            return Original(missing=reasons[0] if reasons else "gone")
        message = messages[0]
        value = message.value()
        headers = tuple((name, data) for name, data in message.headers() or ())
        cut = "too_large" if value is not None and len(value) > most else None
        return Original(message.key(), value if value is None else value[:most], headers, cut)

    def _forget(self) -> None:
        while self._consumers:
            self._consumers.popitem()[1].close()

    def _is_replaced(self, split: Split) -> bool:
        """Asked after the reading: a deleted id never comes back, so messages read before are of the planned topic."""
        log = PartitionLog.of(range_of(split))
        topic = self._cluster.topics([log.topic_name]).get(log.topic_name) if log.topic_id else None
        return topic is not None and topic.topic_id != log.topic_id

    def _check_topic(self, split: Split) -> None:
        """Raise Retryable if the topic was made again meanwhile; the next try yields a named loss."""
        if self._is_replaced(split):
            log = PartitionLog.of(range_of(split))
            self._replaced.add(log.topic_id)
            raise Retryable(f"topic {log.topic!r} was made again while it was read", dependency="kafka")

    def _runs(self, split: Split) -> Iterator[Run]:
        """Messages for one table each."""
        run = Run()
        for fetch in self._fetches(split):
            if isinstance(fetch, Loss):
                run.losses.append(fetch)
                continue
            run.add(split, fetch, self._limits.record_bytes)
            if len(run.messages) >= _TABLE_ROWS or run.bytes >= _TABLE_BYTES:
                yield run
                run = Run()
        if not run.empty:
            yield run

    def _fetches(self, split: Split) -> Iterator[list[Message] | Loss]:
        """Messages of the range, in order, once; a gap is skipped, an expired range is a named loss."""
        bounds = range_of(split)
        at, stop = bounds.start, bounds.stop
        with self._link.answered(self._forget):
            consumer = self._stand(split, at)
            try:
                silent_since = time.monotonic()
                while at < stop:
                    # never waits for a full batch: gaps make a range shorter than its bounds say
                    messages = consumer.consume(_MESSAGES, 0) or consumer.consume(1, _POLL_SECONDS)
                    good = []
                    if messages and (ends := offsets_of(messages)) and at <= ends[0] and ends[1] < stop:
                        good, at, messages = messages, ends[1] + 1, []
                    for message in messages:
                        if at >= stop:
                            break  # what follows, an error event too, is no part of the range
                        if (error := message.error()) is not None and error.code() in _NOT_THERE:
                            expired_at, at = at, self._skip_expired(consumer, split, at)
                            yield _loss(split, expired_at, at, "expired")
                            break  # what came along is of where the consumer stood before: it all comes again
                        if error is not None:
                            at = self._after_error(error, message, split, at)
                        elif (offset := message.offset() or 0) >= at:
                            at = offset + 1
                            if offset < stop:
                                good.append(message)
                    if good:
                        yield good
                        silent_since = time.monotonic()
                    elif time.monotonic() - silent_since > _SILENCE_SECONDS:
                        raise self._link.failure(f"nothing came of {bounds.position_key} from {at}")
            finally:
                consumer.unassign()  # else it would go on fetching what other readers are to read

    def _after_error(self, error: KafkaError, message: Message, split: Split, at: int) -> int:
        """Where to go on after an error event."""
        if error.code() == KafkaError._PARTITION_EOF:
            return max(at, message.offset() or 0)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC):
            topic = PartitionLog.of(range_of(split)).topic_name
            raise Retryable(f"topic {topic!r} does not exist at {self._settings.servers}", dependency="kafka")
        raise self._link.failure(error)

    def _stand(self, split: Split, offset: int) -> Consumer:
        # a range may be smaller than it was thought to be large; too small a fetch is only followed by more of them
        kib = next((kib for kib in _FETCH_KIB if kib * 512 >= split.bytes), _FETCH_KIB[-1])
        if kib not in self._consumers:
            self._consumers[kib] = Consumer(
                {
                    # a range that is planned is there: waiting at the end would only hold up the next split's fetch
                    # (and a full queue is asked again soon: by default the client rests a second)
                    **self._link.settings(
                        queued_max_messages_kbytes=kib,
                        fetch_message_max_bytes=kib * 1024,
                        fetch_wait_max_ms=10,
                        fetch_queue_backoff_ms=5,
                    ),
                    "group.id": f"stream-infer.{self._pipeline}.read",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                }
            )
        log = PartitionLog.of(range_of(split))
        self._consumers[kib].assign([TopicPartition(log.topic_name, log.partition, offset)])
        return self._consumers[kib]

    def _skip_expired(self, consumer: Consumer, split: Split, at: int) -> int:
        """Go on at the first offset that the broker still has; returns it."""
        bounds = range_of(split)
        log = PartitionLog.of(bounds)
        partition = TopicPartition(log.topic_name, log.partition)
        watermarks: tuple[int, int] | None = consumer.get_watermark_offsets(
            partition, timeout=_SILENCE_SECONDS, cached=False
        )
        if watermarks is None:
            raise self._link.failure("timed out")
        low, high = watermarks
        if low <= at:
            why = (
                f"ends at {high}, before offset {at} that was planned"
                if high < at
                else f"refused offset {at} of {high}"
            )
            raise Retryable(f"{log.topic_name}/{log.partition} {why}", dependency="kafka")
        resumed = min(low, bounds.stop)
        if self._settings.on_expired == "stop":
            raise Fatal(expired(self._settings.name, f"{log.topic}/{log.partition}", at, resumed))
        consumer.assign([TopicPartition(log.topic_name, log.partition, resumed)])
        return resumed


def expired(source: str, partition: str, start: int, stop: int) -> str:
    """The sentence for a source that is to stop when its records expire unread."""
    return (
        f"{partition}: offsets {start} to {stop - 1} expired before they were read; lengthen the topic's retention, or "
        f"write on_expired: skip for source {source}"
    )


def _loss(split: Split, start: int, stop: int, reason: str) -> Loss:
    return Loss(range_of(split).record_id(start), split.source, reason, stop - start)
