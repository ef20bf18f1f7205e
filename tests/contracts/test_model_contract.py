"""Every kind of model passes the suite of models, and the suite catches a model that breaks a promise."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from stream_infer.builders import build_model
from stream_infer.models.batching import BatchedModel
from stream_infer.models.settings import PythonModel, TorchModel, TransformersModel
from stream_infer.ops.demo.run import model_folder
from stream_infer.records import RECORD_FIELDS
from stream_infer.testing import check_model

TEXTS = ["one", "two words", "three small words", "x" * 300]


def _records(**content: Any) -> pa.Table:
    count = len(next(iter(content.values())))
    provenance = [
        pa.array([f"r/{number}" for number in range(count)]),
        pa.array(["s"] * count),
        *(pa.nulls(count, field.type) for field in RECORD_FIELDS[2:]),
    ]
    table = pa.Table.from_arrays(provenance, schema=pa.schema(RECORD_FIELDS))
    for name, values in content.items():
        table = table.append_column(name, pa.array(values))
    return table


def test_a_users_class_passes_the_suite_of_models() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
    check_model(lambda: build_model(PythonModel(kind="python", python="hash_model:Hash")), _records(text=TEXTS))


def test_a_text_model_passes_the_suite_of_models() -> None:
    settings = TransformersModel(kind="transformers", task="feature-extraction", path=str(model_folder()))
    check_model(lambda: build_model(settings), _records(text=TEXTS))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TorchModel:
    (tmp_path / "contract_network.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.linear = torch.nn.Linear(3, 2)\n    def forward(self, batch):\n        return self.linear(batch)\n"
    )
    save_file({"linear.weight": torch.ones(2, 3), "linear.bias": torch.zeros(2)}, tmp_path / "net.safetensors")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return TorchModel(
        kind="torch", weights=str(tmp_path / "net.safetensors"), python="contract_network:Net", input="vector"
    )


def test_a_network_passes_the_suite_of_models(network: TorchModel) -> None:
    vectors = [[1.0, 2.0, 3.0], [0.0, 0.5, 1.0], [9.0, 9.0, 9.0]]
    check_model(lambda: build_model(network), _records(vector=vectors))


class _Length(BatchedModel):
    """How long each text is."""

    identity = "length@1"
    reads: frozenset[str] | None = frozenset({"text"})

    def prepare(self, records: pa.Table) -> pa.Table:
        return records

    def cost(self, prepared: pa.Table) -> Any:
        return [1.0] * prepared.num_rows

    def infer(self, batch: pa.Table) -> pa.Table:
        return pa.table({"length": [len(text) for text in batch.column("text").to_pylist()]})


def test_a_model_of_a_few_lines_passes_the_suite_of_models() -> None:
    check_model(_Length, _records(text=TEXTS))


class _Reordering(_Length):
    """Prepares the records in another order."""

    def prepare(self, records: pa.Table) -> pa.Table:
        return records.take(list(reversed(range(records.num_rows))))


class _Dropping(_Length):
    """Prepares fewer columns than it got."""

    def prepare(self, records: pa.Table) -> pa.Table:
        return records.drop_columns(["key"])


class _Sorting(_Length):
    """Answers in the order of its costs and does not put the answers back."""

    def infer(self, batch: pa.Table) -> pa.Table:
        answers = super().infer(batch).column("length").to_pylist()
        return pa.table({"length": sorted(answers, reverse=True)})


class _Short(_Length):
    """Answers one record too few."""

    def infer(self, batch: pa.Table) -> pa.Table:
        return super().infer(batch).slice(1)


class _Hiding(_Length):
    """Names its answer as a provenance column is named."""

    def infer(self, batch: pa.Table) -> pa.Table:
        return super().infer(batch).rename_columns(["source"])


class _Greedy(_Length):
    """Reads a column that it does not name."""

    def infer(self, batch: pa.Table) -> pa.Table:
        return super().infer(batch) if "key" in batch.column_names else pa.table({"length": [0] * batch.num_rows})


class _Anonymous(_Length):
    """Is another model each time."""

    numbers = itertools.count()

    def __init__(self) -> None:
        self.identity = f"length@{next(self.numbers)}"


class _Free(_Length):
    """Costs nothing that can be counted."""

    def cost(self, prepared: pa.Table) -> Any:
        return [float("nan")] * prepared.num_rows


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_Reordering, "or its order"),
        (_Dropping, "drops provenance column key"),
        (_Sorting, "rows are mixed up"),
        (_Short, "returned 3 rows for 4"),
        (_Hiding, "provenance column's name"),
        (_Greedy, "do not suffice"),
        (_Anonymous, "different identities"),
        (_Free, "one finite number"),
    ],
)
def test_a_broken_model_is_caught(broken: type[_Length], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_model(broken, _records(text=TEXTS))
