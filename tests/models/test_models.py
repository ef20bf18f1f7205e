"""Batches by cost keep rows, order and budget; real models give what a plain loop gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from stream_infer.builders import build_model
from stream_infer.config import Batch, FormatSettings, Limits
from stream_infer.decode.decoder import Decoder
from stream_infer.models.batching import run_batched
from stream_infer.models.settings import PythonModel, TorchModel, TransformersModel
from stream_infer.ops.demo.run import model_folder
from stream_infer.ops.demo.texts import sample_texts


class Costly:
    """Doubles ``n``; costs ``cost``; raises on the rows it is told to."""

    identity = "costly@0"
    reads: frozenset[str] | None = None
    weights: int | None = None

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.good: list[list[int]] = []

    def prepare(self, records: pa.Table) -> pa.Table:
        return records

    def load(self, device: str) -> None:
        return

    def cost(self, prepared: pa.Table) -> np.ndarray:
        return np.asarray(prepared.column("cost").to_pylist(), np.int64)

    def infer(self, batch: pa.Table) -> pa.Table:
        rows = batch.column("row").to_pylist()
        if self.bad & set(rows):
            raise ValueError("bad row")
        self.good.append(batch.column("cost").to_pylist())
        return pa.table({"double": [2 * row for row in rows]})


@given(st.lists(st.integers(1, 50), max_size=40), st.sets(st.integers(0, 39)), st.integers(1, 200), st.integers(1, 10))
def test_rows_order_budget_and_rejects(costs: list[int], bad: set[int], tokens: int, rows: int) -> None:
    model = Costly(bad)
    table = pa.table({"row": pa.array(range(len(costs)), pa.int64()), "cost": pa.array(costs, pa.int64())})
    if not costs:
        return
    inferred = run_batched(model, table, Batch(tokens=tokens, rows=rows))
    good = [row for row in range(len(costs)) if row not in bad]
    assert list(inferred.kept) == good
    assert [index for index, _ in inferred.rejects] == [row for row in range(len(costs)) if row in bad]
    if good:
        assert inferred.columns.column("double").to_pylist() == [2 * row for row in good]
    for batch in model.good:
        assert len(batch) <= rows
        assert len(batch) == 1 or max(batch) * len(batch) <= tokens


def test_minilm_embeddings_equal_a_plain_loop() -> None:
    from transformers import AutoModel, AutoTokenizer

    _, short = sample_texts(0, 40)
    texts = [text for _, text in short] + ["word " * 600]
    folder = str(model_folder())
    model: Any = build_model(TransformersModel(kind="transformers", task="feature-extraction", path=folder))
    model.load(["cpu"])
    prepared = model.prepare(pa.table({"text": texts}))
    ours = np.stack(run_batched(model, prepared, Batch(tokens=2048)).columns.column("embedding").to_numpy())
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    limit = prepared_limit(folder)
    for text, embedding in zip(texts, ours, strict=True):
        encoded = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
        with torch.inference_mode():
            hidden = plain(**encoded).last_hidden_state[0].mean(0)
        assert np.abs(torch.nn.functional.normalize(hidden, dim=0).numpy() - embedding).max() < 1e-5
    assert "@" in model.identity


def prepared_limit(folder: str) -> int:
    """What the model's own card says of its longest input."""
    import json

    return int(json.loads((Path(folder) / "sentence_bert_config.json").read_text())["max_seq_length"])


def test_a_digit_classifier_keeps_its_accuracy(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits
    from transformers import ResNetConfig, ResNetForImageClassification

    digits = load_digits()
    images = np.repeat((digits.images / 16 * 255).astype(np.uint8)[..., None], 3, axis=-1)
    torch.manual_seed(0)
    settings = ResNetConfig(
        num_channels=3, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
    )
    settings.id2label = {number: f"digit {number}" for number in range(10)}
    network = ResNetForImageClassification(settings)
    big = torch.nn.functional.interpolate(torch.tensor(images).permute(0, 3, 1, 2).float() / 255, size=32)
    pixels, labels = (big - 0.5) / 0.5, torch.tensor(digits.target)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(6):
        for rows in torch.randperm(1500).split(64):
            optimiser.zero_grad()
            network(pixel_values=pixels[rows], labels=labels[rows]).loss.backward()
            optimiser.step()
    network.save_pretrained(tmp_path)
    processor = '{"image_processor_type": "ViTImageProcessor", "do_resize": true, "size": {"height": 32, "width": 32}, "resample": 0, '
    processor += '"do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true, '
    processor += '"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    (tmp_path / "preprocessor_config.json").write_text(processor)
    model: Any = build_model(TransformersModel(kind="transformers", task="image-classification", path=str(tmp_path)))
    model.load(["cpu"])
    decoder = Decoder(FormatSettings(kind="image"), Limits())
    records = pa.concat_tables([next(iter(decoder.decode(_png(image), "x.png"))).table for image in images[1500:]])
    inferred = run_batched(model, model.prepare(records), Batch())
    right = [
        label == f"digit {n}"
        for label, n in zip(inferred.columns["label"].to_pylist(), digits.target[1500:], strict=True)
    ]
    assert sum(right) / len(right) > 0.9


def _png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


class Affine(torch.nn.Module):
    """A module of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return self.linear(vector)


def test_a_torch_module_with_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "affine_module.py").write_text(
        "import torch\n"
        "class Affine(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.linear = torch.nn.Linear(3, 2)\n"
        "    def forward(self, vector): return self.linear(vector)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = Affine().eval()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    settings = TorchModel(
        kind="torch", python="affine_module:Affine", weights=str(tmp_path / "w.safetensors"), input="vector"
    )
    model: Any = build_model(settings)
    model.load(["cpu"])
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 3)})
    columns = run_batched(model, model.prepare(table), Batch()).columns
    got = np.asarray(columns.column(columns.column_names[0]).to_pylist())
    assert np.allclose(got, module(torch.tensor(vectors)).detach().numpy(), atol=1e-6)


def test_a_python_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(
        "class Shout:\n    def infer(self, batch):\n        return {'shout': [t.upper() for t in batch.column('text').to_pylist()]}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model: Any = build_model(PythonModel(kind="python", python="shouting:Shout"))
    model.load(["cpu"])
    assert model.infer(pa.table({"text": ["a"]})).to_pydict() == {"shout": ["A"]}
