"""Text tasks over tiny models: each gives the answers of the library's own pipeline for one text at a time."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from stream_infer.builders import build_model
from stream_infer.config import Batch
from stream_infer.errors import ConfigError, RejectRecord
from stream_infer.models.batching import run_batched
from stream_infer.models.settings import TransformersModel

WORDS = "the cat sat on a mat while green dogs ran far from old red boats . this example is sport politics"
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
TEXTS = ["the cat sat on a mat", "green dogs ran", "old red boats . " * 6, "a", "far from the boats zebra"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *WORDS.split()])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    boundary_tokens = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=boundary_tokens
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **SPECIAL)


def _saved(folder: Path, tokenizer: Any, cls: str, **settings: Any) -> str:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=0, initializer_range=0.5, **settings,
    )  # fmt: skip
    getattr(transformers, cls)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _run(task: Any, folder: str, texts: list[str], **options: Any) -> pa.Table:
    made = build_model(TransformersModel(kind="transformers", task=task, path=folder, options=options))
    model: Any = pickle.loads(pickle.dumps(made))
    model.load(["cpu"])
    prepared = model.prepare(pa.table({"text": texts}))
    assert model.reads is not None
    assert set(prepared.column_names) <= model.reads
    inferred = run_batched(model, prepared, Batch(tokens=40, rows=3))
    assert not inferred.rejects
    assert inferred.batches > 1
    return inferred.columns


def _pipeline(task: Any, folder: str, **options: Any) -> Any:
    return transformers.pipeline(task, model=folder, device="cpu", **options)


def test_text_classification(tmp_path: Path, tokenizer: Any) -> None:
    labels = {0: "low", 1: "mid", 2: "high"}
    folder = _saved(tmp_path, tokenizer, "BertForSequenceClassification", id2label=labels, label2id={})
    ours, theirs = _run("text-classification", folder, TEXTS), _pipeline("text-classification", folder)(TEXTS)
    assert ours.column("label").to_pylist() == [answer["label"] for answer in theirs]
    assert np.allclose(ours.column("score").to_pylist(), [answer["score"] for answer in theirs], atol=1e-5)


def test_token_classification(tmp_path: Path, tokenizer: Any) -> None:
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    folder = _saved(tmp_path, tokenizer, "BertForTokenClassification", id2label=dict(enumerate(names)), label2id={})
    ours = _run("token-classification", folder, TEXTS).column("entities").to_pylist()
    pipeline = _pipeline("token-classification", folder, aggregation_strategy="simple")
    for mine, theirs in zip(ours, [pipeline(text) for text in TEXTS], strict=True):
        assert [(e["entity"], e["start"], e["end"]) for e in mine] == [
            (e["entity_group"], e["start"], e["end"]) for e in theirs
        ]
        assert np.allclose([e["score"] for e in mine], [e["score"] for e in theirs], atol=1e-5)
    assert any(ours)


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot(tmp_path: Path, tokenizer: Any, multi_label: bool) -> None:
    ids = {"contradiction": 0, "neutral": 1, "entailment": 2}
    named = {index: name for name, index in ids.items()}
    folder = _saved(tmp_path, tokenizer, "BertForSequenceClassification", id2label=named, label2id=ids)
    labels = ["sport", "politics", "red boats"]
    ours = _run("zero-shot-classification", folder, TEXTS, labels=labels, multi_label=multi_label)
    theirs = _pipeline("zero-shot-classification", folder)(TEXTS, candidate_labels=labels, multi_label=multi_label)
    assert ours.column("label").to_pylist() == [answer["labels"][0] for answer in theirs]
    for scores, answer in zip(ours.column("scores").to_pylist(), theirs, strict=True):
        expected = dict(zip(answer["labels"], answer["scores"], strict=True))
        assert np.allclose(scores, [expected[label] for label in labels], atol=1e-5)


def test_fill_mask(tmp_path: Path, tokenizer: Any) -> None:
    folder = _saved(tmp_path, tokenizer, "BertForMaskedLM")
    texts = ["the [MASK] sat on a mat", "green dogs [MASK]", "[MASK] red boats ."]
    ours, theirs = _run("fill-mask", folder, texts * 4), _pipeline("fill-mask", folder)(texts, top_k=1)
    best = [answer[0] if isinstance(answer, list) else answer for answer in theirs]
    assert ours.column("token").to_pylist() == [answer["token_str"] for answer in best] * 4
    assert np.allclose(ours.column("score").to_pylist(), [answer["score"] for answer in best] * 4, atol=1e-5)
    model: Any = build_model(TransformersModel(kind="transformers", task="fill-mask", path=folder))
    with pytest.raises(RejectRecord, match="MASK"):
        model.prepare(pa.table({"text": ["no mask here"]}))


def test_text_generation(tmp_path: Path, tokenizer: Any) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5,
        bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    network = transformers.GPT2LMHeadModel(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ours = _run("text-generation", str(tmp_path), TEXTS, max_new_tokens=6).column("generated").to_pylist()
    for text, mine in zip(TEXTS, ours, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        tokens = network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
        assert mine == tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)


def test_max_length_cuts_and_costs(tmp_path: Path, tokenizer: Any) -> None:
    folder = _saved(tmp_path, tokenizer, "BertModel")
    records = pa.table({"text": TEXTS})
    for options, most in (({"max_length": 5}, 5), ({}, 64)):
        settings = TransformersModel(kind="transformers", task="feature-extraction", path=folder, options=options)
        model: Any = build_model(settings)
        cost = model.cost(model.prepare(records))
        assert cost.tolist() == [min(len(tokenizer(text).input_ids), most) for text in TEXTS]


def test_what_is_no_text_is_rejected_and_numbers_are_text(tmp_path: Path, tokenizer: Any) -> None:
    folder = _saved(tmp_path, tokenizer, "BertModel")
    model: Any = build_model(TransformersModel(kind="transformers", task="feature-extraction", path=folder))
    assert model.prepare(pa.table({"text": [1, 20]})).column("text").to_pylist() == ["1", "20"]
    assert model.prepare(pa.table({"text": pa.array([b"cat"])})).column("text").to_pylist() == ["cat"]
    for column, reason in (
        ({"text": [None]}, "null"),
        ({"other": ["cat"]}, "no_input"),
        ({"text": [{"a": 1}]}, "not_text"),
        ({"text": [b"\xff"]}, "not_text"),
    ):
        with pytest.raises(RejectRecord) as rejected:
            model.prepare(pa.table(column))
        assert rejected.value.reason == reason


def test_weights_must_be_safetensors_and_whole(tmp_path: Path, tokenizer: Any) -> None:
    folder = _saved(tmp_path, tokenizer, "BertModel")
    classifier = build_model(TransformersModel(kind="transformers", task="text-classification", path=folder))
    with pytest.raises(ConfigError, match="at random"):
        classifier.load(["cpu"])
    before = classifier.identity
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    changed = build_model(TransformersModel(kind="transformers", task="text-classification", path=folder))
    assert changed.identity != before
    weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        build_model(TransformersModel(kind="transformers", task="feature-extraction", path=folder))
