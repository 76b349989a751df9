"""One checkpoint on one data set, from faces to metrics.json, with what is stored already kept where it still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.ancestry import learnt_val
from fer.checkpoint import Manifest, find, read_manifest
from fer.data import Dataset
from fer.errors import DataError
from fer.evaluation import calibration, report, results, stored
from fer.evaluation.crowd import crowd_scores
from fer.history import HISTORY, history_fits, promoted_history
from fer.inference import load
from fer.inference.predictor import Predictor
from fer.scoring import answers as ask
from fer.scoring.card import card_for, is_foreign, is_other_copy, is_unchanged, is_unrelated
from fer.scoring.cost import cost
from fer.scoring.facts import data_facts, seen_in_training, votes_of
from fer.scoring.robustness import robustness
from fer.scoring.seed_lines import keep_superseded

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        device: For predictions. batch_size: faces per call.
        again: Ask the models again, although their stored predictions still hold.
        ten_crop, robustness: Measure it where it is not stored yet.
        latency: keep (measure where nothing is stored of this checkpoint), again, or none.
    """

    device: str = "auto"
    batch_size: int = ask.BATCH_SIZE
    again: bool = False
    ten_crop: bool = False
    robustness: bool = False
    latency: str = "keep"


class NothingToScore(DataError):
    """A net may have learnt all faces that it was to be scored on."""


class Scorer:
    """Scores checkpoints on the validation and test splits of one data set.

    Args:
        dataset: The data.
        only: The split to score; None = both. A result that holds the other one too keeps it while it is unchanged.
        out: Folder of results.
        votes: fer2013new.csv or its folder; None = the one in the data folder, if it is there.
        say: Receives a line per thing done. note: receives what a reader of the scores should know.

    Raises:
        DataError: no validation or test split.
    """

    def __init__(
        self,
        dataset: Dataset,
        out: Path,
        votes: Path | None,
        say: Callable[[str], None],
        note: Callable[[str], None],
        only: str | None = None,
    ):
        self.dataset, self.out, self.say, self.note = dataset, out, say, note
        self._have = [k for k in ("val", "test") if k in dataset.splits and len(dataset[k])]
        self.splits = [k for k in self._have if only in (None, k)]
        if not self.splits:
            wanted = "validation or test split" if only is None else f"{only} split"
            raise DataError(f"{dataset.name}: has no {wanted} to score; it has {', '.join(dataset.splits) or 'none'}")
        self.votes = votes_of(dataset, votes, note)

    def is_complete(self, metrics: Mapping[str, Any]) -> bool:
        """Do these scores hold every split that there is to score, also those that were not asked for?"""
        return set(self._have) <= set(metrics["splits"])

    @cached_property
    def seen(self) -> dict[str, np.ndarray | None]:
        """Per split, which faces have a copy in the training split."""
        return seen_in_training(self.dataset, self._have)

    @cached_property
    def seen_with_val(self) -> dict[str, np.ndarray | None]:
        """Of the test split, which faces have a copy in the training or the validation split."""
        return seen_in_training(self.dataset, ["test"], ("train", "val"))

    def score(self, target: str, name: str, options: Options) -> Scored:
        """Ask a checkpoint, or take what it answered before, and write its folder of results.

        Args:
            target: Name or path of the checkpoint.
            name: Name of its row (`fer.scoring.card.row_names`).
        """
        folder = results.folder_of(self.dataset.name, name, self.out)
        try:
            earlier = results.read_result(folder)
        except DataError:
            earlier = None  # absent, or damaged and about to be replaced
        checkpoint, manifest = find(target), read_manifest(target)
        predictor = cache(lambda: load(target, device=options.device, backend="torch"))
        asked = self._without_learnt(manifest, name)
        unchanged = earlier if earlier and is_unchanged(earlier, manifest, self.dataset, asked) else None
        if unchanged and "val" in unchanged.splits and self._learnt(manifest):
            unchanged = None
        splits = list(unchanged.splits) if unchanged else asked
        kept = None if options.again else unchanged
        lacking = [c for c in self.dataset.label_set.names if c not in manifest.labels]
        if lacking:
            self.note(f"{name} knows no {', '.join(lacking)}: such faces count as errors")
        if is_other_copy(manifest, self.dataset):
            self.note(
                f"{name} was trained on another copy of {self.dataset.name} (fingerprint "
                f"{manifest.data['fingerprint'][:12]}, not {self.dataset.fingerprint[:12]}): copies of faces that it "
                "learnt from are counted by the training split at hand"
            )

        if kept is not None:
            frame, temperature = kept.predictions, kept.metrics["temperature"]
        else:
            frame, temperature = self._ask(predictor(), name, options, splits, mirror=True)
            if unchanged:
                frame = self._with_kept_ten_crop(frame, unchanged, asked if options.ten_crop else ())
        assert frame is not None
        if options.ten_crop:
            frame = self._with_ten_crop(frame, predictor, temperature["value"], name, options)

        keep_superseded(name, manifest, self.out, self.dataset.name, self.dataset.fingerprint)
        same = earlier if earlier and results.weights_of(earlier) == manifest.weights.get("sha256") else None
        card = card_for(manifest, name, self.dataset) | {
            "temperature": temperature,
            "cost": self._cost(target, checkpoint, manifest, predictor, same, options),
            "crowd": self._crowd(frame, unchanged, splits),
        }
        metrics = report.summarise(frame, card)
        results.write_predictions(frame, folder)
        results.write_json(metrics, folder / results.METRICS)
        if options.robustness and "test" in splits:
            self._robustness(predictor, manifest, name, folder, options)
        copy_history(checkpoint, manifest, self.dataset.name, folder)
        return Scored(manifest, metrics)

    def _learnt(self, manifest: Manifest) -> str:
        """Of which data a net may have learnt the validation faces; "" = of none."""
        return learnt_val(manifest, self.dataset) if "val" in self._have else ""

    def _without_learnt(self, manifest: Manifest, name: str) -> list[str]:
        """The splits asked for, without validation faces that a net may have learnt: nothing is chosen on them.

        Raises:
            NothingToScore: nothing is left.
        """
        if "val" not in self.splits or not (learnt := self._learnt(manifest)):
            return self.splits
        title = self.dataset.title("val")
        why = f"{name} learnt from {learnt}, which may hold the faces of {self.dataset.name}'s {title}"
        if self.splits == ["val"]:
            raise NothingToScore(f"{why}; score it on its own data, or on the test split (--split all)")
        dealt = "split_seed" in self.dataset.notes  # the test split too
        self.note(f"{why}: these are not scored" + ", and some of its test faces may be among them" * dealt)
        return [k for k in self.splits if k != "val"]

    def score_in_passing(self, target: str, name: str, options: Options) -> Scored:
        """The scores of a checkpoint, without mirror images and cost: what seeds.csv and its folder hold."""
        predictor = load(target, device=options.device, backend="torch")
        splits = self._without_learnt(predictor.manifest, name)
        frame, temperature = self._ask(predictor, name, options, splits, mirror=False)
        card = card_for(predictor.manifest, name, self.dataset) | {"temperature": temperature}
        return Scored(predictor.manifest, report.summarise(frame, card), frame)

    def write_facts(self, lines_alone: bool = False) -> None:
        """Write data.json; what takes long is kept while the data are the same.

        Args:
            lines_alone: No model's results were written, only lines of seeds.csv: what is there of another copy of the
                data keeps its facts.
        """
        if lines_alone and results.copy_of(self.out, self.dataset.name) not in ("", self.dataset.fingerprint):
            return
        try:
            old = stored.read_data(self.out, self.dataset.name)
        except DataError:
            old = None  # a damaged file is replaced
        crowd = (old or {}).get("crowd") or {"none": None}
        told = all("label_agreement_by_lot" in (c or {}) for c in crowd.values())
        if old is None or old["fingerprint"] != self.dataset.fingerprint or (self.votes and not told):
            stored.write_data(data_facts(self.dataset, self.votes), self.out, self.dataset.name)

    def _ask(
        self, predictor: Predictor, name: str, options: Options, splits: Sequence[str], mirror: bool
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Predictions of every split, face and mirrored face, and the temperature that they were divided by."""
        label_set, batch_size = self.dataset.label_set, options.batch_size
        parts = {k: self.dataset[k] for k in splits}
        folded = {"val"} & parts.keys() if ask.was_calibrated_on(predictor.manifest, self.dataset) else set()

        def asked(split: str, mirror: bool) -> np.ndarray:
            faces = ask.mirrored(parts[split].faces) if mirror else parts[split].faces
            if split in folded:
                return ask.out_of_fold(predictor, faces, parts[split].labels)
            return ask.answers(predictor, faces, label_set, batch_size)

        raw = {k: asked(k, False) for k in parts}
        temperature = ask.temperature_of(predictor, raw, self.dataset)
        if folded:
            as_loaded = ask.answers(predictor, parts["val"].faces, label_set, batch_size).argmax(axis=1)
            right = float((as_loaded == parts["val"].labels).mean())
            temperature |= {"out_of_fold": "val", "in_sample_accuracy": round(right, 6)}
        unseen = is_unrelated(predictor.manifest, self.dataset.name)  # copies of training faces that it never saw
        seen = self.seen_with_val if self._learnt(predictor.manifest) else self.seen
        table: dict[str, dict[str, Any]] = {}
        for k, split in parts.items():
            single = calibration.apply_temperature(raw[k], temperature["value"])
            table[k] = {"rows": split.rows, "labels": split.labels, "single": single}
            if mirror:
                other = asked(k, True)
                table[k]["flip"] = (single + calibration.apply_temperature(other, temperature["value"])) / 2
                if not unseen:
                    table[k]["seen"] = seen[k]
        self.say(f"{name}: {sum(map(len, parts.values())):,} faces{', each also mirrored' if mirror else ''}")
        return results.predictions_frame(table, label_set.names), temperature

    def _with_ten_crop(
        self,
        frame: pd.DataFrame,
        predictor: Callable[[], Predictor],
        temperature: float,
        name: str,
        options: Options,
    ) -> pd.DataFrame:
        """Ten crops of the splits asked for, where they are not there yet; those of another split stay as they are."""
        frame, columns = frame.copy(), self._ten_crop_columns()
        if columns[0] not in frame:
            frame[columns] = np.float32("nan")
        lacking = [k for k in self.splits if frame.loc[frame["split"] == k, columns[0]].isna().any()]
        for k in lacking:
            crops = ask.ten_crop_answers(predictor(), self.dataset[k].faces, self.dataset.label_set, options.batch_size)
            mean = np.mean([calibration.apply_temperature(p, temperature) for p in crops], axis=0, dtype=np.float64)
            frame.loc[frame["split"] == k, columns] = mean.astype(np.float32)
        if lacking:
            self.say(f"{name}: ten crops of every face")
        return frame

    def _with_kept_ten_crop(
        self, frame: pd.DataFrame, unchanged: results.ModelResult, but: Sequence[str]
    ) -> pd.DataFrame:
        frame, columns = frame.copy(), self._ten_crop_columns()
        for k in (k for k in unchanged.splits if k not in but and "tencrop" in unchanged.views(k)):
            frame.loc[frame["split"] == k, columns] = unchanged.probs(k, "tencrop")
        return frame

    def _ten_crop_columns(self) -> list[str]:
        return [results.VIEWS["tencrop"] + c for c in self.dataset.label_set.names]

    def _cost(
        self,
        target: str,
        checkpoint: Path,
        manifest: Manifest,
        predictor: Callable[[], Predictor],
        same: results.ModelResult | None,
        options: Options,
    ) -> dict[str, Any]:
        known = (same.metrics.get("cost") if same else None) or {}
        measure = options.latency == "again" or (options.latency == "keep" and not known.get("latency_ms"))
        if known and not measure:
            return known
        # timed as `fer.load` gives it to a user
        return cost(load(target, device="cpu") if measure else predictor(), checkpoint, measure)

    def _crowd(
        self, frame: pd.DataFrame, kept: results.ModelResult | None, splits: Sequence[str]
    ) -> dict[str, dict[str, Any] | None]:
        if self.votes is None:
            return {k: kept.metrics["splits"][k].get("crowd") if kept else None for k in splits}
        names = self.dataset.label_set.names
        out: dict[str, dict[str, Any] | None] = {}
        for k in splits:
            part = frame[frame["split"] == k]
            probs = part[[results.VIEWS["single"] + c for c in names]].to_numpy(dtype=np.float64)
            found = crowd_scores(probs, self.votes[k], part["label"].to_numpy(dtype=np.int64), names)
            out[k] = found if found["n"] else None
        return out

    def _robustness(
        self, predictor: Callable[[], Predictor], manifest: Manifest, name: str, folder: Path, options: Options
    ) -> None:
        try:
            old = stored.read_robustness(folder)
        except DataError:
            old = None  # a damaged file is replaced
        same = {"checkpoint_sha256": manifest.weights.get("sha256", ""), "fingerprint": self.dataset.fingerprint}
        if old is None or same != {"fingerprint": self.dataset.fingerprint} | {k: old[k] for k in same if k in old}:
            found = robustness(predictor(), self.dataset, batch_size=options.batch_size)
            stored.write_robustness({"model": name} | same | found, folder)
            self.say(f"{name}: {found['n']:,} faces under every corruption, mean accuracy {found['mean']:.3f}")


@dataclass(frozen=True, eq=False)
class Scored:
    """A scored checkpoint: its manifest and metrics.json; its predictions where no folder of its own holds them."""

    manifest: Manifest
    metrics: Mapping[str, Any] = field(repr=False)
    predictions: pd.DataFrame | None = field(default=None, repr=False)


def copy_history(checkpoint: Path, manifest: Manifest, data: str, folder: Path) -> None:
    """Take the training history along: from beside the checkpoint, else from where promotion put it.

    One of other weights is not left standing.
    """
    target = folder / HISTORY
    promoted = promoted_history(manifest.model, manifest.data.get("name") or data, manifest.training)
    for source in (checkpoint / HISTORY, promoted):
        if source is not None and source.is_file():
            if source.resolve() != target.resolve():
                results.write_text(source.read_text(encoding="utf-8"), target)
            return
    tells = manifest.training.get("val_accuracy") is not None  # what a manifest lacks rules nothing out
    if is_foreign(manifest, data) or (tells and not history_fits(folder, manifest.training)):
        target.unlink(missing_ok=True)
