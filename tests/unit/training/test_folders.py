"""Where a run goes, and what is asked of an earlier one."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer import checkpoint
from fer.data import dataset
from fer.errors import CheckpointError
from fer.specs import Phase, Recipe
from fer.training import Job
from fer.training.budget import fit
from fer.training.folders import as_begun, earlier_run, new_folder, share_done
from fer.training.job import differences, read_description, write_description
from fer.training.request import Request, phase_opener

LONG = Job("custom_cnn", Recipe(phases=(Phase(epochs=9),)))
SHORT = dataclasses.replace(LONG, recipe=Recipe(phases=(Phase(epochs=2),)), asked=LONG.recipe, budget_s=60.0)


def begun(run, job, data, finished=False):
    write_description(run, job.describe(data) | ({"finished": True} if finished else {}))
    return run


def test_two_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-120000")
    made = [new_folder(tmp_path, "custom_cnn") for _ in range(3)]
    assert [p.name for p in made] == ["20260101-120000", "20260101-120000-2", "20260101-120000-3"]
    assert all(p.is_dir() for p in made)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        new_folder(tmp_path / "file", "custom_cnn")


def test_which_earlier_run_is_taken(tmp_path, blob_data):
    out, sets = tmp_path / "custom_cnn", [blob_data]
    ask = lambda job=LONG, **how: earlier_run(tmp_path, job, blob_data, sets, **how)  # noqa: E731
    assert ask(resume=True, reuse=True) is None
    done = begun(out / "1", LONG, blob_data, finished=True)
    (out / "0").mkdir()  # no run.json: claimed by a run that never began
    assert ask() is None and ask(reuse=True) == ask(resume=True) == done
    other = dataclasses.replace(LONG, seed=7)
    assert ask(other, reuse=True) is None and ask(other, resume=True) is None
    cut = begun(out / "2", LONG, blob_data)
    assert ask(resume=True) == ask(other, resume=True) == cut, "other options are refused later, with their names"
    assert ask(resume=True, budget_s=1e9) == cut, "its schedule is whole"
    assert ask(reuse=True) == ask(resume=True, reuse=True) == done
    short = begun(out / "3", SHORT, blob_data, finished=True)
    assert ask(reuse=True) == done == ask(reuse=True, budget_s=60.0), "one of full length is preferred"
    assert ask(resume=True, budget_s=60.0) == short and ask(resume=True, budget_s=61.0) == cut


def test_a_cut_run_with_a_short_schedule_is_not_resumed_where_more_time_is_given(tmp_path, blob_data):
    ask = lambda s: earlier_run(tmp_path, LONG, blob_data, [blob_data], resume=True, budget_s=s)  # noqa: E731
    cut = begun(tmp_path / "custom_cnn" / "1", SHORT, blob_data)
    assert ask(60.0) == ask(None) == cut and ask(61.0) is None


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_fitted_into_its_time_elsewhere_does_not_count(tmp_path, blob_data, finished):
    """One epoch on a slow CPU is not what the same time allows on a GPU; a run of full length is one anywhere.

    One that was cut goes on where it is asked to.
    """
    slow, fast = "cpu, float32", "NVIDIA H200, bfloat16"
    how = {"resume": not finished, "reuse": finished, "budget_s": 60.0}
    ask = lambda place: earlier_run(tmp_path, LONG, blob_data, [blob_data], **how, place=place)  # noqa: E731
    here = dataclasses.replace(SHORT, measured_on=slow)
    run = begun(tmp_path / "custom_cnn" / "1", here, blob_data, finished)
    assert ask(slow) == ask("") == run and ask(fast) == (None if finished else run)
    assert as_begun(run, LONG) == here and differences(run, SHORT.describe(blob_data)) == []
    whole = dataclasses.replace(here, recipe=LONG.recipe)
    run = begun(tmp_path / "custom_cnn" / "2", whole, blob_data, finished)
    assert ask(slow) == ask(fast) == run


def test_of_several_cut_runs_the_newest_under_the_same_options_goes_on(tmp_path, blob_data):
    """Two commands that share a folder, with other seeds, say, each find their own."""
    out, other = tmp_path / "custom_cnn", dataclasses.replace(LONG, seed=7)
    ask = lambda job, **how: earlier_run(tmp_path, job, blob_data, [blob_data], resume=True, **how)  # noqa: E731
    runs = [begun(out / str(i), job, blob_data) for i, job in enumerate((LONG, LONG, other, other))]
    assert ask(LONG) == ask(LONG, budget_s=60.0) == runs[1] and ask(other) == runs[3]
    assert ask(dataclasses.replace(LONG, seed=8)) == runs[3], "which is refused later, with what differs"
    begun(out / "3", other, blob_data, finished=True)
    assert ask(LONG) == runs[1] and ask(other) == runs[3] and ask(dataclasses.replace(LONG, seed=8)) is None
    (runs[1] / "run.json").write_text("{")
    assert ask(LONG) == runs[0], "a damaged one is passed over"
    (runs[3] / "run.json").rename(out / "hidden")
    (runs[3] / "run.json").write_text("{")
    new = dataclasses.replace(LONG, seed=8)
    assert ask(new) == ask(new, budget_s=60.0) == runs[3], "training says that it is damaged"
    (out / "hidden").replace(runs[3] / "run.json")
    short = begun(out / "4", SHORT, blob_data)
    assert ask(LONG, budget_s=60.0) == short and ask(LONG, budget_s=61.0) == ask(LONG) == runs[0]


def test_a_stretched_run_stands_for_the_same_request_alone(tmp_path, blob_data):
    """What was measured when it began counts, not what would be measured today; but not another --stretch."""
    ask = lambda s, n, **how: earlier_run(  # noqa: E731
        tmp_path, dataclasses.replace(LONG, stretch=n), blob_data, [blob_data], budget_s=s, **how
    )
    twice = Recipe(phases=(Phase(epochs=18),))
    long = dataclasses.replace(LONG, recipe=twice, asked=LONG.recipe, budget_s=60.0, stretch=4.0)
    run = begun(tmp_path / "custom_cnn" / "1", long, blob_data)
    assert ask(60.0, 4.0, resume=True) == ask(59.0, 4.0, resume=True) == run
    assert ask(61.0, 4.0, resume=True) is ask(60.0, 1.0, resume=True) is ask(60.0, 2.0, resume=True) is None
    assert as_begun(run, LONG) == long and read_description(run)["stretch"] == 4.0
    assert differences(run, as_begun(run, dataclasses.replace(LONG, stretch=2.0)).describe(blob_data)) == []
    begun(run, long, blob_data, finished=True)
    assert ask(60.0, 4.0, reuse=True) == run and ask(60.0, 1.0, reuse=True) is ask(60.0, 2.0, reuse=True) is None
    # no time to stretch it: whole, and what it should have been with another factor is not known
    whole = begun(
        tmp_path / "custom_cnn" / "2", dataclasses.replace(long, recipe=LONG.recipe), blob_data, finished=True
    )
    assert ask(60.0, 4.0, reuse=True) == ask(1e9, 1.0, reuse=True) == ask(None, 1.0, reuse=True) == whole
    assert ask(61.0, 4.0, reuse=True) is ask(60.0, 2.0, reuse=True) is None
    # four times as long: a larger budget would make it no longer
    full = begun(
        tmp_path / "custom_cnn" / "3",
        dataclasses.replace(long, recipe=fit(LONG.recipe, [1.0], 1e9, stretch=4.0)),
        blob_data,
        finished=True,
    )
    assert read_description(full)["recipe"]["phases"][0]["epochs"] == 36
    assert ask(1e9, 4.0, reuse=True) == full and ask(1e9, 5.0, reuse=True) is None


def test_how_much_of_a_run_is_done_is_told_by_its_history(tmp_path, blob_data, untrained):
    init = Path(shutil.copytree(untrained("custom_cnn"), tmp_path / "init"))
    manifest = checkpoint.read_manifest(init)
    checkpoint.write_manifest(init, dataclasses.replace(manifest, training={"epochs": 5}))
    job = dataclasses.replace(LONG, recipe=dataclasses.replace(LONG.recipe, init=str(init)))
    for start, asked in ((0, LONG), (5, job)):
        run = tmp_path / str(start)
        assert share_done(run, asked) == 0.0
        run.mkdir()
        (run / "history.jsonl").write_text("".join(f'{{"epoch": {start + n}}}\n' for n in (1, 2, 3)))
        assert share_done(run, asked) == pytest.approx(3 / 9)


def test_a_shorter_run_does_not_stand_in_for_one_that_may_take_longer(tmp_path, blob_data):
    out = tmp_path / "custom_cnn"
    ask = lambda s: earlier_run(tmp_path, LONG, blob_data, [blob_data], reuse=True, budget_s=s)  # noqa: E731
    begun(out / "2", dataclasses.replace(SHORT, budget_s=600.0), blob_data, finished=True)
    begun(out / "3", SHORT, blob_data, finished=True)
    assert ask(60.0) == ask(600.0) == out / "2" and ask(601.0) is None
    assert ask(None) is None
    whole = begun(out / "1", dataclasses.replace(LONG, asked=LONG.recipe, budget_s=900.0), blob_data, finished=True)
    assert ask(60.0) == ask(1e9) == whole, "the budget was long enough"


def test_a_shortened_run_goes_on_as_it_was_begun(tmp_path, blob_data):
    run = begun(tmp_path / "short", SHORT, blob_data)
    assert as_begun(run, LONG) == SHORT
    assert differences(run, as_begun(run, LONG).describe(blob_data)) == []
    quick = dataclasses.replace(LONG, recipe=dataclasses.replace(LONG.recipe, batch_size=7))
    assert differences(run, as_begun(run, quick).describe(blob_data)) == ["asked_recipe"]


@pytest.mark.parametrize("job", [LONG, SHORT], ids=["whole", "shortened"])
def test_a_run_of_an_earlier_version_goes_on_and_is_recognised(tmp_path, blob_data, job):
    """Its recipe lacks the fields of today, and says its teachers as they were typed."""
    run = begun(tmp_path / "custom_cnn" / "1", job, blob_data, finished=True)
    description = json.loads((run / "run.json").read_text())
    for key in {"recipe", "asked_recipe"} & set(description):
        del description[key]["snapshots"], description[key]["augment"]["randaugment"]
    (run / "run.json").write_text(json.dumps(description))
    assert differences(run, as_begun(run, LONG).describe(blob_data)) == []
    find = {"reuse": True, "budget_s": 60.0}
    assert earlier_run(tmp_path, LONG, blob_data, [blob_data], **find) == run
    other = dataclasses.replace(LONG, recipe=dataclasses.replace(LONG.recipe, mixup=0.3))
    assert earlier_run(tmp_path, other, blob_data, [blob_data], **find) is None
    description["recipe"]["teacher"] = "a, b"
    (run / "run.json").write_text(json.dumps(description))
    assert read_description(run)["recipe"]["teacher"] == "a,b"
    description["recipe"]["teacher"] = 7
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="teacher"):
        read_description(run)


def test_a_run_begun_without_a_budget_does_not_hide_other_options(tmp_path, blob_data):
    run = begun(tmp_path / "whole", LONG, blob_data)
    quick = dataclasses.replace(LONG, recipe=dataclasses.replace(LONG.recipe, batch_size=7))
    assert differences(run, as_begun(run, LONG).describe(blob_data)) == []
    assert differences(run, as_begun(run, quick).describe(blob_data)) == ["recipe.batch_size"]


def test_drawn_faces_stand_in_whatever_classes_are_asked_for(blob_data, tmp_path):
    recipe = Recipe(phases=(Phase(name="first", data="affectnet"), Phase()))
    for spec in ("synthetic:n=1,seed=1", "synthetic:n=1,seed=1@fer7"):
        assert "contempt" in phase_opener(recipe, spec)("affectnet").label_set.names
    packed = dataset.save(blob_data, tmp_path / "blobs.npz")
    assert phase_opener(recipe, "fer2013")(str(packed)).fingerprint == blob_data.fingerprint


def test_of_several_models_the_one_without_a_net_goes_without_a_teacher(caplog):
    jobs, failed = Request("baseline_cnn,hog_svm", teacher="cbam_cnn4").jobs()
    assert [j.recipe.teacher for j in jobs] == ["cbam_cnn4", ""] and not failed
    assert caplog.messages == ["hog_svm holds no net: fitted without --teacher"]
    (alone,), _ = Request("hog_svm", teacher="cbam_cnn4").jobs()
    assert alone.recipe.teacher == "cbam_cnn4", "which its training refuses"


def test_the_order_of_settings_does_not_matter():
    pair = ("input.size_px=64", "input.resize_px=64")  # each alone would contradict the model's other one
    jobs = [Request("vgg8", settings=order).job("vgg8") for order in (pair, pair[::-1])]
    assert jobs[0] == jobs[1] and (jobs[0].spec.size_px, jobs[0].spec.resize_px) == (64, 64)


def test_runs_from_before_votes_were_noted_go_on(tmp_path, blob_data):
    run = begun(tmp_path / "custom_cnn" / "1", LONG, blob_data)
    votes = np.eye(8, dtype=np.float32)[np.arange(140) % 8]
    assert differences(run, LONG.describe(blob_data, votes=votes)) == []
    write_description(run, LONG.describe(blob_data, votes=votes))
    assert differences(run, LONG.describe(blob_data, votes=votes[::-1])) == ["votes_sha256"]
