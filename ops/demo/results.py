"""The demo's results: rows, a search over them, the audit."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import transformers
from rich.console import Console
from rich.table import Table

from stream_infer import config
from stream_infer.builders import build_model
from stream_infer.ops.parts import S3Server
from stream_infer.pipeline import Pipeline

_QUESTIONS = ("how do I open a network connection", "read a table from a file", "train a neural network")


def show_results(console: Console, pipeline_file: Path, s3: S3Server) -> int:
    """Print some rows, search them and audit them; returns 0 if no record is lost or there twice."""
    rows = _rows(s3)
    table = Table(title=f"{rows.num_rows:,} rows in s3://results/demo/")
    for name in ("record_id", "text", "embedding"):
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=48)
    for row in rows.slice(0, 5).to_pylist():
        numbers = ", ".join(f"{number:.3f}" for number in row["embedding"][:3])
        table.add_row(row["record_id"], " ".join(row["text"].split()), f"[{numbers}, …]")
    console.print(table)
    _search(console, rows, config.load(pipeline_file))
    pipeline = Pipeline.from_file(pipeline_file)
    result = pipeline.audit()
    pipeline.close()
    console.print(
        "audit: " + ", ".join(f"{name} {count:,}" for name, count in result.counts().items()), highlight=False
    )
    return 0 if result.clean else 1


def _rows(s3: S3Server) -> pa.Table:
    client = s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="results", Prefix="demo/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    tables = [
        pq.read_table(io.BytesIO(client.get_object(Bucket="results", Key=key)["Body"].read()), partitioning=None)
        for key in keys
        if key.endswith(".parquet")
    ]
    return pa.concat_tables([table for table in tables if table.num_rows], promote_options="permissive")


def _search(console: Console, rows: pa.Table, settings: config.PipelineSettings) -> None:
    """Search by cosine similarity; the embeddings have length one."""
    transformers.utils.logging.disable_progress_bar()
    model = build_model(settings.model)
    model.load(["cpu"])
    embeddings = np.stack(rows.column("embedding").to_numpy(zero_copy_only=False))
    texts = rows.column("text")
    questions = list(_QUESTIONS)
    while questions or sys.stdin.isatty():
        question = questions.pop(0) if questions else console.input("ask a question (empty line to continue): ").strip()
        if not question:
            return
        prepared = model.prepare(pa.table({"text": [question]}))
        vector = np.asarray(model.run(prepared, settings.model.batch).columns.column("embedding")[0].as_py())
        scores = embeddings @ vector
        console.print(f"[bold]{question}?")
        for index in np.argsort(-scores)[:3]:
            text = " ".join(texts[int(index)].as_py().split())[:100]
            console.print(f"  {scores[index]:.2f}  {text}", highlight=False, markup=False)
