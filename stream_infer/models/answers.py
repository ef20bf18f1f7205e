"""Output columns from the numbers of a network: labels, scores and entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stream_infer.models.base import to_arrow


def top_class(logits: Any, config: Any) -> dict[str, pa.Array | pa.ChunkedArray]:
    """``label`` and ``score`` of the highest class of logits (rows, classes); the raw value for a regression."""
    return labelled(likeliest(logits, config), config)


def likeliest(logits: Any, config: Any) -> dict[str, Any]:
    """``score`` and ``class`` of the highest class: tensors of shape (rows,) on the device of the logits."""
    logits = logits.float()
    if config.problem_type == "regression":
        chances = logits
    elif config.problem_type == "multi_label_classification" or logits.shape[1] == 1:
        chances = logits.sigmoid()
    else:
        chances = logits.softmax(-1)
    scores, classes = chances.max(-1)
    return {"score": scores, "class": classes}


def labelled(outputs: Mapping[str, Any], config: Any) -> dict[str, pa.Array | pa.ChunkedArray]:
    """``label`` and ``score`` from the results of `likeliest`."""
    names = [config.id2label[int(index)] for index in outputs["class"].tolist()]
    return {"label": pa.array(names, pa.string()), "score": to_arrow(outputs["score"])}


def grouped(tokens: Sequence[tuple[str, float, int, int]], text: str) -> list[dict[str, Any]]:
    """Neighbouring (class, score, start, end) of one class joined to one entity with their mean score; without class O."""
    entities: list[tuple[str, list[float], int, int]] = []
    for name, score, start, end in tokens:
        begins, tag = (name[:2] == "B-", name[2:]) if name[:2] in ("B-", "I-") else (False, name)
        if entities and entities[-1][0] == tag and not begins:
            last = entities.pop()
            entities.append((tag, [*last[1], score], last[2], end))
        else:
            entities.append((tag, [score], start, end))
    return [
        {"entity": tag, "score": float(np.mean(scores)), "start": start, "end": end, "word": text[start:end]}
        for tag, scores, start, end in entities
        if tag != "O"
    ]
