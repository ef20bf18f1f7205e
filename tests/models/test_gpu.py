"""Models on a real GPU: answers equal to the CPU's, memory that runs out, and the driver's measurements."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from stream_infer.builders import build_model
from stream_infer.config import Batch
from stream_infer.contracts import Inferred
from stream_infer.models.batching import run_batched
from stream_infer.models.settings import TransformersModel
from stream_infer.telemetry.gpu import Gpus

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA device: run this on a machine with an NVIDIA GPU"
    ),
]
_WORDS = [f"word{number}" for number in range(200)]
_ROWS = 500
_BATCH = Batch(tokens=4096, rows=64)


def _saved(folder: Path, cls: str, **settings: Any) -> str:
    torch.manual_seed(0)
    raw = Tokenizer(models.WordLevel({"[PAD]": 0, **{word: 1 + at for at, word in enumerate(_WORDS)}}, "word0"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=256, pad_token="[PAD]").save_pretrained(
        folder
    )
    config = transformers.BertConfig(
        vocab_size=1 + len(_WORDS), hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
        initializer_range=0.1, pad_token_id=0, **settings,
    )  # fmt: skip
    getattr(transformers, cls)(config).save_pretrained(folder)
    return str(folder)


def _texts() -> list[str]:
    made = random.Random(0)
    return [" ".join(made.choices(_WORDS, k=made.randint(1, 200))) for _ in range(_ROWS)]


def _run(
    task: Any,
    folder: str,
    device: str,
    dtype: str,
    texts: list[str],
    batch: Batch = _BATCH,
) -> Inferred:
    settings: dict[str, Any] = {"kind": "transformers", "task": task, "path": folder, "dtype": dtype}
    model: Any = build_model(TransformersModel(**settings))
    model.load([device])
    return run_batched(model, model.prepare(pa.table({"text": texts})), batch)


def _embeddings(inferred: Inferred) -> np.ndarray:
    return np.array(inferred.columns.column("embedding").to_pylist())


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.9999), ("bfloat16", 0.998)])
def test_embeddings_are_those_of_a_cpu(tmp_path: Path, dtype: str, least: float) -> None:
    folder = _saved(tmp_path, "BertModel")
    ours = _embeddings(_run("feature-extraction", folder, "cuda:0", dtype, _texts()))
    theirs = _embeddings(_run("feature-extraction", folder, "cpu", "float32", _texts()))
    assert ours.shape == theirs.shape == (_ROWS, 256)
    # a row in another's place is far below that, and so is a row read before it was there
    assert float((ours * theirs).sum(1).min()) > least
    others = theirs @ theirs.T - 2 * np.eye(_ROWS)
    assert float(np.median(others.max(1))) < least


def test_classes_are_those_of_a_cpu(tmp_path: Path) -> None:
    folder = _saved(tmp_path, "BertForSequenceClassification", num_labels=5)
    ours = _run("text-classification", folder, "cuda:0", "float32", _texts()).columns
    theirs = _run("text-classification", folder, "cpu", "float32", _texts()).columns
    assert ours.column("label").to_pylist() == theirs.column("label").to_pylist()
    assert np.allclose(ours.column("score").to_numpy(), theirs.column("score").to_numpy(), atol=1e-3)


@pytest.fixture
def little_memory() -> Iterator[None]:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(300 * 2**20 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_micro_batch_that_does_not_fit_is_halved(tmp_path: Path, little_memory: None) -> None:
    folder = _saved(tmp_path, "BertModel")
    texts = [" ".join(random.Random(row).choices(_WORDS, k=200)) for row in range(_ROWS)]
    # of one length, so that all are one micro-batch: 400 MB for the widest layer alone
    inferred = _run("feature-extraction", folder, "cuda:0", "float32", texts, Batch(tokens=200_000, rows=_ROWS))
    assert inferred.rejects == []
    assert inferred.batches > 1
    theirs = _embeddings(_run("feature-extraction", folder, "cpu", "float32", texts))
    assert float((_embeddings(inferred) * theirs).sum(1).min()) > 0.9999


def test_the_driver_tells_of_the_gpu() -> None:
    tensor = torch.zeros(64 * 2**20, dtype=torch.uint8, device="cuda")
    gpus = Gpus().read()
    assert gpus
    assert all(0 <= gpu.utilization <= 1 and 0 < gpu.used <= gpu.total for gpu in gpus)
    assert max(gpu.used for gpu in gpus) >= tensor.nbytes
