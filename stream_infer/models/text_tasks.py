"""The text tasks: tokens of the texts, and output columns of the network's results."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stream_infer.errors import ConfigError, RejectRecord
from stream_infer.models.answers import grouped, labelled, likeliest
from stream_infer.models.base import to_arrow
from stream_infer.models.model_folder import ModelFolder
from stream_infer.models.text_task import OFFSETS, SEQUENCES, TOKENS, TextTask, Work


class FeatureExtraction(TextTask):
    """``embedding``: a unit vector, pooled from the tokens as in the folder's sentence-transformers files (default: mean)."""

    auto = "AutoModel"
    option_names = frozenset({"normalize", "pooling", "max_length"})
    spare = ("pooler",)
    ahead = True

    def __init__(self, options: Mapping[str, Any], folder: ModelFolder) -> None:
        super().__init__(options, folder)
        if options.get("pooling") not in (None, "mean", "cls"):
            raise ConfigError(f"model.options.pooling: {options['pooling']!r} is not known; write mean or cls")

    def encode(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, pa.Array]:
        if self.folder.sentence_config().get("do_lower_case"):
            texts = [text.lower() for text in texts]
        return super().encode(tokenizer, texts, max_length)

    @functools.cached_property
    def pooling(self) -> str:
        """``mean`` or ``cls``.

        Raises:
            ConfigError: the folder needs another layer or another pooling.
        """
        for module in self.folder.json("modules.json") or ():
            kind = str(module["type"]).rpartition(".")[2]
            if kind not in ("Transformer", "Pooling", "Normalize"):
                raise ConfigError(
                    f"model.path: {self.folder.name} has a {kind} layer, which is not supported; use kind: python"
                )
        if "pooling" in self.options:
            return str(self.options["pooling"])
        pooling = self.folder.json("1_Pooling/config.json") or {}
        modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
        named = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
        mode = pooling.get("pooling_mode") or ("+".join(named.get(name, name) for name in modes) or "mean")
        if mode not in ("mean", "cls"):
            raise ConfigError(
                f"model.path: {self.folder.name} pools by {mode}, not supported; set model.options.pooling"
            )
        return str(mode)

    def run(self, work: Work) -> dict[str, Any]:
        import torch

        hidden = work.module(**work.inputs).last_hidden_state.float()
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = work.inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if self.options.get("normalize", True):
            pooled = torch.nn.functional.normalize(pooled, p=2, dim=1)
        return {"embedding": pooled}


class TextClassification(TextTask):
    """``label`` and ``score`` of the most probable class."""

    auto = "AutoModelForSequenceClassification"
    option_names = frozenset({"max_length"})
    ahead = True

    def run(self, work: Work) -> dict[str, Any]:
        return likeliest(work.module(**work.inputs).logits, work.module.config)

    def answer(self, outputs: Mapping[str, Any], config: Any) -> dict[str, pa.Array | pa.ChunkedArray]:
        return labelled(outputs, config)


class TokenClassification(TextTask):
    """``entities``: neighbouring tokens of one class form one entity, without class O. ``start`` and ``end`` count characters."""

    auto = "AutoModelForTokenClassification"
    option_names = frozenset({"max_length"})
    extra = frozenset({OFFSETS})
    entity = pa.list_(
        pa.struct(
            {"entity": pa.string(), "score": pa.float32(), "start": pa.int32(), "end": pa.int32(), "word": pa.string()}
        )
    )

    def encode(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, pa.Array]:
        if not tokenizer.is_fast:
            raise ConfigError(f"model.path: {self.folder.name} has no tokenizer.json, which token-classification needs")
        encoded = self._tokens(tokenizer, texts, max_length, return_offsets_mapping=True)
        flat = [[position for pair in pairs for position in pair] for pairs in encoded["offset_mapping"]]
        return self._columns(encoded, TOKENS) | {OFFSETS: pa.array(flat, TOKENS)}

    def run(self, work: Work) -> dict[str, pa.Array | pa.ChunkedArray]:
        chances = work.module(**work.inputs).logits.float().softmax(-1)
        scores, classes = (tensor.cpu().numpy() for tensor in chances.max(-1))
        names = work.module.config.id2label
        rows = []
        for row, (text, flat) in enumerate(
            zip(work.text.to_pylist(), work.batch.column(OFFSETS).to_pylist(), strict=True)
        ):
            tokens = [
                (names[int(classes[row, index])], float(scores[row, index]), flat[2 * index], flat[2 * index + 1])
                for index in range(len(flat) // 2)
                if flat[2 * index] < flat[2 * index + 1]  # special tokens have no characters
            ]
            rows.append(grouped(tokens, text))
        return {"entities": pa.array(rows, self.entity)}


class ZeroShot(TextTask):
    """``label``, ``score`` and ``scores`` (in the order of ``options.labels``), by the entailment of a hypothesis for each label."""

    auto = "AutoModelForSequenceClassification"
    option_names = frozenset({"labels", "hypothesis_template", "multi_label", "max_length"})

    def __init__(self, options: Mapping[str, Any], folder: ModelFolder) -> None:
        super().__init__(options, folder)
        labels = options.get("labels")
        if not isinstance(labels, Sequence) or isinstance(labels, str) or not labels:
            raise ConfigError("model.options.labels: is missing; write the list of labels to choose from")
        self._labels = [str(label) for label in labels]
        template = str(options.get("hypothesis_template", "This example is {}."))
        if "{}" not in template:
            raise ConfigError("model.options.hypothesis_template: holds no {}; write it where the label goes")
        self._hypotheses = [template.replace("{}", label) for label in self._labels]

    def encode(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, pa.Array]:
        count = len(self._labels)
        premises = [text for text in texts for _ in range(count)]
        hypotheses = self._hypotheses * len(texts)
        encoded = self._tokens(tokenizer, premises, max_length, text_pair=hypotheses, truncation="only_first")
        grouped_by_text = {
            name: [values[start : start + count] for start in range(0, len(values), count)]
            for name, values in encoded.items()
        }
        return self._columns(grouped_by_text, SEQUENCES)

    def run(self, work: Work) -> dict[str, pa.Array | pa.ChunkedArray]:
        import torch

        ids = {str(name).lower(): index for name, index in work.module.config.label2id.items()}
        entailment = next((index for name, index in ids.items() if name.startswith("entail")), -1)
        logits = work.module(**work.inputs).logits.float()
        if self.options.get("multi_label", False) or len(self._labels) == 1:
            pair = torch.stack([logits[:, -1 if entailment == 0 else 0], logits[:, entailment]], -1)
            chances = pair.softmax(-1)[:, 1].reshape(-1, len(self._labels))
        else:
            chances = logits[:, entailment].reshape(-1, len(self._labels)).softmax(-1)
        scores = chances.cpu().numpy()
        best = scores.argmax(-1)
        return {
            "label": pa.array([self._labels[index] for index in best], pa.string()),
            "score": pa.array(scores[np.arange(len(best)), best], pa.float32()),
            "scores": pa.array(list(scores), pa.list_(pa.float32())),
        }


class FillMask(TextTask):
    """``token`` and ``score`` for the first mask token of the text."""

    auto = "AutoModelForMaskedLM"
    option_names = frozenset({"max_length"})
    spare = ("pooler",)

    def encode(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, pa.Array]:
        encoded = self._tokens(tokenizer, texts, max_length)
        if tokenizer.mask_token_id is None:
            raise ConfigError(f"model.path: {self.folder.name} has no mask token; name a model trained for fill-mask")
        if any(tokenizer.mask_token_id not in ids for ids in encoded["input_ids"]):
            raise RejectRecord(f"the text has no {tokenizer.mask_token} within {max_length} tokens", reason="no_mask")
        return self._columns(encoded, TOKENS)

    def run(self, work: Work) -> dict[str, pa.Array | pa.ChunkedArray]:
        import torch

        # argmax returns the first of equal values on CPUs only; falling weights make it the first everywhere
        is_mask = (work.inputs["input_ids"] == work.tokenizer.mask_token_id).int()
        falling = torch.arange(is_mask.shape[1], 0, -1, device=is_mask.device)
        positions = (is_mask * falling).argmax(1)
        logits = work.module(**work.inputs).logits
        chances = logits[torch.arange(len(positions), device=positions.device), positions].float().softmax(-1)
        scores, tokens = (tensor.cpu() for tensor in chances.max(-1))
        words = [work.tokenizer.decode([token]) for token in tokens.tolist()]
        return {"token": pa.array(words, pa.string()), "score": to_arrow(scores)}


class TextGeneration(TextTask):
    """``generated``: the continuation without the prompt; greedy unless ``do_sample`` is set."""

    auto = "AutoModelForCausalLM"
    option_names = frozenset(
        {"max_new_tokens", "max_length", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty"}
    )
    pad_left = True

    def added_tokens(self) -> int:
        return int(self.options.get("max_new_tokens", 64))

    def run(self, work: Work) -> dict[str, pa.Array | pa.ChunkedArray]:
        inputs = {name: tensor for name, tensor in work.inputs.items() if name != "token_type_ids"}
        arguments = {
            name: value for name, value in self.options.items() if name not in ("max_length", "max_new_tokens")
        }
        arguments.setdefault("do_sample", False)
        tokens = work.module.generate(**inputs, max_new_tokens=self.added_tokens(), **arguments)
        fresh = tokens[:, inputs["input_ids"].shape[1] :].cpu().tolist()
        return {"generated": pa.array(work.tokenizer.batch_decode(fresh, skip_special_tokens=True), pa.string())}


def text_task(task: str, options: Mapping[str, Any], folder: ModelFolder) -> TextTask:
    """The task with this name."""
    kinds: dict[str, type[TextTask]] = {
        "feature-extraction": FeatureExtraction,
        "text-classification": TextClassification,
        "token-classification": TokenClassification,
        "zero-shot-classification": ZeroShot,
        "fill-mask": FillMask,
        "text-generation": TextGeneration,
    }
    return kinds[task](options, folder)
