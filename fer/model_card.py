"""The model card (README.md of a model repository on the Hub), written from the manifest and results/."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fer.ancestry import BEGAN_WITH, IMAGENET, VOTES, ancestors, is_unlike, own_data, scored_data
from fer.checkpoint import Manifest
from fer.data_names import is_synthetic
from fer.errors import ConfigError, HubError
from fer.models import get_model
from fer.models.ablation import changed_by
from fer.packing import FLOAT16, INT8
from fer.specs import Phase
from fer.terms import WHY_MIT, data_note, from_others, net_named, shown, taught, terms_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from fer.evaluation import ModelResult
    from fer.timm_form import TimmForm


INTENDED = """- Study and teaching: how such nets are trained, compared, calibrated and explained.
- Sorting or searching one's own pictures, toys and art, where a wrong answer costs nothing.

The net takes the crop of one face; `fer.analyze` finds the faces in a picture first."""

LIMITS = """- **An expression is not a feeling.** The net guesses which of {n} words people chose for a face.
  What somebody feels cannot be read from a face with any certainty (Barrett et al. 2019, *Emotional Expressions
  Reconsidered*).
- It should decide nothing about anybody: not hiring, schooling, credit, health, policing or border control. In the
  European Union, inferring emotions at work and in education is forbidden (AI Act, Article 5 (1) f).
- Whose faces it learnt from is not documented, and neither is how it fares by age, sex, skin colour or culture. Expect
  it to be worse for whoever was rare in the data. Nothing of this was measured here.
- Faces that are turned, covered, badly lit, very small, drawn or of children are answered with less ground.
  Probabilities are calibrated for pictures like those it was tested on and for no others.
- People whose faces are analysed should know it and agree."""

_PICTURES = "The pictures that it learnt from keep terms of their own."


def write_card(
    manifest: Manifest, repo: str, results: Sequence[ModelResult] = (), notes: Sequence[str] = (), **facts: Any
) -> str:
    """The content of README.md: metadata with the scores as `model-index`, then the text.

    Args:
        manifest: Of the checkpoint.
        repo: "owner/name".
        results: What was scored with exactly these weights; the data set it was trained on first.
        notes: Sentences about the protocol that no number tells.
        facts: `pictures` (name -> path in the repository), `onnx` (file -> content of the JSON beside it), `timm`
            (TimmForm) and `project_url` (where this project lives), where there are.

    Raises:
        HubError: huggingface_hub does not accept the metadata.
    """
    from huggingface_hub import ModelCard

    data = _metadata(manifest, repo, results, facts.get("timm"))
    body = "\n\n".join(_sections(manifest, repo, results, notes, **facts))
    try:
        card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")
        if card.data.to_dict() != data.to_dict():
            raise ValueError("its metadata do not read as they were written")
    except ValueError as e:
        raise HubError(f"the card of {repo} is not accepted by huggingface_hub: {e}") from e
    return str(card)


def _metadata(manifest: Manifest, repo: str, results: Sequence[ModelResult], timm: TimmForm | None) -> Any:
    from huggingface_hub import ModelCardData

    tags = ["facial-expression-recognition", "emotion-recognition", "image-classification", manifest.model]
    scores = [e for r in results for e in _eval_results(r)]
    return ModelCardData(
        **terms_of(manifest).strictest.metadata(),
        library_name="timm" if timm and not timm.more else "facial-expression-lab",
        pipeline_tag="image-classification",
        tags=tags + (["timm"] if timm else []),
        metrics=["accuracy", "f1"] if scores else None,
        model_name=repo.split("/")[-1] if scores else None,
        eval_results=scores or None,
    )


def _eval_results(result: ModelResult) -> list[EvalResult]:
    """Accuracy and macro-F1 of one view per face on the split that counts; nothing of one that only chose."""
    from huggingface_hub import EvalResult

    if (split := headline_split(result)) != "test":
        return []
    scores, name = result.scores(split), str(result.metrics["data"]["name"])
    where = {
        "task_type": "image-classification",
        "task_name": "Facial expression recognition",
        "dataset_type": name,
        "dataset_name": f"{_scored_on(result, split)} ({result.split_title(split)})",
        "dataset_split": split,
    }
    named = (("accuracy", "Accuracy", "accuracy"), ("f1", "Macro F1", "macro_f1"))
    return [
        EvalResult(**where, metric_type=kind, metric_name=title, metric_value=round(scores[key], 4))  # type: ignore[arg-type]
        for kind, title, key in named
    ]


def headline_split(result: ModelResult) -> str:
    """The split whose scores count: the test split where it was scored."""
    return "test" if "test" in result.splits else result.splits[-1]


def _sections(
    manifest: Manifest,
    repo: str,
    results: Sequence[ModelResult],
    notes: Sequence[str],
    pictures: Mapping[str, str] | None = None,
    onnx: Mapping[str, Mapping[str, Any]] | None = None,
    timm: TimmForm | None = None,
    project_url: str | None = None,
) -> list[str]:
    spec, pictures = get_model(manifest.model).SPEC, pictures or {}
    out = [f"# {spec.title}: which expression does a face show?", _opening(manifest)]
    out += ["## Load it", installing(project_url), _loading(repo, manifest)]
    if onnx:
        out.append(_exports(manifest, onnx))
    if timm:
        out += ["### With timm alone", timm.recipe(repo)]
    out += ["## What it is for", INTENDED, "## What it is not for", LIMITS.format(n=len(manifest.labels))]
    tested = any("test" in r.splits for r in results)
    out += ["## Scores", *([] if tested else [_unscored(manifest)]), *(_scores(r, manifest) for r in results)]
    if path := pictures.get("confusion_matrix"):
        out.append(f"![Confusion matrix: true classes down, answers across]({path})")
    out += ["## How it was trained and scored", _protocol(manifest, notes)]
    if path := pictures.get("history"):
        out.append(f"![Loss, accuracy and learning rate over the epochs]({path})")
    out += ["## Data and licence", _data(manifest)]
    return out


def _opening(manifest: Manifest) -> str:
    spec = get_model(manifest.model).SPEC
    count = int(manifest.weights.get("parameters") or 0)
    size = f", {count / 1e6:.2f} million parameters" if count else ""
    seen = "grey" if manifest.input.channels == 1 else "RGB"
    words = ", ".join(f"{e} {n}" for e, n in zip(manifest.classes.emoji, manifest.labels, strict=True))
    return (
        f"{spec.summary}{size}. It takes the {seen} crop of one face ({manifest.input.size_px} px) and gives "
        f"calibrated probabilities of: {words}. Made by the facial-expression lab, which trains, "
        "compares and explains such nets." + (f"\n\nIts design follows {spec.source}." if spec.source else "")
    )


def installing(project_url: str | None = None) -> str:
    """Where the package comes from, as far as that is known; Markdown."""
    place = f"[The project]({project_url})" if project_url else "The project that made this net"
    lacking = " The project's address was not told when this card was written; whoever published it can tell it."
    return _paragraph(
        f"{place} holds the package: `python -m pip install .` in its folder installs it (Python 3.11 or newer). The "
        "package `fer` on PyPI is another project." + lacking * (not project_url)
    )


def _loading(repo: str, manifest: Manifest) -> str:
    file = manifest.weights.get("file", "model.safetensors")
    more = _paragraph(
        f'`fer.load("hf:{repo}@REVISION")` pins a commit, `predict_proba(faces)` takes crops. The file `{file}` holds '
        "arrays and no code; its SHA-256 is checked against `config.json` before it is used."
    )
    return f"""```python
import fer

for face in fer.analyze("photo.jpg", model="hf:{repo}"):
    print(face.emoji, face.label, f"{{face.confidence:.0%}}", face.box)
```

{more}"""


def _exports(manifest: Manifest, onnx: Mapping[str, Mapping[str, Any]]) -> str:
    """What an ONNX file takes and gives, and what its precision costs."""
    size, one = manifest.input.size_px, len(onnx) == 1
    shape = f"[n, {size}, {size}]" if manifest.input.channels == 1 else f"[n, {size}, {size}, 3]"
    said = (
        f"For ONNX Runtime, in the browser too: {' and '.join(f'`{name}`' for name in onnx)}. "
        f"{'Its' if one else 'Their'} input `faces` is uint8 {shape}, pixels from 0 to 255 as they are: the graph "
        "normalises them itself, so do not do it before. The output `logits` divided by the temperature "
        f"{manifest.temperature:.3f} goes into a softmax. The JSON beside {'it' if one else 'each'} tells the rest."
    )
    for name, info in onnx.items():
        found, precision = info.get("accuracy") or {}, str(info.get("precision", ""))
        if isinstance(found.get(precision), float) and isinstance(found.get("torch"), float):
            said += (
                f" On {found.get('title', 'the validation split')} ({found.get('n', 0):,} validation faces, crops as "
                f"uint8) `{name}` is right on {found[precision]:.1%}, the net itself on {found['torch']:.1%}."
            )
    return _paragraph(said)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def _scored_on(result: ModelResult, split: str) -> str:
    """Title of the data set that was scored; FER2013's only with the number of its faces."""
    return data_note(
        scored_data(str(result.metrics["data"]["name"]), split, result.metrics["splits"][split]["n"])
    ).title


def _scores(result: ModelResult, manifest: Manifest) -> str:
    split = headline_split(result)
    scores, n = result.scores(split), result.metrics["splits"][split]["n"]
    title = f"{_scored_on(result, split)}, {result.split_title(split)}"
    rows = [
        f"### {title}: {n:,} faces\n",
        "| view | accuracy [95 %] | macro F1 | balanced | top 2 | ECE | NLL |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    said = {"single": "one view", "flip": "with the mirrored face", "tencrop": "ten crops"}
    for view in result.views(split):
        s = result.scores(split, view)
        low, high = s["accuracy_interval"]
        rows.append(
            f"| {said.get(view, view)} | {s['accuracy']:.1%} [{low:.1%}, {high:.1%}] | {s['macro_f1']:.1%} | "
            f"{s['balanced_accuracy']:.1%} | {s['top2']:.1%} | {s['ece']:.1%} | {s['nll']:.3f} |"
        )
    rows += ["", "| class | precision | recall | F1 | faces |", "|---|--:|--:|--:|--:|"]
    for name in result.class_names:
        c = scores["per_class"][name]
        rows.append(f"| {name} | {c['precision']:.1%} | {c['recall']:.1%} | {c['f1']:.1%} | {c['support']:,} |")
    return "\n".join([*rows, "", *_beside(result, split)])


def _beside(result: ModelResult, split: str) -> list[str]:
    """Sentences that keep the headline number honest."""
    stored, said = result.metrics["splits"][split], []
    if (copies := stored.get("leakage")) and copies.get("accuracy") is not None:
        said.append(
            f"Without copies ({copies['exact'] + copies['near']:,} faces that have an exact or near copy in the "
            f"training split left out): {copies['accuracy']:.1%}."
        )
    if always := stored.get("majority"):
        said.append(f"Always answering *{always['label']}*: {always['accuracy']:.1%}.")
    said += _neutral(result, split)
    said.append("The interval covers the choice of faces, not the luck of a seed.")
    if split != "test":
        said.append("No test split was asked here: if the net was trained on these data, these faces chose its epoch.")
    return [" ".join(said)]


def _neutral(result: ModelResult, split: str) -> list[str]:
    """What neutral faces are taken for most often, where that is counted."""
    names, scores = list(result.class_names), result.scores(split)
    if "neutral" not in names or not scores.get("confusion"):
        return []
    own = names.index("neutral")
    row = scores["confusion"][own]
    wrong = sorted(
        ((k, name) for i, (k, name) in enumerate(zip(row, names, strict=True)) if i != own and k), reverse=True
    )
    if not wrong or sum(row) == 0:
        return []
    told = " and ".join(f"{k / sum(row):.0%} *{name}*" for k, name in wrong[:2])
    return [f"Of the {sum(row):,} neutral faces it called {told}."]


def _unscored(manifest: Manifest) -> str:
    val = manifest.training.get("val_accuracy")
    known = f" On the validation split, which chose the epoch, {val:.1%} were right." if val is not None else ""
    return f"These weights have not been scored on a test split.{known}"


def _protocol(manifest: Manifest, notes: Sequence[str]) -> str:
    t, r, d = manifest.training, manifest.recipe, manifest.data
    data = own_data(manifest)[0] if d.get("name") else ""
    last = " of the last run" if r.init else ""
    facts = [
        (
            "data",
            f"{data_note(data).title}: {_count(d.get('n_train'))} training, {_count(d.get('n_val'))} validation faces",
        ),
        ("fingerprint of the data", f"`{str(d.get('fingerprint', ''))[:16] or 'unknown'}`"),
        (
            f"recipe{last}",
            f"{r.name}: " + ("one fit" if manifest.classical else ", ".join(map(_phase, r.phases))),
        ),
        (
            "epochs of all runs" if r.init else "epochs in all",
            f"{t.get('epochs', 'unknown')}, best {t.get('best_epoch', 'unknown')}",
        ),
        ("arguments of the net", ", ".join(f"{k}={v}" for k, v in manifest.model_args.items()) or "its own"),
        ("began with", f"the weights of {net_named(manifest, BEGAN_WITH)}" if r.init else "nothing of its own"),
        ("learnt from another net", taught(manifest)),
        (
            "weights of others",
            from_others(manifest, IMAGENET, "pretrained", "ImageNet weights at the start", "none, from scratch"),
        ),
        (
            "labels of others",
            from_others(manifest, VOTES, "extra_annotation", "FER+ votes as an auxiliary target", "none"),
        ),
        (f"seed{last}", str(manifest.seed)),
        (f"code{last}", f"commit `{manifest.git_commit[:12] or 'unknown'}` of the project"),
        ("temperature", f"{manifest.temperature:.3f}"),
        *_thresholds(manifest),
        *_stored(manifest),
        (f"machine{last}", str(t.get("device", "unknown"))),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts)])
    rule = (
        "Training saw the training split, and the validation split chose the epoch, the temperature and "
        "the conformal thresholds. A test split "
        "is scored afterwards, one view per face and no random augmentation. "
    )
    if not r.init:
        return "\n\n".join([table, f"{rule}`config.json` holds every setting.", *notes])
    rule += (
        "These weights come from more than one run, each of which began with what the one before had left. "
        "`config.json` holds every setting of the last run, and of the nets before it what is known "
        "(`training.ancestors`); their settings are not in this repository, but for what is said here."
    )
    return "\n\n".join([table, rule, *notes])


def _thresholds(manifest: Manifest) -> list[tuple[str, str]]:
    """The probability that a class must reach to be in a prediction set, for each coverage."""
    found = manifest.conformal.get("thresholds") or {}
    said = ", ".join(f"{float(level):.0%} of faces: {threshold:.3f}" for level, threshold in found.items())
    return (
        [("prediction sets hold the label of", f"{said} (the least probability of a class in the set)")] if said else []
    )


def _stored(manifest: Manifest) -> list[tuple[str, str]]:
    """What int8 weights are, and what they cost."""
    if manifest.weights.get("dtype") != INT8:
        return []
    said, found = "int8 with a scale per output channel, float32 once loaded", manifest.weights.get("accuracy") or {}
    if all(isinstance(found.get(kind), float) for kind in (INT8, FLOAT16)):
        where = f"{found.get('title', 'the validation split')} ({_count(found.get('n'))} validation faces)"
        said += f"; on {where} right on {found[INT8]:.2%}, in half precision on {found[FLOAT16]:.2%}"
    return [("matrices and filters", said)]


def _phase(p: Phase) -> str:
    return f"{p.epochs} epochs {p.optimizer} lr {p.lr:g} {p.schedule}" + (
        f" on {data_note(p.data).title}" * bool(p.data)
    )


def _data(manifest: Manifest) -> str:
    terms = terms_of(manifest)
    said = [note.text if not how else f"{note.title}, seen {how}: {note.text}" for note, how in terms.seen]
    if later := [a for a in ancestors(manifest) if a.shown_by]:
        rows = ["What it was made from was written down after its training. What that rests on:", ""]
        said.append("\n".join([*rows, *(f"- {shown(a)}" for a in later)]))
    for how in terms.unknown:
        said.append(f"What it saw {how} is not recorded for certain; what is said here holds for all the rest.")
    why = ", as far as it is for their makers to say"
    if not terms.free:
        why = f", not MIT: the reason is {'; and '.join(terms.reasons)}"
    said.append(f"The weights: {terms.title}{why}. {_PICTURES} The code: MIT.")
    return "\n\n".join([*said, WHY_MIT] if terms.free else said)


def _count(n: Any) -> str:
    return f"{n:,}" if isinstance(n, int) else "unknown"


def repo_name(manifest: Manifest) -> str:
    """Name of a model's repository: "fer-vit-tiny".

    Other data than FER2013 and arguments that make another net than the model's own are named behind it.

    Raises:
        ConfigError: trained on drawn faces, which are for trying things out.
    """
    data = str(manifest.data.get("name", "")).partition("@")[0]
    if is_unlike((own_data(manifest) or ("",))[0]):  # the form of FER2013 and other pictures: not its name
        data = "other-data"
    if is_synthetic(data):
        raise ConfigError(
            f"{manifest.model} was trained on synthetic faces; only models trained on real data are published"
        )
    args = manifest.model_args
    other = changed_by(manifest.model, args, manifest.input, manifest.recipe.name, len(manifest.labels))
    parts = [manifest.model, *([data] if data not in ("", "fer2013") else []), *(f"{k}-{args.get(k)}" for k in other)]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(["fer", *parts])).strip("-.").lower()
