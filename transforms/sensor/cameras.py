"""Cameras drawn at random: their colour matrices and their white balance, as Brooks et al. draw them.

Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019.
"""

from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

XYZ_TO_CAMERA = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ]
)
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
GAINS = {"red": (1.9, 2.4), "blue": (1.5, 1.9)}
NORMAL_GAINS = {"red": NormalDist(2.15, 0.15), "blue": NormalDist(1.7, 0.12)}

COLOUR_OF_SITE = [0, 1, 1, 2]
"""Of R, G1, G2 and B of an RGGB mosaic: which of red, green and blue it records."""

GainsMode = Literal["uniform", "normal", "fixed", "none"]
Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]
"""From XYZ to a camera's red, green and blue, as a DNG's ColorMatrix: three rows of three numbers."""


class Camera(NamedTuple):
    """How a camera sees linear sRGB."""

    rgb_to_camera: Tensor
    """(3, 3): camera = matrix @ linear sRGB; each row sums to 1, so that grey stays grey."""
    white_balance: Tensor
    """(3,): the factors for red, green and blue that make the raw image's grey grey again."""


NEUTRAL = Camera(torch.eye(3), torch.tensor([2.15, 1, 1.7]))
"""Stands for a camera whose colours no file tells: good enough to look at, and no loss on raw values asks for more."""


def draw_camera(gains_mode: GainsMode, rng: Generator, xyz_to_camera: Matrix | None = None) -> Camera:
    """A camera with this matrix, or else between the four whose matrices are known, under a light as gains_mode says.

    Colour:  a convex mix of the four matrices, its weights drawn uniformly.
    uniform  red gain from U(1.9, 2.4), blue from U(1.5, 1.9)
    normal   red gain from N(2.15, 0.15), blue from N(1.7, 0.12), cut off at the same limits
    both     times the gain of the whole, which is 1 / N(0.8, 0.1)
    fixed    2.15, 1.7 and 1 / 0.8
    none     1, 1 and 1
    """
    *weights, red, blue = torch.rand(6, generator=rng, dtype=torch.float64).tolist()
    inverse_gain = 0.8 + 0.1 * torch.randn((), generator=rng, dtype=torch.float64).item()
    match gains_mode:
        case "uniform":
            gains = np.array([_uniform("red", red), 1, _uniform("blue", blue)]) / inverse_gain
        case "normal":
            gains = np.array([_normal("red", red), 1, _normal("blue", blue)]) / inverse_gain
        case "fixed":
            gains = np.array([2.15, 1, 1.7]) / 0.8
        case "none":
            gains = np.ones(3)
    matrix = rgb_to_camera(weights) if xyz_to_camera is None else matrix_of(xyz_to_camera)
    return Camera(*(torch.from_numpy(numbers.astype(np.float32)) for numbers in (matrix, gains)))


def rgb_to_camera(weights: list[float]) -> np.ndarray:
    """The matrix (3, 3) from linear sRGB to the camera that mixes the four known ones by these positive weights."""
    mixed = np.dot(weights, XYZ_TO_CAMERA.reshape(4, 9)).reshape(3, 3)
    return matrix_of(mixed)


def matrix_of(xyz_to_camera: np.ndarray | Matrix) -> np.ndarray:
    """The matrix (3, 3) from linear sRGB to the camera that sees XYZ so."""
    matrix = np.array(xyz_to_camera) @ RGB_TO_XYZ
    return matrix / matrix.sum(axis=1, keepdims=True)


def check_matrix(xyz_to_camera: Matrix) -> Matrix:
    """The same matrix; ValueError if no camera sees XYZ so."""
    white = (np.array(xyz_to_camera) @ RGB_TO_XYZ).sum(axis=1)
    if white.min() <= 0:
        raise ValueError(f"row {white.argmin() + 1} sees no light in white; give the rows of a DNG's ColorMatrix")
    if np.linalg.cond(matrix_of(xyz_to_camera)) > 100:
        raise ValueError("it hardly tells colours apart; give the rows of a DNG's ColorMatrix")
    return xyz_to_camera


def _uniform(colour: str, probability: float) -> float:
    low, high = GAINS[colour]
    return low + (high - low) * probability


def _normal(colour: str, probability: float) -> float:
    low, high = (NORMAL_GAINS[colour].cdf(limit) for limit in GAINS[colour])
    return NORMAL_GAINS[colour].inv_cdf(low + (high - low) * probability)
