"""Sentence embeddings of texts of naturally varied length."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.kit import Kit
from benchmarks.results import OURS, Result
from benchmarks.texts import documents
from benchmarks.turns import by_turns
from stream_infer.ops.demo.run import model_folder

_LONGEST = 256  # tokens


def measure(kit: Kit) -> Result:
    """The service and torch loops over sorted batches and over batches as they come, by turns."""
    import torch

    count, turns = (96, 1) if kit.quick else (1024, 3)
    texts = documents(count)
    kit.topic("documents", 1, (text.encode() for text in texts))
    model: dict[str, Any] = {
        "kind": "transformers",
        "task": "feature-extraction",
        "path": str(model_folder()),
        "input": "text",
        "options": {"max_length": _LONGEST},
    }

    def ours(turn: int) -> float:
        return count / kit.run_to_end(kit.pipeline(f"minilm-{turn}", kit.kafka_source("documents"), model)).working

    by_length, as_they_come = "torch, sorted by length", "torch, batches of 32"
    loops = {by_length: lambda _: _loop(texts, by_length=True), as_they_come: lambda _: _loop(texts, by_length=False)}
    rates = by_turns(turns, {OURS: ours, **loops})
    result = Result("minilm", "MiniLM embeddings of texts of varied length", "texts/s")
    result.add_rates(rates)
    limit = "splits of some dozen texts pad more than batches out of all texts; the driver takes a twentieth of the CPU"
    result.add_ratio_by_turns("÷ torch loop over length-sorted batches", rates[OURS], rates[by_length], 0.95, limit)
    result.add_ratio_by_turns(
        "÷ torch loop over batches of 32 as they come", rates[OURS], rates[as_they_come], 2.3, limit
    )
    result.notes.append(
        f"{count} docstrings, at most {_LONGEST} tokens, {torch.get_num_threads()} threads in the loops"
    )
    return result


def _loop(texts: Sequence[str], *, by_length: bool) -> float:
    """Texts per second: tokenise, forward, mean of the last hidden states, normalise."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model_folder()), AutoModel.from_pretrained(model_folder()).eval()
    started = time.perf_counter()
    with torch.inference_mode():
        encoded = [tokenizer(text, truncation=True, max_length=_LONGEST)["input_ids"] for text in texts]
        if by_length:
            encoded.sort(key=len)
        for start in range(0, len(encoded), 32):
            batch = tokenizer.pad({"input_ids": encoded[start : start + 32]}, return_tensors="pt")
            hidden = network(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return len(texts) / (time.perf_counter() - started)
