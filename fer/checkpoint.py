"""Checkpoints: weights (safetensors or skops, never pickle) beside a manifest that says all one needs to use them."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fer import hub, packing, settings
from fer.errors import CheckpointError, ConfigError, unknown_name
from fer.files import replacing
from fer.hub.pull import NESTED
from fer.labels import LABEL_SETS, LabelSet
from fer.models import MODELS, get_model
from fer.paths import checkpoints_dir
from fer.specs import InputSpec, Recipe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from fer.models.estimator import Estimator

FORMAT = "fer-checkpoint"
SCHEMA = 2  # 1 had no conformal thresholds
WEIGHTS = "model.safetensors"
SKOPS = "model.skops"
MANIFEST = "config.json"

# what zipfile, json, NumPy and skops raise on bytes that are not such a file
_NO_SKOPS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Manifest:
    """What stands in `config.json`. Loading reads this, never a file name.

    Attributes:
        model, model_args: Key of MODELS and the arguments of its `build`.
        label_set, labels: Name and class names in order of the outputs.
        input: Preprocessing.
        recipe: The resolved recipe it was trained with.
        data: name, fingerprint, n_train, n_val.
        seed, git_commit, versions, created: Where it comes from.
        weights: file, sha256, dtype, parameters; for int8 also made_from (SHA-256 of the same in half precision) and,
            where it was measured, accuracy (data, split, title, n, float16, int8: validation, 0..1).
        training: epochs, seconds, device, images_per_second, best_epoch, val_accuracy, teacher, pretrained,
            extra_annotation, ancestors (see `fer.ancestry`).
        temperature: Divides the logits; fitted on the validation split (Guo et al. 2017).
        conformal: data, split, n (validation faces they were fitted on) and thresholds (wanted coverage -> probability
            that a class must reach, see `fer.evaluation.conformal`); empty where none were fitted.
    """

    model: str
    labels: tuple[str, ...]
    label_set: str
    input: InputSpec
    recipe: Recipe
    model_args: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    git_commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    weights: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    conformal: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, with format and schema version."""
        return {"format": FORMAT, "schema": SCHEMA} | settings.to_dict(self)

    @property
    def classical(self) -> bool:
        """Whether it is a model without a net, told by its weights file: no model's code is imported."""
        return Path(str(self.weights.get("file", WEIGHTS))).suffix == Path(SKOPS).suffix

    @property
    def classes(self) -> LabelSet:
        """The label set of the outputs."""
        return LabelSet(self.label_set, self.labels)


def trained_models(root: str | Path | None = None) -> list[str]:
    """Names of the models that have a checkpoint, in the order of the table MODELS."""
    root = Path(root) if root else checkpoints_dir()
    return [name for name in MODELS if (root / name / MANIFEST).is_file()]


def bundled_weights(root: str | Path | None = None) -> dict[str, str]:
    """Which weights lie in checkpoints/, by the manifests alone; a damaged one is left out.

    Returns:
        SHA-256 of weights -> name of the model that has them, or the int8 form of them.
    """
    root = Path(root) if root else checkpoints_dir()
    found: dict[str, str] = {}
    for name in trained_models(root):
        try:
            weights = read_manifest(root / name).weights
        except CheckpointError:
            continue
        found |= {str(weights[key]): name for key in ("sha256", "made_from") if weights.get(key)}
    return found


def find(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint, by model name or by path (folder, config.json or weights file).

    "hf:NAME/repo" and "hf:NAME/repo@revision" mean a repository on the Hugging Face Hub, which is fetched.

    Raises:
        CheckpointError: nothing there; says what there is.
        ConfigError: a name that is no model.
        HubError: a repository that cannot be had, or bytes that are not those of its manifest.
    """
    if hub.is_hub_name(name_or_path):
        return hub.fetch_checkpoint(str(name_or_path), MANIFEST, (WEIGHTS, SKOPS))
    path = Path(name_or_path)
    try:
        path = path.expanduser()
        path.stat()  # says more than is_file() does
    except FileNotFoundError:
        pass
    except (RuntimeError, OSError, ValueError) as e:
        raise CheckpointError(f"{str(name_or_path)[:80]!r} is neither a model nor a usable path ({e})") from e
    if path.is_file() and path.name in (MANIFEST, WEIGHTS, SKOPS):
        path = path.parent
    if path.is_dir() and (path / MANIFEST).is_file():
        return path
    name = str(name_or_path)
    if name in MODELS:
        folder = checkpoints_dir() / name
        if (folder / MANIFEST).is_file():
            return folder
        have = ", ".join(trained_models()) or "none"
        raise CheckpointError(
            f"{name} has no checkpoint in {folder.parent} (there: {have}); "
            f"train it with: python scripts/train.py --model {name} --promote"
        )
    if path.exists():
        raise CheckpointError(
            f"{path} is not a checkpoint: a folder with {MANIFEST} and {WEIGHTS} or {SKOPS} was expected"
        )
    if "/" in name or "\\" in name or path.suffix:
        raise CheckpointError(f"{path}: no such checkpoint")
    raise unknown_name("model", name, MODELS, "See scripts/train.py --list.")


def read_manifest(name_or_path: str | Path) -> Manifest:
    """The manifest of a checkpoint, checked.

    Raises:
        CheckpointError: damaged, foreign, newer schema, or contents that do not fit together.
    """
    file = find(name_or_path) / MANIFEST
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise CheckpointError(f"{file}: damaged, not readable as JSON ({e})") from e
    if isinstance(raw, dict) and isinstance(raw.get(NESTED), dict):
        raw = raw[NESTED]
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise CheckpointError(f"{file}: not a checkpoint of this project (its format is not {FORMAT!r})")
    schema = raw.get("schema")
    if not isinstance(schema, int):
        raise CheckpointError(f"{file}: damaged, its schema must be a whole number, got {schema!r}")
    if schema > SCHEMA:
        raise CheckpointError(f"{file}: schema {schema} is newer than {SCHEMA}, which this version reads; update fer")
    body = {k: v for k, v in raw.items() if k not in ("format", "schema")}
    try:
        manifest = settings.from_dict(Manifest, body)
        if manifest.model not in MODELS:
            raise unknown_name("model", manifest.model, MODELS, "See scripts/train.py --list.")
        manifest.classes  # noqa: B018  (checks the names)
        known = LABEL_SETS.get(manifest.label_set)
        if known and known.names != manifest.labels:
            raise CheckpointError(f"{file}: its classes {manifest.labels} are not those of {known.name}, {known.names}")
        if not manifest.temperature > 0:
            raise CheckpointError(f"{file}: temperature must be positive, got {manifest.temperature}")
        if not all(0 <= float(v) <= 1 for v in dict(manifest.conformal.get("thresholds", {})).values()):
            raise CheckpointError(f"{file}: conformal thresholds must be probabilities, got {manifest.conformal}")
    except (TypeError, KeyError, ValueError, ConfigError) as e:
        raise CheckpointError(f"{file}: damaged or from another version: {e}") from e
    return manifest


def load_module(name_or_path: str | Path) -> tuple[nn.Module, Manifest]:
    """The net in float32 and eval mode, and its manifest. The bytes are checked against the recorded SHA-256.

    Raises:
        CheckpointError: see `read_manifest`; or weights that are absent, changed or do not fit the net.
        ConfigError: a model that is no torch net.
    """
    folder = find(name_or_path)
    manifest = read_manifest(folder)
    if get_model(manifest.model).SPEC.backend != "torch":
        raise ConfigError(
            f"{name_or_path} is a {manifest.model}, which holds no torch net: it can neither teach one, nor lend it "
            "weights; name the checkpoint of a net"
        )
    file, data = _weights(folder, manifest, WEIGHTS)
    # the weights come from the file; nobody has to fetch those that training began with
    module = _build(folder, manifest, {k: v for k, v in manifest.model_args.items() if k != "pretrained"})
    try:
        module.load_state_dict(packing.from_bytes(data, manifest.weights.get("dtype")))
    except CheckpointError as e:
        raise CheckpointError(f"{file}: {e}") from e
    except RuntimeError as e:
        raise CheckpointError(f"{file}: weights do not fit {manifest.model}: {e}") from e
    return module.eval(), manifest


def load_estimator(name_or_path: str | Path) -> tuple[Estimator, Manifest]:
    """A model without a net (backend "classical") and its manifest; checked like `load_module`.

    The file holds plain arrays and nothing else: any other type in it is refused before it is made.

    Raises:
        CheckpointError: see `read_manifest`; or weights that are absent, changed, foreign or do not fit.
        ConfigError: a model that is a torch net.
    """
    import numpy as np
    from skops import io
    from skops.io.exceptions import UntrustedTypesFoundException

    folder = find(name_or_path)
    manifest = read_manifest(folder)
    if get_model(manifest.model).SPEC.backend != "classical":
        raise ConfigError(f"{name_or_path} is a {manifest.model}, a torch net; fer.load loads either")
    file, data = _weights(folder, manifest, SKOPS)
    try:
        if found := io.get_untrusted_types(data=data):
            raise CheckpointError(f"{file}: holds types that are not trusted ({', '.join(found)}); only arrays are")
        state = io.loads(data, trusted=[])
    except UntrustedTypesFoundException as e:
        raise CheckpointError(f"{file}: holds types that are not trusted ({e}); only arrays are") from e
    except _NO_SKOPS as e:
        raise CheckpointError(f"{file}: not a skops file ({e})") from e
    if type(state) is not dict or not all(type(v) is np.ndarray for v in state.values()):
        raise CheckpointError(f"{file}: not the weights of a {manifest.model}: named arrays were expected")
    try:
        return cast("Estimator", _build(folder, manifest, manifest.model_args)).load_state(state), manifest
    except ValueError as e:
        raise CheckpointError(f"{file}: weights do not fit {manifest.model}: {e}") from e


def verify(name_or_path: str | Path) -> Manifest:
    """The manifest of a checkpoint whose weights are there and are those that it means; no net is made.

    Raises:
        CheckpointError: see `read_manifest`; or weights that are absent or changed.
    """
    folder = find(name_or_path)
    manifest = read_manifest(folder)
    _weights(folder, manifest, WEIGHTS)
    return manifest


def _weights(folder: Path, manifest: Manifest, default: str) -> tuple[Path, bytes]:
    """The file of the weights and its bytes, which are those that the manifest means."""
    file = folder / Path(str(manifest.weights.get("file", default))).name
    try:
        data = file.read_bytes()
    except OSError as e:
        raise CheckpointError(f"{file}: the weights are absent or unreadable ({e.strerror})") from e
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.weights.get("sha256"):
        expected = str(manifest.weights.get("sha256"))
        raise CheckpointError(
            f"{file}: damaged or changed, its SHA-256 {digest[:12]}... is not {expected[:12]}... of the manifest; "
            "fetch or train it again"
        )
    return file, data


def _build(folder: Path, manifest: Manifest, args: Mapping[str, Any]) -> nn.Module:
    try:
        return get_model(manifest.model).build(len(manifest.labels), manifest.input, **args)
    except (TypeError, ValueError, ConfigError) as e:
        raise CheckpointError(f"{folder / MANIFEST}: its model arguments do not fit {manifest.model}: {e}") from e


def load_any(name_or_path: str | Path) -> tuple[nn.Module | Estimator, Manifest]:
    """What a checkpoint holds, whatever it runs on."""
    folder = find(name_or_path)
    backend = get_model(read_manifest(folder).model).SPEC.backend
    return load_module(folder) if backend == "torch" else load_estimator(folder)


def save(
    folder: str | Path, state: Mapping[str, torch.Tensor], manifest: Manifest, dtype: str = packing.FLOAT16
) -> Path:
    """Write weights, then manifest, each in one piece: a half-written file never replaces a good one.

    Args:
        state: A module's state dict.
        dtype: Of matrices and filters, see `fer.packing`; vectors (norms, biases) stay float32.

    Returns:
        The folder.
    """
    return _write(Path(folder), WEIGHTS, packing.to_bytes(state, dtype), manifest, dtype)


def save_estimator(folder: str | Path, state: Mapping[str, np.ndarray], manifest: Manifest) -> Path:
    """`save` for a model without a net: its arrays as they are, compressed.

    Args:
        state: What `Estimator.state` gives.

    Returns:
        The folder.
    """
    from skops import io

    data = io.dumps(dict(state), compression=zipfile.ZIP_DEFLATED, compresslevel=9)
    return _write(Path(folder), SKOPS, data, manifest, "float16")


def _write(folder: Path, name: str, data: bytes, manifest: Manifest, dtype: str) -> Path:
    write_atomic(folder / name, data)
    write_manifest(folder, with_weights(manifest, name, data, dtype))
    return folder


def with_weights(manifest: Manifest, name: str, data: bytes, dtype: str, **more: Any) -> Manifest:
    """A manifest that describes a file of weights.

    Args:
        name: Of the file. data: what it holds. dtype: see `fer.packing`.
        more: Further entries of `weights`.
    """
    digest, parameters = hashlib.sha256(data).hexdigest(), manifest.weights.get("parameters", 0)
    weights = {"file": name, "sha256": digest, "dtype": dtype, "parameters": parameters}
    return replace(manifest, weights=weights | more)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace `config.json`."""
    write_atomic(folder / MANIFEST, manifest_bytes(manifest))


def manifest_bytes(manifest: Manifest) -> bytes:
    """What `config.json` holds."""
    return (json.dumps(manifest.to_json(), indent=2, ensure_ascii=False) + "\n").encode()


def set_temperature(folder: str | Path, temperature: float, conformal: Mapping[str, Any] | None = None) -> Manifest:
    """Record the temperature fitted on the validation split, and the conformal thresholds of probabilities so divided.

    Thresholds of another temperature are dropped.
    """
    folder = find(folder)
    manifest = replace(read_manifest(folder), temperature=float(temperature), conformal=dict(conformal or {}))
    write_manifest(folder, manifest)
    return manifest


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes in one piece."""
    with replacing(path) as part:
        part.write_bytes(data)
