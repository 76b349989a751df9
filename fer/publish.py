"""A checkpoint as a model repository on the Hugging Face Hub: weights, manifest, card, results, training curve."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer import checkpoint, hub, paths
from fer.ancestry import TAUGHT_BY, ancestors
from fer.errors import CheckpointError, ConfigError, DataError, HubError
from fer.evaluation import ModelResult, read_result
from fer.evaluation.results import METRICS
from fer.evaluation.stored import NOTES, read_notes
from fer.files import fresh_folder
from fer.history import HISTORY, fits, read_history
from fer.hub import Plan, Sent
from fer.hub.pull import parse
from fer.model_card import headline_split, repo_name, write_card
from fer.models import get_model
from fer.promotion import better_by, other_net
from fer.terms import LICENSE, license_text, terms_of
from fer.timm_form import TIMM_WEIGHTS, timm_form

CARD = "README.md"
MAIN = "main"
# files that a later push has no more are deleted where an earlier one wrote them
STALE = ("*.safetensors", "*.skops", "*.onnx", "*.json", "results/**", LICENSE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A model repository as a folder.

    Attributes:
        repo: "owner/name".
        folder: Its files, ready to be sent.
        manifest: Of the checkpoint.
    """

    repo: str
    folder: Path
    manifest: checkpoint.Manifest


def repository_of(name_or_path: str | Path, namespace: str, name: str | None = None) -> str:
    """The name, "owner/name", that a checkpoint is published under.

    Args:
        name_or_path: A trained model's name, or a checkpoint.
        namespace: User or organisation.
        name: Of the repository; default: "fer-" and the model's name.

    Raises:
        CheckpointError, ConfigError: no checkpoint, one trained on drawn faces, a name that the Hub does not allow, or
            a token in place of one.
    """
    hub.require_no_tokens(namespace, name)
    return parse(f"hf:{namespace}/{name or repo_name(checkpoint.read_manifest(name_or_path))}").repo


def prepare(
    name_or_path: str | Path,
    repo: str,
    out: str | Path,
    results: str | Path | None = None,
    project_url: str | None = None,
) -> Prepared:
    """Write the folder of a model repository; nothing is sent.

    Args:
        name_or_path: A trained model's name, or a checkpoint.
        repo: See `repository_of`.
        out: Folder to write; replaced where it is there.
        results: Root of the results; default: the committed ones.
        project_url: Where this project lives, for the card.

    Raises:
        CheckpointError, ConfigError: no checkpoint, a damaged one, or a folder that holds other things.
        HubError: huggingface_hub does not accept the card.
    """
    folder = checkpoint.find(name_or_path)
    module, manifest = checkpoint.load_any(folder)
    out = fresh_folder(out, "model repository")
    scored = scored_with(manifest, results)
    form = timm_form(module, manifest)
    shutil.copyfile(folder / str(manifest.weights["file"]), out / str(manifest.weights["file"]))
    if form is None:
        shutil.copyfile(folder / checkpoint.MANIFEST, out / checkpoint.MANIFEST)
    else:
        text = json.dumps(form.config, indent=2, ensure_ascii=False) + "\n"
        (out / checkpoint.MANIFEST).write_text(text, encoding="utf-8")
        if form.weights is not None:
            (out / TIMM_WEIGHTS).write_bytes(form.weights)
    onnx = _copy_exports(folder, manifest, out)
    pictures = _write_results(folder, manifest, scored, out)
    facts = {"pictures": pictures, "onnx": onnx, "timm": form, "project_url": project_url}
    card = write_card(manifest, repo, scored, notes_of(manifest, scored, results), **facts)
    (out / CARD).write_text(card, encoding="utf-8", newline="\n")
    terms = terms_of(manifest)
    text = license_text(terms, (paths.ROOT / LICENSE).read_text(encoding="utf-8") if terms.free else "")
    (out / LICENSE).write_text(text, encoding="utf-8", newline="\n")
    return Prepared(repo, out, manifest)


def require_improvement(manifest: checkpoint.Manifest, repo: str, revision: str | None = None) -> None:
    """Refuse to put a net in the place of a better one, of another one, or of an edited card on a repository's branch.

    The same weights again are no other net, and neither are those of another run of the same model on the same data; of
    these the validation accuracy, which chose their epochs, decides. A branch that is not there yet holds nothing.

    Args:
        manifest: Of the net that is to be published.
        repo: "owner/name".
        revision: Branch; None = main.

    Raises:
        HubError: what is there, and the options that help; or the Hub could not be reached or refused.
    """
    file = hub.present_file(repo, checkpoint.MANIFEST, revision)
    if file is None:
        return
    if edited := hub.edited_texts(repo, revision):
        raise HubError(f"{repo} could not be pushed: {edited}")
    try:
        there = checkpoint.read_manifest(file.parent)
        if there.weights.get("sha256") == manifest.weights.get("sha256"):
            return
        names = repo_name(there), repo_name(manifest)
        if names[0] != names[1]:
            what = f"another net ({names[0]} with {len(there.labels)} classes)"
        elif not (what := other_net(there, manifest)):
            if not (better := better_by(there, manifest)):
                return
            what = f"a net that is {better}"
    except (CheckpointError, ConfigError) as e:
        what = f"something else than a published net of this project ({' '.join(str(e).split())[:200]})"
    branch = "" if revision in (None, MAIN) else f", branch {revision},"
    raise HubError(
        f"{repo}{branch} holds {what}; it was left as it is. --force-push replaces it all the same, --revision BRANCH "
        f"puts this net on {'another branch' if branch else 'a branch beside it'}"
    )


def push(
    prepared: Prepared,
    private: bool = False,
    revision: str | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    force: bool = False,
) -> Sent:
    """Send a prepared folder, see `fer.hub.send_folder`.

    Args:
        force: Even if it replaces a better net, another one, something else altogether, or a README.md or LICENSE that
            was edited by hand, and deletes what matches `STALE`, whoever wrote it.

    Raises:
        HubError: see there and `require_improvement`, which is asked of the branch.
    """
    if not force:
        require_improvement(prepared.manifest, prepared.repo, revision)
    message = f"{prepared.manifest.model}, weights {str(prepared.manifest.weights['sha256'])[:12]}"
    return hub.send_folder(
        prepared.folder,
        prepared.repo,
        message=message,
        private=private,
        revision=revision,
        stale=STALE,
        on_plan=on_plan,
        known_by=() if force else (checkpoint.MANIFEST,),
    )


def push_checkpoint(
    name_or_path: str | Path,
    namespace: str,
    name: str | None = None,
    private: bool = False,
    revision: str | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    force: bool = False,
) -> Sent:
    """Publish one checkpoint: `prepare` in a temporary folder, then `push`.

    Args:
        name_or_path: A trained model's name, a checkpoint, or a finished run.
        namespace: User or organisation.
        name: See `repository_of`.
        private, revision, on_plan, force: See `push`.

    Returns:
        Address, commit and what was sent.

    Raises:
        As the two functions say.
    """
    repo = repository_of(name_or_path, namespace, name)
    with tempfile.TemporaryDirectory(prefix="fer-push-") as place:
        return push(prepare(name_or_path, repo, Path(place) / "repository"), private, revision, on_plan, force)


def scored_with(manifest: checkpoint.Manifest, root: str | Path | None = None) -> list[ModelResult]:
    """What was scored with exactly these weights, one result per data set, the one they were trained on first."""
    base, sha256 = Path(root or paths.results_dir()), manifest.weights.get("sha256")
    found: dict[str, ModelResult] = {}
    for path in sorted(base.glob(f"*/*/{METRICS}")):
        try:
            result = read_result(path.parent)
        except DataError:  # somebody else's, or an unfinished one: it cannot be of these weights
            continue
        if (result.metrics.get("checkpoint") or {}).get("sha256") == sha256:
            found.setdefault(str(result.metrics["data"]["name"]), result)
    return sorted(found.values(), key=lambda r: r.metrics["data"]["name"] != manifest.data.get("name"))


def _copy_exports(folder: Path, manifest: checkpoint.Manifest, out: Path) -> dict[str, dict[str, Any]]:
    """ONNX files that were made from these weights, each with its JSON; others stay here. Returns name -> JSON."""
    made = {}
    for path in sorted(folder.glob("*.onnx")):
        try:
            info = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            fits = info["checkpoint_sha256"] == manifest.weights["sha256"]
            whole = info["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError) as e:
            _log.warning("%s is left out: nothing beside it says what it was made from (%s)", path, e)
            continue
        if not (fits and whole):
            _log.warning("%s is left out: it was not made from these weights; export it again", path)
            continue
        for file in (path, path.with_suffix(".json")):
            shutil.copyfile(file, out / file.name)
        made[path.name] = info
    return made


def _write_results(
    folder: Path, manifest: checkpoint.Manifest, scored: Sequence[ModelResult], out: Path
) -> dict[str, str]:
    """Scores, confusion matrix and training curve below results/; returns picture -> path in the repository."""
    from fer.evaluation import figures

    pictures: dict[str, str] = {}
    for result in scored:
        place = Path("results") / str(result.metrics["data"]["name"])
        (out / place).mkdir(parents=True)
        shutil.copyfile(Path(result.folder or "") / METRICS, out / place / METRICS)
        path = (place / "confusion_matrix.png").as_posix()
        figures.save(figures.confusion_matrix(result, headline_split(result)), out / path)
        pictures.setdefault("confusion_matrix", path)
    history = read_history(folder) or next((r.history for r in scored if fits(r.history, manifest.training)), [])
    if history:
        title = get_model(manifest.model).SPEC.title
        curve = figures.history(ModelResult(manifest.model, title, {}, None, history))
        (out / "results").mkdir(exist_ok=True)
        pictures["history"] = f"results/{HISTORY.removesuffix('.jsonl')}.png"
        figures.save(curve, out / pictures["history"])
        lines = "".join(json.dumps(epoch) + "\n" for epoch in history)
        (out / "results" / HISTORY).write_text(lines, encoding="utf-8", newline="\n")
    return pictures


def notes_of(
    manifest: checkpoint.Manifest, scored: Sequence[ModelResult] = (), results: str | Path | None = None
) -> list[str]:
    """Sentences about these weights, and about those they were made from, that stand beside results (`NOTES`).

    Args:
        scored: What was scored with these weights, see `scored_with`.
        results: Root of the results; default: that of `scored`, else the committed ones.

    Raises:
        DataError: damaged notes.
    """
    folders = [Path(r.folder).parent for r in scored if r.folder]
    root = Path(results or (folders[0].parent if folders else paths.results_dir()))
    written: dict[str, str] = {}
    for path in sorted(root.glob(f"*/{NOTES}")):
        written |= read_notes(root, path.parent.name)
    sha256 = str(manifest.weights.get("sha256", ""))
    found = [written[sha256]] if sha256 in written else []
    for other in ancestors(manifest):
        if other.sha256 in written:
            what = "Its teacher was" if other.role == TAUGHT_BY else "It began with"
            whose = "whose weights have" if other.sure else "and the weights that have this name now have"
            found.append(f"{what} `{other.model}`, {whose} a note of their own: {written[other.sha256]}")
    return list(dict.fromkeys(found))
