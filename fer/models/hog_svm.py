"""Histograms of oriented gradients and an RBF support vector machine: the classic, without a net.

A face and its mirror image get the same answer. Their HOG vectors f and g give an even part (f + g) / 2, which
mirroring keeps, and an odd part (f - g) / 2, which it negates; the kernel is averaged over the sign of the odd part.
That is training with every face mirrored as well (Haasdonk, Vossen and Burkhardt 2005, "Invariance in kernel methods by
Haar-integration kernels") at the price of training without.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise

import numpy as np

from fer import machine
from fer.errors import ConfigError
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="hog_svm",
    title="HOG + SVM",
    summary="histograms of oriented gradients, PCA and an RBF support vector machine, the same for mirrored faces",
    input=InputSpec(size_px=48, channels=1, resize_px=48),
    source="Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection",
    attention="occlusion",
    backend="classical",
)

# One exact fit: of the recipe only class_weights and epoch_share mean something, see fer/training/classical.py.
RECIPE = Recipe(
    phases=(Phase(name="fit", epochs=1, schedule="constant"),),
    label_smoothing=0.0,
    augment=Augment(
        rotate_deg=0, scale_min=1, scale_max=1, shift=0, brightness=0, contrast=0, erase=0, erase_area_max=0
    ),
)

# the Muxspace project names no settings of its own for this model
REFERENCE = Preset(RECIPE)

_BLOCK = 512  # faces per kernel block
_MOST_PAIR = 24_000  # faces of two classes; their kernel matrix takes 8 n^2 bytes
_CACHE = 200 << 20  # bytes that libsvm takes beside it


class HogSvm:
    """HOG -> standardise -> PCA -> one RBF-SVM per pair of classes -> calibrated probabilities.

    Untrained after construction: `fit`, then `calibrate`; or `load_state`. Trained ones never change, so that several
    threads may use one.

    Args:
        n_classes: At least 2.
        spec: Size and channels of the faces.
        orientations, cell_px, block_cells: HOG: bins of 180 degrees, side of a cell, cells along a block.
        components: Principal components kept.
        c: Penalty of the SVM.
        gamma: Width of the kernel exp(-gamma |x - y|^2 / (mean |x|^2)): scikit-learn's "scale" is 1.

    Attributes:
        arrays: What was learnt, by name; empty when untrained.

    Raises:
        ConfigError: impossible settings.
    """

    def __init__(
        self,
        n_classes: int,
        spec: InputSpec = SPEC.input,
        orientations: int = 9,
        cell_px: int = 8,
        block_cells: int = 2,
        components: int = 128,
        c: float = 4.0,
        gamma: float = 2.0,
    ):
        whole = {"orientations": orientations, "cell_px": cell_px, "block_cells": block_cells, "components": components}
        for name, value in whole.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name, number in {"c": c, "gamma": gamma}.items():
            if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number < np.inf:
                raise ConfigError(f"{name} must be a positive number, got {number!r}")
        if n_classes < 2:
            raise ConfigError(f"an SVM needs at least 2 classes, got {n_classes}")
        if spec.size_px < cell_px * block_cells:
            raise ConfigError(
                f"a block of {block_cells} cells of {cell_px} px does not fit into {spec.size_px} px; "
                "make cell_px or block_cells smaller, or input.size_px larger"
            )
        self.n_classes, self.spec = n_classes, spec
        self.orientations, self.cell_px, self.block_cells = orientations, cell_px, block_cells
        blocks = spec.size_px // cell_px - block_cells + 1
        self.n_features = blocks * blocks * block_cells * block_cells * orientations
        self.components, self.c, self.gamma = components, float(c), float(gamma)
        self.pairs = list(combinations(range(n_classes), 2))
        self.arrays: dict[str, np.ndarray] = {}

    @property
    def settings(self) -> dict[str, int | float]:
        """All arguments of `build` in numbers."""
        names = ("orientations", "cell_px", "block_cells", "components", "c", "gamma")
        return {name: getattr(self, name) for name in names}

    # --- features -----------------------------------------------------------------------------------------------------

    def features(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """HOG of faces and their mirror images, as even and odd part.

        Args:
            faces: uint8 (N, S, S) or (N, S, S, 3).

        Returns:
            float32 (N, n_features) each.
        """
        from skimage.feature import hog

        how = {
            "orientations": self.orientations,
            "pixels_per_cell": (self.cell_px, self.cell_px),
            "cells_per_block": (self.block_cells, self.block_cells),
            "channel_axis": None if self.spec.channels == 1 else -1,
        }
        even = np.empty((len(faces), self.n_features), dtype=np.float32)
        odd = np.empty_like(even)
        for i, face in enumerate(faces):
            f, g = hog(face, **how), hog(face[:, ::-1], **how)
            even[i], odd[i] = (f + g) / 2, (f - g) / 2
        return even, odd

    def _project(self, even: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, int]:
        """Principal components, even ones first, (N, K) float64, and how many are even; mean |x|^2 is 1 in training."""
        a = self.arrays
        x = np.hstack([((even - a["mean"]) / a["scale"]) @ a["even_axes"], (odd / a["scale"]) @ a["odd_axes"]])
        return x, a["even_axes"].shape[1]

    def _learn_axes(self, even: np.ndarray, odd: np.ndarray) -> None:
        """Mean, scale and principal axes of the faces together with their mirror images."""
        from scipy.linalg import eigh

        mean = even.mean(axis=0)
        variance = ((even - mean) ** 2 + odd**2).mean(axis=0)
        scale = np.sqrt(np.maximum(variance, 1e-8)).astype(np.float32)
        found = []
        for part in ((even - mean) / scale, odd / scale):
            covariance = (part.T @ part / len(part)).astype(np.float64)
            last = len(covariance) - 1
            values, vectors = eigh(covariance, subset_by_index=[max(0, last + 1 - self.components), last])
            vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])  # one of two signs
            found.append((values[::-1], vectors[:, ::-1]))
        every = np.sort(np.concatenate([values for values, _ in found]))[::-1]
        every = every[: self.components]
        every = every[every > 1e-6 * every[0]]
        kept = [vectors[:, values >= every[-1]] / np.sqrt(every.sum()) for values, vectors in found]
        self.arrays = {"mean": mean.astype(np.float32), "scale": scale}
        self.arrays |= {"even_axes": _rounded(kept[0]), "odd_axes": _rounded(kept[1])}

    # --- the support vector machine -----------------------------------------------------------------------------------

    def fit(self, faces: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None = None) -> HogSvm:
        """Learn axes and support vectors; the result is not calibrated yet.

        Args:
            faces: uint8 (N, S, S) or (N, S, S, 3).
            labels: (N,) int, class of each face. A class may be absent: it loses against every other one.
            class_weights: (n_classes,) factors of the penalty.

        Raises:
            ConfigError: fewer than two classes, or more faces of two classes than fit into memory.
        """
        from sklearn.svm import SVC

        counts = np.bincount(labels, minlength=self.n_classes)
        if (counts > 0).sum() < 2:
            raise ConfigError(f"an SVM needs faces of at least 2 classes, got {(counts > 0).sum()}")
        most = int(np.sort(counts)[-2:].sum())
        if most > _MOST_PAIR:
            raise ConfigError(
                f"the two largest classes have {most:,} faces, of which {_MOST_PAIR:,} fit into memory; train on a "
                f"share of them: --set epoch_share={_MOST_PAIR / most:.2f}"
            )
        order = np.argsort(labels, kind="stable")
        labels = labels[order]
        even, odd = self.features(faces[order])
        self._learn_axes(even, odd)
        x, n_even = self._project(even, odd)
        x = _rounded(x).astype(np.float32)  # learn with what will be stored
        weights = np.ones(self.n_classes) if class_weights is None else np.asarray(class_weights, dtype=np.float64)
        dual = np.zeros((len(x), self.n_classes - 1), dtype=np.float32)

        def one(pair: tuple[int, int]) -> float:
            a, b = pair
            if not counts[a] or not counts[b]:
                return float(np.sign(counts[a] - counts[b]))
            rows = np.flatnonzero((labels == a) | (labels == b))
            kernel = np.empty((len(rows), len(rows)))
            for i in range(0, len(rows), _BLOCK):
                kernel[i : i + _BLOCK] = _kernel(x[rows[i : i + _BLOCK]], x[rows], n_even, self.gamma)
            first = labels[rows] == a
            svm = SVC(C=self.c, kernel="precomputed", class_weight={True: weights[a], False: weights[b]})
            svm.fit(kernel, first)
            coefficients = np.zeros(len(rows), dtype=np.float32)
            coefficients[svm.support_] = svm.dual_coef_[0]
            # a face of class a keeps its weight against b in the column of b, as libsvm does
            dual[rows[first], b - 1] = coefficients[first]
            dual[rows[~first], a] = coefficients[~first]
            return float(svm.intercept_[0])

        with ThreadPoolExecutor(_at_once(most)) as pool:  # libsvm releases the lock
            intercepts = list(pool.map(one, self.pairs))
        used = dual.any(axis=1)
        self.arrays |= {
            "vectors": x[used].astype(np.float64),
            "dual": _rounded(dual[used]),
            "classes": labels[used].astype(np.uint8),
            "intercepts": np.array(intercepts),
        }
        return self

    def margins(self, faces: np.ndarray) -> np.ndarray:
        """Decision values of the pairs (0, 1), (0, 2), ..., float64 (N, pairs); positive speaks for the first class."""
        a = self.arrays
        ends = np.searchsorted(a["classes"], np.arange(self.n_classes + 1))
        out = np.empty((len(faces), len(self.pairs)))
        for i in range(0, len(faces), _BLOCK):
            x, n_even = self._project(*self.features(faces[i : i + _BLOCK]))
            # in float64: a sum over thousands of vectors would differ between one face and a batch in the fifth place
            kernel = _kernel(x, a["vectors"], n_even, self.gamma)
            sums = [kernel[:, s:e] @ a["dual"][s:e] for s, e in pairwise(ends)]  # (n, C - 1) each
            for k, (p, q) in enumerate(self.pairs):
                out[i : i + _BLOCK, k] = sums[p][:, q - 1] + sums[q][:, p] + a["intercepts"][k]
        return out

    # --- probabilities ------------------------------------------------------------------------------------------------

    def calibrate(self, faces: np.ndarray, labels: np.ndarray, folds: int = 5) -> np.ndarray:
        """Fit the probabilities on faces that the SVM was not trained on; the SVM itself stays as it is.

        Multinomial logistic regression on the margins of all pairs, see `_logistic`.

        Args:
            faces: uint8 (N, S, S) or (N, S, S, 3) of the validation split.
            labels: (N,) int.

        Returns:
            Log-probabilities (N, n_classes) of these faces, each from a calibration on the other folds.
        """
        margins = self.margins(faces)
        self.arrays |= _logistic(margins, labels, self.n_classes)
        return self._across_folds(margins, labels, folds)

    def out_of_fold(self, faces: np.ndarray, labels: np.ndarray, folds: int = 5) -> np.ndarray:
        """What `calibrate` returns for the faces that it was given, once more and without changing anything."""
        return self._across_folds(self.margins(faces), labels, folds)

    def _across_folds(self, margins: np.ndarray, labels: np.ndarray, folds: int) -> np.ndarray:
        fold = np.empty(len(labels), dtype=int)
        fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % folds  # each class spread over all folds
        out = np.empty((len(labels), self.n_classes))
        for k in range(min(folds, len(labels))):
            others = _logistic(margins[fold != k], labels[fold != k], self.n_classes)
            out[fold == k] = _log_softmax(margins[fold == k], others)
        return out

    def log_proba(self, faces: np.ndarray) -> np.ndarray:
        """Calibrated log-probabilities, float64 (N, n_classes), of uint8 faces (N, S, S) or (N, S, S, 3)."""
        return _log_softmax(self.margins(faces), self.arrays)

    # --- as plain arrays ----------------------------------------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Numbers that were learnt and are stored."""
        return sum(v.size for v in self.arrays.values())

    def state(self) -> dict[str, np.ndarray]:
        """What was learnt, matrices as float16 (nothing is lost: they were rounded before they were used)."""
        return {k: v.astype(np.float16) if k in _HALF else v for k, v in self.arrays.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> HogSvm:
        """Inverse of `state`.

        Raises:
            ValueError: arrays that are absent, unknown, of the wrong shape or not finite.
        """
        if set(state) != set(_NDIM):
            raise ValueError(f"expected the arrays {', '.join(_NDIM)}, got {', '.join(map(str, state)) or 'none'}")
        for name, ndim in _NDIM.items():
            if state[name].ndim != ndim:
                raise ValueError(f"{name} has {state[name].ndim} axes, expected {ndim}")
        d, c, pairs = self.n_features, self.n_classes, len(self.pairs)
        even, odd, n = state["even_axes"].shape[1], state["odd_axes"].shape[1], len(state["vectors"])
        shapes = ((d,), (d,), (d, even), (d, odd), (n, even + odd), (n, c - 1), (n,), (pairs,), (pairs, c), (c,))
        for name, shape in zip(_NDIM, shapes, strict=True):
            array = state[name]
            if array.shape != shape:
                raise ValueError(f"{name} is {array.shape}, expected {shape}")
            if array.dtype.kind not in "fu" or not np.isfinite(array).all():
                raise ValueError(f"{name} holds something else than finite numbers")
        if (np.diff(state["classes"].astype(int)) < 0).any():
            raise ValueError("the support vectors are not sorted by class")
        self.arrays = {k: v.astype(np.float64) if k in _HALF else v for k, v in state.items()}
        return self


def _at_once(most: int) -> int:
    """Pairs of classes fitted at the same time: one per core, two at most where more need a quarter of the memory.

    Args:
        most: Faces of the largest pair.
    """
    return min(machine.cores(), max(2, machine.memory_bytes() // 4 // (8 * most**2 + _CACHE)))


_RIDGE = 30.0  # weight of one squared coefficient beside the log-likelihood of one face; chosen on PublicTest
# what is learnt, with the number of axes
_NDIM = {
    "mean": 1,
    "scale": 1,
    "even_axes": 2,
    "odd_axes": 2,
    "vectors": 2,
    "dual": 2,
    "classes": 1,
    "intercepts": 1,
    "slopes": 2,
    "offsets": 1,
}
_HALF = ("even_axes", "odd_axes", "vectors", "dual")


def _rounded(values: np.ndarray) -> np.ndarray:
    """float64 numbers that float16 can hold."""
    return values.astype(np.float16).astype(np.float64)


def _kernel(x: np.ndarray, y: np.ndarray, n_even: int, gamma: float) -> np.ndarray:
    """Mean of the RBF kernel over the two signs of the odd components: (N, K), (M, K) -> (N, M)."""
    lengths = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)
    even = lengths - 2 * (x[:, :n_even] @ y[:, :n_even].T)
    odd = 2 * (x[:, n_even:] @ y[:, n_even:].T)
    np.maximum(even, np.abs(odd), out=even)  # rounding may make a distance negative
    out = np.exp(-gamma * (even - odd))
    out += np.exp(-gamma * (even + odd))
    out *= 0.5
    return out


def _logistic(margins: np.ndarray, labels: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
    """Multinomial logistic regression on pairwise margins.

    A class's score begins as the sum of its margins at the best temperature. How far the regression may leave that
    depends on the number of faces: with few of them it is temperature scaling (Guo et al. 2017) and no more.

    Args:
        margins: (N, pairs), pairs in the order (0, 1), (0, 2), ...
        labels: (N,) int. A class without a face here gets a finite probability all the same.

    Returns:
        slopes (pairs, n_classes) and offsets (n_classes,), float64.
    """
    from scipy.optimize import minimize, minimize_scalar
    from scipy.special import log_softmax

    rows, truth = np.arange(len(labels)), np.eye(n_classes)[labels]
    first, second = np.triu_indices(n_classes, 1)
    sums = np.eye(n_classes)[first] - np.eye(n_classes)[second]  # (pairs, n_classes)

    def loss_at(log_sharpness: float) -> float:
        return float(-log_softmax(np.exp(log_sharpness) * margins @ sums, axis=1)[rows, labels].mean())

    sharpness = np.exp(minimize_scalar(loss_at, bounds=(-5, 5), method="bounded").x)
    start = np.vstack([sharpness * sums, np.zeros(n_classes)])
    x = np.hstack([margins, np.ones((len(margins), 1))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(x @ flat.reshape(start.shape), axis=1)
        away = flat.reshape(start.shape) - start
        gradient = x.T @ (np.exp(log_p) - truth) + _RIDGE * away
        return float(-log_p[rows, labels].sum() + _RIDGE / 2 * (away**2).sum()) / len(x), gradient.ravel() / len(x)

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    w = found.x.reshape(start.shape)
    return {"slopes": w[:-1], "offsets": w[-1]}


def _log_softmax(values: np.ndarray, fitted: Mapping[str, np.ndarray]) -> np.ndarray:
    from scipy.special import log_softmax

    return log_softmax(values @ fitted["slopes"] + fitted["offsets"], axis=1)


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> HogSvm:
    """An untrained one for a label count and an input spec; `args` go to HogSvm."""
    return HogSvm(n_classes, spec, **args)  # type: ignore[arg-type]
