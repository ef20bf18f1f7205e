"""Classes of a user's own: what they may have and return, and what is told when they do not fit."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from stream_infer.builders import build_model
from stream_infer.config import Batch
from stream_infer.errors import ConfigError, Fatal, RejectRecord
from stream_infer.models.base import to_arrow, to_table
from stream_infer.models.batching import run_batched
from stream_infer.models.settings import PythonModel, TorchModel
from stream_infer.search_path import importable

CODE = """
import numpy as np, pyarrow as pa, torch

class Full:
    reads = ("length",)
    def __init__(self, factor=1):
        self.factor, self.device = factor, None
    def load(self, device):
        self.device = device
    def prepare(self, records):
        return {"length": [len(text) for text in records.column("text").to_pylist()]}
    def cost(self, prepared):
        return prepared.column("length").to_numpy()
    def infer(self, batch):
        assert self.device == "cpu"
        return {"scaled": batch.column("length").to_numpy() * self.factor}

class Dropping:
    def prepare(self, records):
        return pa.table({"x": [0] * records.num_rows})
    def infer(self, batch):
        return batch

class Short:
    def infer(self, batch):
        return [1]

class Bare:
    pass

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
    def forward(self, batch):
        return {"score": self.linear(batch)[:, 0], "both": self.linear(batch)}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"user_code_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def _python(module: str, name: str, **options: Any) -> Any:
    return build_model(PythonModel(kind="python", python=f"{module}:{name}", options=options))


def test_a_class_with_everything(module: str) -> None:
    model: Any = pickle.loads(pickle.dumps(_python(module, "Full", factor=3)))
    model.load(["cpu"])
    prepared = model.prepare(pa.table({"text": ["aaa", "a", "aa"]}))
    assert model.cost(prepared).tolist() == [3, 1, 2]
    assert model.reads == {"length"}
    inferred = run_batched(model, prepared, Batch(tokens=3))
    assert inferred.columns.to_pydict() == {"scaled": [9, 3, 6]}
    assert inferred.batches == 3
    assert model.identity == _python(module, "Full", factor=3).identity != _python(module, "Full").identity


def test_classes_that_do_not_fit_are_told_before_they_run(module: str) -> None:
    for name, options, sentence in (
        ("Bare", {}, "no infer"),
        ("Missing", {}, "has no 'Missing'"),
        ("Full", {"no_such": 1}, "does not take"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            _python(module, name, **options)
    with pytest.raises(ConfigError, match="cannot import"):
        _python("no_such_module", "Full")


def test_prepare_may_not_drop_provenance_and_infer_may_not_drop_rows(module: str) -> None:
    with pytest.raises(Fatal, match="dropped column 'record_id'"):
        _python(module, "Dropping").prepare(pa.table({"record_id": ["a"], "text": ["b"]}))
    with pytest.raises(Fatal, match="1 rows for 2"):
        run_batched(_python(module, "Short"), pa.table({"text": ["a", "b"]}), Batch())


def test_a_torch_module_that_returns_columns(module: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 2)
    weights = tmp_path / "net.safetensors"
    save_file({f"linear.{name}": value for name, value in linear.state_dict().items()}, weights)
    settings = TorchModel(kind="torch", python=f"{module}:Net", weights=str(weights))
    model: Any = pickle.loads(pickle.dumps(build_model(settings)))
    model.load(["cpu"])
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    records = pa.table({"source": ["s"] * 5, "vector": list(vectors)})
    columns = run_batched(model, model.prepare(records), Batch(rows=2)).columns
    expected = linear(torch.tensor(vectors)).detach().numpy()
    assert columns.schema.field("both").type == pa.list_(pa.float32(), 2)
    assert np.allclose(columns.column("both").to_pylist(), expected, atol=1e-6)
    assert np.allclose(columns.column("score").to_numpy(), expected[:, 0], atol=1e-6)
    with pytest.raises(RejectRecord, match="no numeric column"):
        model.prepare(pa.table({"text": ["a"]}))
    save_file({"other": torch.zeros(1)}, weights)
    with pytest.raises(ConfigError, match="does not fit"):
        build_model(settings).load(["cpu"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([1.7e9 + 0.25]), pa.float64()),
        (np.ones((2, 3)), pa.list_(pa.float32(), 3)),
        (np.ones((2, 3, 4)), pa.list_(pa.list_(pa.float32(), 4), 3)),
        (np.ones(2, np.float16), pa.float32()),
        (torch.ones(2, 3, dtype=torch.bfloat16), pa.list_(pa.float32(), 3)),
        (torch.ones(2, dtype=torch.int32), pa.int32()),
        (["a", None], pa.string()),
    ],
)
def test_what_becomes_of_results(values: Any, kind: pa.DataType) -> None:
    column = to_arrow(values)
    assert column.type == kind
    assert len(column) == len(values)
    if isinstance(values, np.ndarray):
        assert (np.asarray(column.to_pylist()) == values).all()


@pytest.mark.parametrize(
    "make", [lambda: None, lambda: "text", lambda: {"a": [1], "b": [1, 2]}], ids=["none", "string", "lengths"]
)
def test_what_is_no_table(make: Callable[[], Any]) -> None:
    with pytest.raises(Fatal):
        to_table(make(), "model")


def test_a_worker_that_was_started_elsewhere_finds_what_the_user_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a standing cluster: its processes know neither the user's folder nor the PYTHONPATH."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    (tmp_path / "there" / "far_away.py").write_text("FACTOR = 3\n")
    (tmp_path / "here" / "near_by.py").write_text(
        "from far_away import FACTOR\nclass Times:\n    def infer(self, batch):\n        return {'x': [FACTOR] * batch.num_rows}\n"
    )
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "there"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    model: Any = build_model(PythonModel(kind="python", python="near_by:Times"))
    (tmp_path / "model").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, sys, pyarrow as pa; model = pickle.load(open(sys.argv[1], 'rb')); model.load(['cpu']); "
        "print(model.infer(pa.table({'a': [1]})).to_pydict())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout == "{'x': [3]}\n", done.stderr


def test_the_users_folders_come_first_and_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/second", "/other", "/first"])
    importable(("/first", "/second"))
    assert sys.path == ["/first", "/second", "/other"]
