"""Sentence embeddings of texts of naturally varied length."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.kit import Kit
from benchmarks.results import Result
from benchmarks.texts import documents
from ops.demo.run import model_folder

_LONGEST = 256  # tokens


def measure(kit: Kit) -> Result:
    """A loop over sorted batches, the service, the sorted loop again; then the loop over batches as they come."""
    import torch

    count = 96 if kit.quick else 1024
    texts = documents(count)
    kit.topic("documents", 1, (text.encode() for text in texts))
    model = {"kind": "transformers", "task": "feature-extraction", "path": str(model_folder()), "input": "text"}
    file = kit.pipeline("minilm", kit.kafka_source("documents"), {**model, "options": {"max_length": _LONGEST}})
    before = _loop(texts, by_length=True)
    ours = count / kit.run_to_end(file).working
    after = _loop(texts, by_length=True)
    as_they_come = _loop(texts, by_length=False)
    hand = (before + after) / 2
    result = Result("minilm", "MiniLM embeddings of texts of varied length", "texts/s")
    result.bars = {"stream-infer": ours, "torch, sorted by length": hand, "torch, batches of 32": as_they_come}
    held = "splits of some dozen texts pad more than batches out of all texts; the driver takes a twentieth of the CPU"
    result.ratio("÷ torch loop over length-sorted batches", ours, hand, 0.95, held)
    result.ratio("÷ torch loop over batches of 32 as they come", ours, as_they_come, 2.3, held)
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
