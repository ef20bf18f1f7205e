"""JPEG → resize → a small vision model."""

from __future__ import annotations

import io
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kit import Kit
from benchmarks.results import OURS, Result
from benchmarks.turns import by_turns


def measure(kit: Kit) -> Result:
    """The service and a hand-written loop (decode and resize in a process, forward in this one) by turns."""
    count, turns = (64, 1) if kit.quick else (1024, 3)
    folder, weights = kit.folder / "jpegs", kit.folder / "vit"
    _pictures(folder, count)
    _weights(weights)
    model = {"kind": "transformers", "task": "image-feature-extraction", "path": str(weights)}
    source = {"name": "pictures", "kind": "files", "url": str(folder), "format": "image", "discover": {"settle": 0}}
    loop = "torch + decode in a process"

    def ours(turn: int) -> float:
        return count / kit.run_to_end(kit.pipeline(f"vision-{turn}", source, model)).working

    rates = by_turns(turns, {OURS: ours, loop: lambda _: _loop(folder, weights)})
    result = Result("vision", "JPEG → resize → small ViT", "images/s")
    result.add_rates(rates)
    limit = "two replicas and two readers share what the loop has for two processes; the driver takes a twentieth of the CPU"
    result.add_ratio_by_turns("÷ hand-written torch loop", rates[OURS], rates[loop], 0.95, limit)
    result.notes.append(f"{count} JPEGs of 640 x 480; a ViT of 6 layers of width 192 with random weights, 224 x 224")
    return result


def _pictures(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        rough = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((640, 480), Image.Resampling.BICUBIC).save(
            folder / f"{number:05d}.jpg", quality=90
        )


def _weights(folder: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    shape = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "intermediate_size": 768}
    transformers.ViTModel(transformers.ViTConfig(**shape, image_size=224, patch_size=16)).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(folder)


def _decoded(paths: list[Path]) -> Any:
    from PIL import Image

    images = [Image.open(io.BytesIO(path.read_bytes())).convert("RGB").resize((224, 224), 2) for path in paths]
    return (np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255 - 0.5) / 0.5


def _loop(folder: Path, weights: Path) -> float:
    import torch
    from transformers import AutoModel

    network = AutoModel.from_pretrained(weights).eval()
    paths = sorted(folder.iterdir())
    with ProcessPoolExecutor(1) as pool, torch.inference_mode():
        pool.submit(_decoded, paths[:1]).result()
        started = time.perf_counter()
        for pixels in pool.map(_decoded, [paths[at : at + 32] for at in range(0, len(paths), 32)]):
            network(pixel_values=torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).pooler_output.numpy()
        return len(paths) / (time.perf_counter() - started)
