"""Files of others, fetched on an explicit call: YuNet, published weights, data sets."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.errors import HubError
from fer.hub.failures import client, client_errors, first_line, raise_without_token, reaching_the_hub

if TYPE_CHECKING:
    from torch import nn

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

KAGGLE_TOKEN_HELP = (
    "get a token at https://www.kaggle.com/settings (API, Create New Token) and put kaggle.json into ~/.kaggle/, "
    "or set KAGGLE_USERNAME and KAGGLE_KEY"
)

TIMM_FILE = "model.safetensors"
_FROM_SCRATCH = "train from scratch with --no-pretrained or --recipe best"

_log = logging.getLogger(__name__)


def fetch_yunet(cache_dir: str | Path | None = None, allow_download: bool = True) -> Path:
    """YuNet's model file, from the Hub's local cache or downloaded (230 kB), its SHA-256 checked before use.

    Args:
        cache_dir: Place of the cache; None = huggingface_hub's own (HF_HOME).
        allow_download: False = only look in the cache.

    Raises:
        HubError: not in the cache and not allowed to download, no network, or a file that is not the expected one.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(YUNET_REPO, YUNET_FILE, cache_dir=cache_dir)
    if isinstance(found, str) and _sha256(Path(found)) == YUNET_SHA256:
        return Path(found)
    if not allow_download:
        raise HubError(f"{YUNET_FILE} is not in the local cache, and no download was asked for")
    _log.info("fetching %s from %s", YUNET_FILE, YUNET_REPO)
    damaged = isinstance(found, str)
    with reaching_the_hub(
        f"{YUNET_FILE} could not be fetched from {YUNET_REPO}",
        "or download it by hand and give its path or set FER_YUNET",
        reading=True,
    ) as hub:
        path = Path(hub.hf_hub_download(YUNET_REPO, YUNET_FILE, cache_dir=cache_dir, force_download=damaged))
    got = _sha256(path)
    if got != YUNET_SHA256:
        path.unlink(missing_ok=True)
        raise HubError(f"{YUNET_FILE} from {YUNET_REPO} has SHA-256 {got}, expected {YUNET_SHA256}; it was not used")
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pretrained_net(name: str, cache_dir: str | Path | None = None, **arguments: Any) -> nn.Module:
    """timm's net with its published weights, from the Hub's local cache or downloaded once. Never with random weights.

    Only the classifier is new where `num_classes` differs. For one channel the filters of red, green and blue are
    summed up (timm), so a grey face gives what it would give as RGB.

    Args:
        name: timm's name, best with the tag of the weights: "resnet18.tv_in1k".
        cache_dir: Place of the cache; None = huggingface_hub's own (HF_HOME).
        arguments: For `timm.create_model`.

    Raises:
        HubError: no weights of that name, no network and not in the cache, or a file that is damaged or does not fit.
    """
    from safetensors import SafetensorError, safe_open

    from fer.torchvision_repair import import_repaired

    timm = import_repaired("timm")
    published = timm.get_pretrained_cfg(name) if name in timm.list_pretrained() else None
    if published is None or not published.hf_hub_id:
        raise HubError(f"timm knows no published weights {name!r}; {_FROM_SCRATCH}")
    file = _fetch_weights(published.hf_hub_id, cache_dir)
    try:
        with safe_open(file, framework="pt") as weights:
            there = set(weights.keys())
        net = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **arguments)
    except (SafetensorError, OSError, KeyError, RuntimeError) as e:
        raise HubError(
            f"the weights {name} in {file} are damaged or do not fit ({first_line(e)}); delete the file to have it "
            f"fetched again, or {_FROM_SCRATCH}"
        ) from e
    head = tuple(f"{part}." for part in _as_tuple(published.classifier))
    needed = [k for k in net.state_dict() if not k.startswith(head) and not k.endswith("num_batches_tracked")]
    if absent := [k for k in needed if k not in there]:  # timm would leave these at random
        raise HubError(
            f"the weights {name} in {file} lack {len(absent)} of {len(needed)} tensors, {absent[0]} first; delete the "
            f"file to have it fetched again, or {_FROM_SCRATCH}"
        )
    return net


def _fetch_weights(repo: str, cache_dir: str | Path | None) -> Path:
    """model.safetensors of a repository; no request is made where the cache has it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, TIMM_FILE, cache_dir=cache_dir)
    if isinstance(found, str):
        return Path(found)
    _log.info("fetching %s from %s", TIMM_FILE, repo)
    advice = f"the network is needed once, later runs take the file from the cache; or {_FROM_SCRATCH}"
    with reaching_the_hub(f"ImageNet weights {repo}: download failed", advice, reading=True) as hub:
        return Path(hub.hf_hub_download(repo, TIMM_FILE, cache_dir=cache_dir))


def _as_tuple(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def kaggle_competition(name: str) -> Path:
    """Folder with the files of a Kaggle competition (needs a token and its rules accepted).

    Raises:
        HubError: kagglehub is not installed, no network, no token, or access refused.
    """
    advice = f"{KAGGLE_TOKEN_HELP}; and accept the rules at https://www.kaggle.com/competitions/{name}/rules"
    return _from_kaggle("competition_download", f"Kaggle competition {name}", advice, name)


def kaggle_dataset(handle: str) -> Path:
    """Folder with the files of a Kaggle data set "owner/name".

    Raises:
        HubError: kagglehub is not installed, no network, or access refused.
    """
    return _from_kaggle("dataset_download", f"Kaggle data set {handle}", KAGGLE_TOKEN_HELP, handle)


def hub_dataset(repo_id: str, patterns: Sequence[str] | None = None, revision: str | None = None) -> Path:
    """Folder with the files of a data set on the Hugging Face Hub.

    Args:
        repo_id: "owner/name".
        patterns: Only files that match one of these.
        revision: Branch, tag or commit; None = the newest.

    Raises:
        HubError: huggingface_hub is not installed, no network, or no such repository.
    """
    with reaching_the_hub(f"Hub data set {repo_id}: download failed", reading=True) as hub:
        return Path(hub.snapshot_download(repo_id, repo_type="dataset", allow_patterns=patterns, revision=revision))


def _from_kaggle(function: str, what: str, advice: str, name: str) -> Path:
    kagglehub = client("kagglehub")
    try:
        return Path(getattr(kagglehub, function)(name))
    except client_errors(kagglehub) as e:
        raise_without_token(f"{what}: download failed ({first_line(e)}); {advice}", e)
