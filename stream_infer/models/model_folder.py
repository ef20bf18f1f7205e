"""The files of a Hugging Face model: a folder, an installed package, or a snapshot from the hub."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

from stream_infer.errors import ConfigError, Retryable
from stream_infer.models.base import Deferred, digest, torch_dtype
from stream_infer.models.settings import TransformersModel

_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py", "*/config.json")
_DIGESTED = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "*.jinja", "*.py", "*/config.json")


class ModelFolder(Deferred):
    """The files of ``model.path``. Local files are located at construction, others are fetched at their first use.

    ``path`` is a folder, ``package:MODULE[/SUB]`` (a folder inside an installed package), or a hub id.

    Raises:
        ConfigError: the folder does not exist or holds no safetensors weights.
    """

    _transient = ("_snapshot",)  # each machine has its own folder for the hub's cache

    def __init__(self, settings: TransformersModel) -> None:
        self._settings = settings
        self._revision = settings.revision
        self._identity: str | None = None
        self._local: Path | None = None
        self._snapshot: Path | None = None
        path = settings.path
        if path.startswith("package:"):
            self._local = _in_package(path)
            self.name = re.split(r"[:/]", path)[1]
        elif Path(path).expanduser().is_dir():
            self._local = Path(path).expanduser().absolute()
            self.name = self._local.name
        elif re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", path):
            self.name = path
            if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
                self._from_hub()
        else:
            raise ConfigError(f"model.path: there is no folder {path}; name a folder, package:MODULE or a hub id")
        if self._local is not None:
            _check(self._local, path)

    @property
    def path(self) -> Path:
        """The folder on this machine; if it is not local, it is fetched from the hub at the pinned revision.

        Raises:
            ConfigError: the hub has no such model, or it has no safetensors weights.
            Retryable: the hub does not answer.
        """
        if self._local is not None:
            if not self._local.is_dir():
                raise ConfigError(
                    f"model.path: there is no folder {self._settings.path} on this machine; put it on every node"
                )
            return self._local
        if self._snapshot is None:  # cached, because each batch needs it and the hub is slow
            folder = self._from_hub()
            _check(folder, self._settings.path)
            # The first commit is used by every later process, so that a branch that moves cannot mix two models.
            self._revision = folder.name
            self._snapshot = folder
        return self._snapshot

    @property
    def identity(self) -> str:
        """``name@digest`` of the files and of the settings that shape the answers."""
        if self._identity is None:
            folder = self.path
            files = {file for pattern in _DIGESTED for file in folder.glob(pattern) if file.is_file()}
            shape = self._settings.model_dump(include={"task", "dtype", "options", "trust_remote_code"})
            self._identity = f"{self.name}@{digest(files, folder, shape)[:12]}"
        return self._identity

    @property
    def weights(self) -> int | None:
        """Bytes of the weights' files, None if they have not been fetched yet."""
        folder = self._local or self._snapshot
        return None if folder is None else sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def json(self, name: str) -> Any:
        """A JSON file of the folder, or None if there is none."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def sentence_config(self) -> dict[str, Any]:
        """The folder's sentence-transformers settings (``max_seq_length``, ``do_lower_case``); empty if it has none."""
        return self.json("sentence_bert_config.json") or {}

    def _from_hub(self) -> Path:
        hub: Any = importlib.import_module("huggingface_hub")
        errors: Any = importlib.import_module("huggingface_hub.errors")
        shown = self._settings.path
        try:
            return Path(hub.snapshot_download(shown, revision=self._revision, allow_patterns=list(_FILES)))
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
            raise ConfigError(
                f"model.path: neither a folder nor a model of the hub is named {shown}; check path and revision"
            ) from None
        except errors.LocalEntryNotFoundError as error:
            if os.environ.get("HF_HUB_OFFLINE"):
                raise ConfigError(
                    f"model.path: there is no folder {shown}, and it is not in the hub's cache while offline"
                ) from None
            raise Retryable(
                f"the model hub did not answer for {shown} ({type(error).__name__})", dependency="hub"
            ) from error
        except OSError as error:
            raise Retryable(
                f"the model hub did not answer for {shown} ({type(error).__name__})", dependency="hub"
            ) from error

    def auto(self, cls: str, **arguments: Any) -> Any:
        """``transformers.CLS.from_pretrained`` of the folder.

        Raises:
            ConfigError: the folder lacks files that the class needs.
        """
        transformers: Any = importlib.import_module("transformers")
        trust = self._settings.trust_remote_code
        try:
            return getattr(transformers, cls).from_pretrained(str(self.path), trust_remote_code=trust, **arguments)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:300]
            task = self._settings.task
            raise ConfigError(f"model.path: {self.name} cannot be loaded for {task} by {cls} ({reason})") from error

    def module(self, cls: str, device: str, spare: tuple[str, ...] = ()) -> tuple[Any, frozenset[str]]:
        """The loaded module in eval mode on the device, and the names of weights that it lacks in its ``spare`` parts.

        Raises:
            ConfigError: the files lack weights that the task needs, which would be random.
        """
        arguments: dict[str, Any] = {"dtype": torch_dtype(self._settings.dtype, device)}
        over_gpus = self._settings.gpus > 1 and device.startswith("cuda")
        if over_gpus:
            if importlib.util.find_spec("accelerate") is None:
                raise ConfigError(
                    "model.gpus: a model that spans GPUs needs the package accelerate; install it or write 1"
                )
            arguments["device_map"] = "auto"
        module, report = self.auto(cls, use_safetensors=True, output_loading_info=True, **arguments)
        missing = frozenset(report["missing_keys"])
        needed = sorted(key for key in missing if not any(part in spare for part in key.split(".")))
        if needed:
            raise ConfigError(
                f"model.path: {self.name} has no weights for {needed[0]}, so {self._settings.task} would answer at random; "
                "name a model trained for the task"
            )
        return (module if over_gpus else module.to(device)).eval(), missing


def _in_package(path: str) -> Path:
    name, _, sub = path.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    roots = [Path(location) / sub for location in (spec.submodule_search_locations or ())] if spec else []
    folders = [file.parent for root in roots for file in root.rglob("config.json")]
    if not folders:
        raise ConfigError(f"model.path: no installed package holds a model at {path}; install it or name a folder")
    return min(folders, key=lambda folder: (len(folder.parts), str(folder)))


def _check(folder: Path, shown: str) -> None:
    if not (folder / "config.json").is_file():
        raise ConfigError(f"model.path: {shown} holds no config.json; name the folder of a Hugging Face model")
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(f"model.path: {shown} holds no .safetensors weights; save it with save_pretrained")
