"""Whether a heat map is to be believed: does the answer hang on the places it shows, and on the net's weights?

- Deletion and insertion (Petsiuk, Das and Saenko 2018, "RISE", section 4.2): the face is taken away, or brought in, the
  hottest pixels first. What is taken away is replaced by the face's own strongly blurred version in both curves, so
  that no edge appears which was not there; both run between the same two pictures.
- Pointing: the share of the heat in the boxes of eyes and brows and of the mouth of an average aligned face.
- Sanity (Adebayo et al. 2018, "Sanity Checks for Saliency Maps"): the map of the same net with weights drawn anew must
  be another one; measured by the rank correlation of the two.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from fer.errors import ImageError
from fer.explain.frame import over_input
from fer.specs import InputSpec
from fer.transforms import prepare

if TYPE_CHECKING:
    from fer.inference import Predictor, TorchPredictor

STEPS = 10  # parts in which a face is taken away
BLUR = 1 / 8  # standard deviation of the blur, of the side that the model sees
RANDOM_CELLS = 6  # side of the grid of a random map, that of the nets' own maps

# (top, bottom, left, right) as shares of the sides; read off the mean of FER2013's faces, whose eyes lie at 0.37 and
# mouth at 0.79 of the height. fer.data.synthetic draws them at 0.38 and 0.80
EYES_BROWS = (10 / 48, 22 / 48, 7 / 48, 41 / 48)
MOUTH = (33 / 48, 44 / 48, 12 / 48, 36 / 48)


@dataclass(frozen=True, eq=False)
class Curves:
    """How the probability of a class changes while a face is taken away or brought in.

    Attributes:
        steps: (K,) share of the pixels that changed, 0 to 1.
        deletion: (K,) probability after so much was taken away, hottest first; a faithful map makes it fall fast.
        insertion: (K,) probability after so much was brought in, hottest first; a faithful map makes it rise fast.
    """

    steps: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve, 0..1; lower is better."""
        return float(np.trapezoid(self.deletion, self.steps))

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve, 0..1; higher is better."""
        return float(np.trapezoid(self.insertion, self.steps))


def seen(picture: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The central part (S, S, ...) that the model sees of a picture (R, R, ...) of its `resize_px`; a view."""
    margin = (spec.resize_px - spec.size_px) // 2
    return picture[margin : margin + spec.size_px, margin : margin + spec.size_px]


def blurred(whole: np.ndarray, spec: InputSpec) -> np.ndarray:
    """A face of which only light and dark are left: uint8, shaped as `whole`."""
    import cv2

    return np.asarray(cv2.GaussianBlur(whole, (0, 0), BLUR * spec.size_px))


def curves(
    predictor: Predictor,
    face: np.ndarray,
    heat: np.ndarray,
    target: int,
    steps: int = STEPS,
    empty: np.ndarray | None = None,
    seed: int = 0,
) -> Curves:
    """Deletion and insertion of one face, in the pixels that the model sees.

    Args:
        predictor: Asked about 2 * steps faces in one call.
        face: uint8 (H, W) or (H, W, 3).
        heat: (H, W), as `fer.explain` returns it. Pixels of equal heat are taken in random order, those of `seed`.
        target: Index of the class whose probability is followed.
        steps: Parts in which the pixels are changed.
        empty: What the face is replaced by, uint8 (R, R) or (R, R, 3) in the size and channels of the model's
            `resize_px`; None is the blurred face.

    Raises:
        ImageError: face and heat map differ in size.
    """
    import cv2

    if np.shape(face)[:2] != np.shape(heat):
        raise ImageError(f"the heat map must have the size of the face, got {np.shape(heat)} for {np.shape(face)[:2]}")
    spec = predictor.input_spec
    whole = prepare([face], spec, crop=False)[0]
    side = spec.resize_px
    if heat.shape != (side, side):
        heat = cv2.resize(np.asarray(heat, dtype=np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    hot = seen(heat, spec).ravel()
    order = np.lexsort((np.random.default_rng(seed).permutation(hot.size), -hot))
    if empty is None:
        empty = blurred(whole, spec)
    counts = np.rint(np.linspace(0, hot.size, steps + 1)).astype(int)
    # both curves begin where the other one ends
    less = [_mixed(whole, empty, order[:k], spec) for k in counts]
    more = [_mixed(empty, whole, order[:k], spec) for k in counts[1:-1]]
    p = predictor.predict_proba(np.stack([*less, *more]))[:, target].astype(np.float64)
    deletion, between = p[: steps + 1], p[steps + 1 :]
    return Curves(counts / hot.size, deletion, np.concatenate([[deletion[-1]], between, [deletion[0]]]))


def _mixed(picture: np.ndarray, other: np.ndarray, pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """A copy of `picture` that has some pixels (flat numbers in the seen part) of `other`."""
    out = picture.copy()
    rows, columns = np.unravel_index(pixels, (spec.size_px, spec.size_px))
    seen(out, spec)[rows, columns] = seen(other, spec)[rows, columns]
    return out


def random_map(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """A map that knows nothing, as smooth as the nets' maps are: float64 (side_px, side_px) in [0, 1].

    Single random pixels would be no fair rival: a face sprinkled with holes confuses a net far sooner than one that
    lacks a region.
    """
    return over_input(rng.random((RANDOM_CELLS, RANDOM_CELLS)), side_px)


def box_share(heat: np.ndarray, box: tuple[float, float, float, float]) -> float:
    """Share of a map's heat inside a box; 0 for a map without heat.

    Args:
        heat: (H, W), at least 0, in the frame of an aligned face.
        box: (top, bottom, left, right) as shares of the sides; a pixel belongs to it if its centre does.

    >>> box_share(np.array([[1.0, 3.0], [0.0, 0.0]]), (0, 0.5, 0.5, 1))
    0.75
    """
    top, bottom, left, right = box
    rows, columns = ((np.arange(n) + 0.5) / n for n in heat.shape)
    inside = heat[np.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))]
    total = float(heat.sum(dtype=np.float64))
    return float(inside.sum(dtype=np.float64)) / total if total > 0 else 0.0


def reinitialised(predictor: Predictor, seed: int) -> TorchPredictor:
    """The same net as if it had never been trained; the given one is not changed.

    Every layer draws its weights anew as its own class does (`reset_parameters`); parameters that belong to no such
    layer, for example positions, come from a normal distribution of standard deviation 0.02.

    Args:
        predictor: One with a net.
        seed: The same seed gives the same weights.
    """
    import torch

    from fer.inference.predictor import TorchPredictor

    trained = cast("TorchPredictor", predictor)
    net = copy.deepcopy(trained.module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in net.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            else:
                for parameter in module.parameters(recurse=False):
                    torch.nn.init.normal_(parameter, std=0.02)
    return TorchPredictor(net, trained.manifest, str(getattr(trained, "device", "cpu")))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape, -1..1; 0 where one of them has no contrast.

    >>> rank_correlation(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.0, 1.0], [4.0, 9.0]]))
    1.0
    """
    from scipy.stats import rankdata

    x, y = (rankdata(v.ravel()) for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / size, -1, 1)) if size > 0 else 0.0
