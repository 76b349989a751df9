"""HOG + SVM against scikit-learn and against planted data."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from fer import machine
from fer.errors import ConfigError
from fer.models import hog_svm
from fer.models.hog_svm import RECIPE, SPEC, HogSvm, build
from fer.specs import InputSpec


def bars(n: int, seed: int, n_classes: int = 3, noise: float = 0.0, size: int = 24, channels: int = 1):
    """Faces with a line whose direction is the class (0, 45, 90 degrees ...), and labels, a share of them wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    at = np.linspace(-1, 1, size)
    faces = np.empty((n, size, size), dtype=np.uint8)
    for i, label in enumerate(labels):
        angle = np.pi / 2 * label / max(n_classes - 1, 1) + rng.normal(0, 0.05)
        distance = at[:, None] * np.cos(angle) - at[None] * np.sin(angle) + rng.normal(0, 0.2)
        faces[i] = np.clip(60 + 150 * (np.abs(distance) < 0.25) + rng.normal(0, 12, (size, size)), 0, 255)
    wrong = rng.random(n) < noise
    labels = np.where(wrong, rng.integers(0, n_classes, n), labels)
    return (np.repeat(faces[..., None], 3, axis=3) if channels == 3 else faces), labels


SMALL = InputSpec(24, 1, 24)


@pytest.fixture(scope="module")
def trained() -> HogSvm:
    model = build(3, SMALL, components=20)
    model.fit(*bars(120, 0, noise=0.1))
    model.calibrate(*bars(90, 1, noise=0.1))
    return model


def test_it_learns_directions_and_the_validation_figures_are_honest():
    model = build(3, SMALL, components=20).fit(*bars(120, 0))
    faces, labels = bars(60, 1)
    held_out = model.calibrate(faces, labels)
    assert held_out.shape == (60, 3) and (held_out.argmax(1) == labels).mean() > 0.95
    assert not np.allclose(held_out, model.log_proba(faces)), "from calibrations that did not see the face"
    faces, labels = bars(60, 2)
    log_p = model.log_proba(faces)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1)
    assert (log_p.argmax(1) == labels).mean() > 0.95


def test_the_margins_are_those_of_scikit_learn_with_the_kernel_written_out():
    """Kernel = mean over the mirror images of one side, from HOG vectors of faces that are really mirrored."""
    faces, labels = bars(60, 3, noise=0.2)
    asked, _ = bars(15, 4)
    model = build(3, SMALL, components=30, c=2.0, gamma=1.5).fit(faces, labels)

    def projected(pictures):
        return model._project(*model.features(pictures))[0].astype(np.float64)

    def kernel(a, b):
        return (
            rbf_kernel(projected(a), projected(b), 1.5) + rbf_kernel(projected(a), projected(b[:, :, ::-1]), 1.5)
        ) / 2

    expected = []
    for p, q in ((0, 1), (0, 2), (1, 2)):
        rows = (labels == p) | (labels == q)
        svm = SVC(C=2.0, kernel="precomputed").fit(kernel(faces[rows], faces[rows]), labels[rows] == p)
        expected.append(svm.decision_function(kernel(asked, faces[rows])))
    np.testing.assert_allclose(model.margins(asked), np.stack(expected, axis=1), atol=0.02)
    x = projected(faces)
    assert (x**2).sum(axis=1).mean() == pytest.approx(1, abs=0.02), "gamma 1 is scikit-learn's 'scale'"


def test_a_mirrored_face_gets_the_same_answer(trained):
    faces, _ = bars(10, 5)
    faces[:, :, :6] = 200  # nothing symmetric about it
    np.testing.assert_allclose(trained.log_proba(faces), trained.log_proba(faces[:, :, ::-1]), atol=1e-4)
    assert np.abs(trained.log_proba(faces) - trained.log_proba(faces[:, ::-1])).max() > 0.1


def test_calibrated_probabilities_are_better_than_raw_ones():
    """Half of the labels are noise: the margins are far too sure of themselves, and no better than chance there."""
    model = build(3, SMALL, components=20, c=100.0).fit(*bars(120, 0, noise=0.5))
    model.calibrate(*bars(150, 1, noise=0.5))
    faces, labels = bars(300, 6, noise=0.5)
    rows, margins = np.arange(300), model.margins(faces)
    sums = np.stack([margins[:, 0] + margins[:, 1], margins[:, 2] - margins[:, 0], -margins[:, 1] - margins[:, 2]], 1)
    raw = -log_softmax(sums, axis=1)[rows, labels].mean()
    calibrated = model.log_proba(faces)
    assert -calibrated[rows, labels].mean() < raw - 0.05
    assert (calibrated.argmax(1) == labels).mean() > (sums.argmax(1) == labels).mean() - 0.03


def test_what_calibration_said_of_its_faces_can_be_asked_again(trained):
    faces, labels = bars(90, 1, noise=0.1)
    again = build(3, SMALL, components=20).load_state(trained.state())
    before = {k: v.copy() for k, v in again.arrays.items()}
    out = again.out_of_fold(faces, labels)
    assert all((again.arrays[k] == v).all() for k, v in before.items())
    np.testing.assert_array_equal(out, again.calibrate(faces, labels))
    # labels drawn by lot can be learnt by heart, but not told from the other folds
    lots = np.random.default_rng(5).integers(0, 3, 90)
    folded = (again.out_of_fold(faces, lots).argmax(1) == lots).mean()
    again.calibrate(faces, lots)
    assert folded < (again.log_proba(faces).argmax(1) == lots).mean()


def test_calibration_leaves_the_svm_alone(trained):
    before = {k: v.copy() for k, v in trained.arrays.items()}
    twin = build(3, SMALL, components=20).load_state(trained.state())
    twin.calibrate(*bars(60, 7))
    changed = {k for k, v in twin.arrays.items() if not np.array_equal(v, before[k])}
    assert changed == {"slopes", "offsets"}


def test_one_face_gets_what_it_gets_in_a_batch(trained):
    faces, _ = bars(30, 8)
    together = np.exp(trained.log_proba(faces))
    for i in (0, 7, 29):
        np.testing.assert_allclose(np.exp(trained.log_proba(faces[i : i + 1]))[0], together[i], atol=1e-9)
    assert trained.log_proba(faces[:0]).shape == (0, 3)


def test_state_is_half_precision_and_loses_nothing(trained):
    state = trained.state()
    assert {str(state[k].dtype) for k in ("vectors", "dual", "even_axes", "odd_axes")} == {"float16"}
    faces, _ = bars(20, 9)
    again = build(3, SMALL, components=20).load_state(state)
    np.testing.assert_array_equal(again.log_proba(faces), trained.log_proba(faces))
    assert trained.n_parameters == sum(v.size for v in state.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("dual"), "expected the arrays"),
        (lambda s: s.update(more=np.zeros(3)), "expected the arrays"),
        (lambda s: s.update(mean=s["mean"][:-1]), "mean is"),
        (lambda s: s.update(vectors=s["vectors"][:, :-1]), "vectors is"),
        (lambda s: s.update(offsets=s["offsets"] * np.nan), "finite"),
        (lambda s: s.update(intercepts=np.array(["a"] * 3)), "finite"),
        (lambda s: s.update(classes=s["classes"][::-1]), "sorted"),
        (lambda s: s.update(even_axes=np.float64(3)), "axes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(trained, change, message):
    state = trained.state()
    change(state)
    with pytest.raises(ValueError, match=message):
        build(3, SMALL).load_state(state)


@pytest.mark.parametrize(
    ("spec", "args"),
    [
        (InputSpec(32, 3, 36), {}),
        (InputSpec(31, 1, 31), {"cell_px": 6, "block_cells": 3}),
        (InputSpec(24, 1, 24), {"cell_px": 24, "block_cells": 1, "orientations": 5}),
    ],
)
def test_other_sizes_cells_and_colour(spec, args):
    faces, labels = bars(24, 0, size=spec.size_px, channels=spec.channels)
    model = build(3, spec, **args).fit(faces, labels)
    model.calibrate(faces, labels)
    assert model.log_proba(faces).shape == (24, 3)
    assert model.arrays["even_axes"].shape[1] + model.arrays["odd_axes"].shape[1] <= 128


def test_two_classes_and_a_class_that_nobody_shows():
    faces, labels = bars(40, 0, n_classes=2)
    model = build(2, SMALL).fit(faces, labels)
    model.calibrate(faces, labels)
    assert (model.log_proba(faces).argmax(1) == labels).mean() > 0.9
    wide = build(4, SMALL).fit(faces, labels + 1)  # classes 0 and 3 have no face
    wide.calibrate(faces, labels + 1)
    log_p = wide.log_proba(faces)
    assert np.isfinite(log_p).all() and set(log_p.argmax(1)) == {1, 2}
    with pytest.raises(ConfigError, match="at least 2 classes, got 1"):
        build(3, SMALL).fit(faces, np.zeros(40, dtype=int))


def test_class_weights_move_the_border():
    faces, labels = bars(90, 0, n_classes=2, noise=0.45)
    asked, _ = bars(60, 1, n_classes=2)
    plain = build(2, SMALL).fit(faces, labels).margins(asked)
    weighted = build(2, SMALL).fit(faces, labels, np.array([5.0, 0.2])).margins(asked)
    assert (weighted > 0).mean() > (plain > 0).mean()


def test_too_many_faces_are_refused_before_the_memory_is_full(monkeypatch):
    monkeypatch.setattr(hog_svm, "_MOST_PAIR", 30)
    with pytest.raises(ConfigError, match=r"40 faces, of which 30 fit .* epoch_share=0\.75"):
        build(3, SMALL).fit(*bars(60, 0))


def test_as_many_pairs_at_once_as_cores_and_memory_allow(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "none"), str(limit)))
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: range(16), raising=False)
    monkeypatch.setattr(machine.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 32 << 18}.get, raising=False)
    for said, most, at_once in (("max", 100, 16), ("max", 12_000, 6), ("max", 24_000, 2), (str(1 << 30), 12_000, 2)):
        limit.write_text(said)
        assert hog_svm._at_once(most) == at_once, (said, most)
    monkeypatch.delattr(machine.os, "sysconf")
    assert hog_svm._at_once(100) == 2
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: range(1), raising=False)
    assert hog_svm._at_once(100) == 1


def test_the_number_of_pairs_at_once_changes_nothing(monkeypatch):
    states = []
    for n in (1, 3):
        monkeypatch.setattr(hog_svm, "_at_once", lambda most, n=n: n)
        states.append(build(3, SMALL, components=20).fit(*bars(120, 0, noise=0.1)).arrays)
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"components": 0}, "components must be a whole number"),
        ({"cell_px": 2.5}, "cell_px must be"),
        ({"c": -1}, "c must be a positive"),
        ({"gamma": float("inf")}, "gamma must be"),
        ({"cell_px": 30}, "does not fit into 48 px"),
    ],
)
def test_impossible_settings_say_so(args, message):
    with pytest.raises(ConfigError, match=message):
        build(7, **args)


def test_the_spec_names_what_explains_it():
    assert (SPEC.backend, SPEC.attention, RECIPE.epochs) == ("classical", "occlusion", 1)
    assert build(7).settings == {
        "orientations": 9,
        "cell_px": 8,
        "block_cells": 2,
        "components": 128,
        "c": 4.0,
        "gamma": 2.0,
    }
