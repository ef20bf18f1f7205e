"""Sentence embeddings on a GPU: the infer stage beside the forward of the model alone."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import sqlite3
import statistics
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.kit import Kit, every
from benchmarks.results import Result
from stream_infer.config import Batch
from stream_infer.models.batching import micro_batches, run_batched
from stream_infer.models.settings import TransformersModel
from stream_infer.models.text_task import IDS
from stream_infer.models.transformers_text import TextModel
from stream_infer.ops.demo.run import model_folder
from stream_infer.ops.demo.texts import docstrings
from stream_infer.telemetry.gpu import Gpus

_LONGEST = 256  # tokens
_BATCH = {"tokens": 131_072, "rows": 2048}
_DISTINCT = 16_384  # texts; the service gets them several times over
_FILE_ROWS = 2048
_GROUP = 16_384  # rows that the loop sorts together: about a split
_ROUNDS = 5
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class Shape(NamedTuple):
    """A BERT, and how often it gets the texts."""

    layers: int
    width: int
    heads: int
    rounds: int


SHAPES = {
    "MiniLM-L6": Shape(6, 384, 12, 48),
    "BERT-base": Shape(12, 768, 12, 24),
    "BERT-large": Shape(24, 1024, 16, 10),
}


@dataclass(slots=True)
class Observed:
    """The GPU's (seconds since the epoch, busy share), and the highest values of the service's own gauges."""

    busy: list[tuple[float, float]] = field(default_factory=list)
    gauges: dict[str, float] = field(default_factory=dict)


class Spent(NamedTuple):
    """The ledger's totals of a run."""

    rows: int
    infer: float
    done: float


def measure(kit: Kit) -> Result:
    """Each shape: the forward alone, the service, the forward alone again."""
    result = Result("gpu", "Embeddings on a GPU", "texts/s")
    if not Gpus().read():
        result.elsewhere = True
        result.add_statement("infer stage ÷ model-only forward", "no GPU here", "unproven on this machine")
        return result
    texts = _texts(2048 if kit.quick else _DISTINCT)
    for name, shape in SHAPES.items():
        _measure_shape(kit, result, name, shape._replace(rounds=2) if kit.quick else shape, texts)
    result.notes += [_about(), f"{len(texts):,} different docstrings, at most {_LONGEST} tokens, weights at random"]
    return result


def _measure_shape(kit: Kit, result: Result, name: str, shape: Shape, texts: list[str]) -> None:
    folder = _model(kit.folder / name, shape)
    settings: dict[str, Any] = {
        "kind": "transformers",
        "task": "feature-extraction",
        "path": str(folder),
        "input": "text",
    }
    settings |= {"options": {"max_length": _LONGEST}, "batch": _BATCH}
    inputs = _inputs(kit.folder / name / "in", texts, shape.rounds)
    prepared = _prepared(settings, texts)
    before = _forward(folder, prepared)
    batched = _batched(settings, prepared)
    source = {"name": "inbox", "kind": "files", "url": inputs.as_uri() + "/", "format": "parquet"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    file = kit.pipeline(f"{name}-run", source, {**settings, "gpus": 1}, serve={"port": port})
    with _watched(port) as seen:
        ran = kit.run_to_end(file)
    spent = _spent(file)
    after = _forward(folder, prepared)
    alone = statistics.mean([before, after])
    stage, whole = spent.rows / spent.infer, spent.rows / ran.working
    result.bars |= {f"stream-infer {name}, infer": stage, f"stream-infer {name}, all": whole, f"{name} alone": alone}
    limit = "what a split has before its first and after its last micro-batch, on cores that the readers keep busy"
    result.add_ratio(f"{name}: infer stage ÷ model-only forward", stage, alone, 0.95, limit)
    limit = "copies, sorting and putting back in order are not hidden behind the kernels"
    result.add_ratio(f"{name}: its micro-batches without a service ÷ model-only forward", batched, alone, 0.95, limit)
    busy = [share for moment, share in seen.busy if spent.done - ran.working <= moment <= spent.done]
    result.add_statement(f"{name}: whole service ÷ model-only forward", f"{whole / alone:.2f}")
    result.add_statement(f"{name}: GPU busy from ready to the last commit", f"{statistics.mean(busy or [0.0]):.0%}")
    result.notes.append(
        f"{name} ({shape.layers} layers of width {shape.width}): {spent.rows:,} rows in {ran.working:.1f} s from ready, "
        f"{spent.infer:.1f} s of them in the infer stage; the forward alone {before:,.0f}/s before and {after:,.0f}/s after; "
        f"highest of the service's gauges: {', '.join(f'{key} {value:.4g}' for key, value in sorted(seen.gauges.items()))}"
    )


def _model(folder: Path, shape: Shape) -> Path:
    """A BERT of that shape: weights at random, for its speed is the same; the tokenizer is a real one."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": shape.layers, "hidden_size": shape.width, "num_attention_heads": shape.heads}
    network = BertModel(BertConfig(intermediate_size=4 * shape.width, **sizes), add_pooling_layer=False)
    network.save_pretrained(folder)
    for name in _TOKENIZER:
        if (model_folder() / name).exists():
            shutil.copy(model_folder() / name, folder / name)
    return folder


def _texts(count: int) -> list[str]:
    """Different docstrings of at least 40 characters, mixed; `documents` would read all that is installed."""
    unique: dict[str, None] = {}
    for _name, text in docstrings():
        if len(text) >= 40:
            unique[text] = None
        if len(unique) == count:
            break
    texts = list(unique)
    random.Random(0).shuffle(texts)
    return texts


def _inputs(folder: Path, texts: list[str], rounds: int) -> Path:
    folder.mkdir(parents=True)
    for turn in range(rounds):
        mixed = random.Random(turn).sample(texts, len(texts))  # or the shapes of all micro-batches would come again
        for start in range(0, len(texts), _FILE_ROWS):
            table = pa.table({"text": mixed[start : start + _FILE_ROWS]})
            pq.write_table(table, folder / f"{turn:02d}-{start:06d}.parquet")
    return folder


def _prepared(settings: dict[str, Any], texts: list[str]) -> pa.Table:
    """The texts with their tokens, as they come into the infer stage."""
    model = TextModel(TransformersModel(**settings))
    return model.prepare(pa.table({"text": texts})).combine_chunks()


def _batched(settings: dict[str, Any], prepared: pa.Table) -> float:
    """Texts per second of the infer stage's micro-batches in this process: the service's code, and nothing beside it."""
    import torch

    model = TextModel(TransformersModel(**settings, gpus=1))
    model.load(["cuda:0"])
    seconds = 0.0
    for turn in range(1 + _ROUNDS):  # kernels are chosen and loaded in the first
        for start in range(0, prepared.num_rows, _GROUP):
            torch.cuda.synchronize()
            started = time.perf_counter()
            run_batched(model, prepared.slice(start, _GROUP), Batch(**_BATCH))
            seconds += (time.perf_counter() - started) * (turn > 0)
    del model
    torch.cuda.empty_cache()
    return _ROUNDS * prepared.num_rows / seconds


def _forward(folder: Path, prepared: pa.Table) -> float:
    """Texts per second of forward, pooling and normalising alone: the padded inputs are on the GPU, and the answers
    stay there. The same dtype and the same micro-batches as the service's."""
    import torch
    from transformers import AutoModel

    torch.backends.cuda.enable_cudnn_sdp(True)  # the model that ran before in this process turned it off
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    network = AutoModel.from_pretrained(folder, dtype=dtype, add_pooling_layer=False).to("cuda").eval()
    batches = [
        {key: torch.from_numpy(array).to("cuda") for key, array in batch.items()} for batch in _padded_batches(prepared)
    ]
    with torch.inference_mode():
        for batch in batches:  # kernels are chosen and loaded
            _embedded(network, batch)
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(_ROUNDS):
            for batch in batches:
                _embedded(network, batch)
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    del network, batches
    torch.cuda.empty_cache()
    return _ROUNDS * prepared.num_rows / seconds


def _padded_batches(prepared: pa.Table) -> Iterator[dict[str, np.ndarray]]:
    rows = [cell.values.to_numpy() for cell in prepared.column(IDS)]
    for start in range(0, len(rows), _GROUP):
        group = sorted(rows[start : start + _GROUP], key=len, reverse=True)
        size = np.array([len(row) for row in group], dtype=np.float64)
        for first, last in micro_batches(size, Batch(**_BATCH)):
            mask = np.arange(size[first])[None, :] < size[first:last, None]
            ids = np.zeros(mask.shape, np.int64)
            ids[mask] = np.concatenate(group[first:last])
            yield {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids)}


def _embedded(network: Any, batch: dict[str, Any]) -> Any:
    import torch

    hidden = network(**batch).last_hidden_state.float()
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


@contextlib.contextmanager
def _watched(port: int) -> Iterator[Observed]:
    """The GPU looked at five times a second, the service's gauges every second."""
    seen, gpus = Observed(), Gpus()

    def look() -> None:
        seen.busy += [(time.time(), gpu.utilization) for gpu in gpus.read()[:1]]

    def take() -> None:
        with contextlib.suppress(OSError, ValueError):
            _take_gauges(port, seen.gauges)

    with every(0.2, look), every(1.0, take):
        yield seen


def _take_gauges(port: int, highest: dict[str, float]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
        for line in answer.read().decode().splitlines():
            if "_gpu_" in line and not line.startswith("#"):
                name, value = line.rpartition(" ")[::2]
                name = name.partition("{")[0]
                highest[name] = max(highest.get(name, 0.0), float(value))


def _spent(file: Path) -> Spent:
    with contextlib.closing(sqlite3.connect(file.parent / "ledger.db")) as ledger:
        rows = ledger.execute(
            "select rows, seconds, finished_at from ledger_splits where seconds is not null"
        ).fetchall()
    infer = sum(json.loads(seconds).get("infer", 0.0) for _rows, seconds, _finished in rows)
    return Spent(sum(row[0] for row in rows), infer, max(row[2] for row in rows))


def _about() -> str:
    import torch
    import transformers

    return (
        f"one {torch.cuda.get_device_name(0)}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"micro-batches of at most {_BATCH['tokens']:,} tokens and {_BATCH['rows']:,} rows"
    )
