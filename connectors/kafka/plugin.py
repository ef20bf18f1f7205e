"""The kind ``kafka`` of sources, and the topic of rejects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream_infer.config import Limits, SourceSettings
from stream_infer.connectors.kafka.settings import KafkaSettings, TopicRejects
from stream_infer.plugins import Plugin, RejectPlugin, require

if TYPE_CHECKING:
    from stream_infer.contracts import RejectTarget, Source

_REQUIRES = ("confluent_kafka",)
_EXTRA = "stream-infer[kafka]"


def _source(settings: KafkaSettings, *, pipeline: str, limits: Limits) -> Source:
    from stream_infer.connectors.kafka.source import KafkaSource

    return KafkaSource.from_config(settings, pipeline=pipeline, limits=limits)


def _rejects(settings: TopicRejects, sources: Sequence[SourceSettings]) -> RejectTarget | None:
    if settings.kafka_topic is None:
        return None
    require(_REQUIRES, _EXTRA, "rejects.kafka_topic")
    from stream_infer.connectors.kafka.rejects import RejectTopic

    return RejectTopic.from_config(settings, [source for source in sources if isinstance(source, KafkaSettings)])


KAFKA = Plugin(KafkaSettings, _source, _REQUIRES, _EXTRA, rejects=RejectPlugin(TopicRejects, _rejects))
