"""A sensor with larger pixels: what it records of the light that falls on scale x scale pixels of a finer one.

Site [i, j] of the coarse mosaic lies around scale * i + (scale - 1) / 2, and so on, of the fine one.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from scipy.special import ndtr
from torch import Tensor

PITCH = 2
"""From one site of a plane to the next [px of the mosaic]."""


def pooled_light(light: np.ndarray, scale: int, sigma: float) -> np.ndarray:
    """The means of scale x scale pixels of an image (H, W, 3), float32, seen through a Gaussian of sigma [px of it]."""
    if sigma > 0:
        light = cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(light, (light.shape[1] // scale, light.shape[0] // scale), interpolation=cv2.INTER_AREA)


def pooled_sites(packed: Tensor, scale: int, sigma: float) -> Tensor:
    """The coarse mosaic, packed, from the fine one (4, h, w): (4, h / scale, w / scale), h and w multiples of scale.

    sigma  of a Gaussian that blurs the light first [px of the fine mosaic]
    A coarse site is a mean of the fine sites of its colour, both greens being one, weighted by their distances from its
    centre, so that each plane stays where it is: a ramp is the same ramp. Beyond the edges the mosaic is seen mirrored.
    """
    planes = packed.numpy().reshape(2, 2, *packed.shape[-2:])
    result = np.empty((2, 2, planes.shape[2] // scale, planes.shape[3] // scale), np.float32)
    for row, column in np.ndindex(2, 2):
        same_colour = [(i, j) for i, j in np.ndindex(2, 2) if i + j == row + column]
        seen = [_mean(planes[i, j], (row, i), (column, j), scale, sigma) for i, j in same_colour]
        result[row, column] = sum(seen) / len(seen)
    return torch.from_numpy(result.reshape(4, *result.shape[2:]))


def pooled_planes(packed: Tensor, scale: int, sigma: float) -> Tensor:
    """Each packed plane's means of scale x scale, after a Gaussian of sigma [px of the mosaic], (4, h, w) to
    (4, h / scale, w / scale).

    It is no sensor's image, as the planes move against one another, by half a coarse pixel from R to B at scale 2.
    """
    if sigma > 0:
        blurred = [cv2.GaussianBlur(plane, (0, 0), sigma / PITCH) for plane in packed.numpy()]
        packed = torch.from_numpy(np.stack(blurred))
    return F.avg_pool2d(packed, scale)


def _mean(plane: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], scale: int, sigma: float) -> np.ndarray:
    down = _weights(plane.shape[0], *rows, scale, sigma)
    across = _weights(plane.shape[1], *columns, scale, sigma)
    return (across @ (down @ plane).T).T


@lru_cache(maxsize=64)
def _weights(sites: int, coarse: int, fine: int, scale: int, sigma: float) -> csr_array:
    """Weights (sites / scale, sites) of an axis: of a plane's fine sites, which lie at 2 n + fine, in its coarse ones,
    which lie at 2 n + coarse in coarse pixels; fine and coarse are 0 or 1, and each row's sum is 1."""
    centres = scale * (PITCH * np.arange(sites // scale) + coarse) + (scale - 1) / 2
    reach = int(np.ceil((scale + PITCH + 8 * sigma) / 2 / PITCH)) + 1
    seen = np.floor((centres - fine) / PITCH).astype(int)[:, None] + np.arange(-reach, reach + 1)
    weights = _footprint(PITCH * seen + fine - centres[:, None], scale, sigma)
    weights /= weights.sum(1, keepdims=True)
    # Mirrored about the outermost row or column of the mosaic, a plane finds its own sites again.
    side = PITCH * sites
    position = (PITCH * seen + fine) % (2 * side - 2)
    position = np.minimum(position, 2 * side - 2 - position)
    rows = np.broadcast_to(np.arange(sites // scale)[:, None], seen.shape)
    entries = weights.ravel().astype(np.float32), (rows.ravel(), position.ravel() // PITCH)
    return csr_array(entries, shape=(sites // scale, sites))


def _footprint(distance: np.ndarray, scale: int, sigma: float) -> np.ndarray:
    """How a coarse pixel weighs light at this distance [px of the fine mosaic] from its centre.

    A box as wide as the pixel, then one as wide as the pitch of a plane, then the Gaussian. With the second box the
    sites' weights have the same sum and the centre for their mean position: at even scales wherever the centre lies, at
    odd scales since it lies in the middle of a pixel.
    """
    outer, inner = (scale + PITCH) / 2, (scale - PITCH) / 2
    edges = ((1, outer), (-1, inner), (-1, -inner), (1, -outer))
    parts = [sign * _twice_integrated(distance + edge, sigma) for sign, edge in edges]
    return np.sum(parts, axis=0).clip(0)


def _twice_integrated(x: np.ndarray, sigma: float) -> np.ndarray:
    """The integral's integral of a Gaussian; of 0 deviation: 0 up to 0, and x from there on."""
    if sigma == 0:
        return np.maximum(x, 0)
    return x * ndtr(x / sigma) + sigma / np.sqrt(2 * np.pi) * np.exp(-((x / sigma) ** 2) / 2)
