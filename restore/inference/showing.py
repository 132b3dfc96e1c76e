"""What a person looks at of a restored file: a strip of its middle, and its place in the report."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from restore.evaluation.strips import brightened, display_gain, strip
from restore.files.images import to_uint, turned_upright
from restore.inference.inputs import Images
from restore.report import Shown

LARGEST = 1024
"""Pixels of a picture's side in a strip."""
MARGIN = 8
"""Pixels rendered around those, since demosaicing looks at neighbours."""
CROP, WHOLE = 480, 800
"""Pixels of the side of a crop, and of a whole frame, in the report."""


def strip_of(images: Images) -> np.ndarray:
    """degraded | restored | clean, (h, w, 3) uint8: the middle of each, upright."""
    side = LARGEST // images.layout.cell + MARGIN
    height, width = images.degraded.shape[-2:]
    parts = _parts(images, _middle(height, side), _middle(width, side))
    return to_uint(strip(list(parts.values()), LARGEST), np.uint8)


def shown(name: str, images: Images, facts: dict[str, str], **about: Any) -> Shown:
    """The file's place in the report: its part with the most detail at full size, and the whole frame.

    about  the other fields of Shown
    """
    rows, columns = _most_detailed(images)
    crop, whole = _parts(images, rows, columns), _whole(images)
    gain = display_gain(list(whole.values())[-1])
    if gain > 1:
        facts = facts | {"shown": f"{gain} times brighter"}
    removed, unit = _removed(images, rows, columns)
    return Shown(
        name=name,
        crop=_one_size({label: to_uint(brightened(picture, gain), np.uint8) for label, picture in crop.items()}),
        whole=_one_size({label: to_uint(brightened(picture, gain), np.uint8) for label, picture in whole.items()}),
        removed=removed,
        unit=unit,
        facts=facts,
        **about,
    )


def _labelled(images: Images) -> dict[str, Tensor]:
    named = {"degraded": images.degraded, "restored": images.restored, "clean": images.clean}
    return {label: image for label, image in named.items() if image is not None}


def _parts(images: Images, rows: slice, columns: slice) -> dict[str, Tensor]:
    """The same part of each image, rendered and turned upright, (3, h, w). rows, columns: of the degraded image."""
    parts = {}
    for label, image in _labelled(images).items():
        scale = image.shape[-1] // images.degraded.shape[-1]
        part = image[:, scale * rows.start : scale * rows.stop, scale * columns.start : scale * columns.stop]
        parts[label] = _upright(images.layout.render(part, images.metadata), images.orientation)
    return parts


def _whole(images: Images) -> dict[str, Tensor]:
    """Each image reduced, rendered and turned upright, (3, h, w)."""
    wholes = {}
    for label, image in _labelled(images).items():
        # Of raw, planes of twice the side are rendered: demosaicing takes their pixels for neighbours, which they are
        # not, and would leave coloured edges.
        rendered = images.layout.render(_reduced(image, WHOLE), images.metadata)
        wholes[label] = _upright(_reduced(rendered, WHOLE), images.orientation)
    return wholes


def _reduced(image: Tensor, longest: int) -> Tensor:
    """An image (C, H, W) made smaller, so that no side is longer."""
    height, width = image.shape[-2:]
    share = min(1.0, longest / max(height, width))
    size = max(4, round(share * width)), max(4, round(share * height))
    if size == (width, height):
        return image
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in image.cpu().numpy()]
    return torch.from_numpy(np.stack(planes))


def _most_detailed(images: Images) -> tuple[slice, slice]:
    """Rows and columns of the degraded image that a crop shows: where the restored image has the most edges."""
    grey = images.restored.mean(0).cpu().numpy()
    edges = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    side = CROP // images.layout.cell
    height, width = (min(side, length) for length in grey.shape)
    # [i, j] is the sum over the crop that begins there.
    sums = cv2.boxFilter(edges, cv2.CV_32F, (width, height), anchor=(0, 0), normalize=False)
    inside = sums[: grey.shape[0] - height + 1, : grey.shape[1] - width + 1]
    top, left = (int(place) // images.scale for place in np.unravel_index(inside.argmax(), inside.shape))
    return slice(top, top + height // images.scale), slice(left, left + width // images.scale)


def _removed(images: Images, rows: slice, columns: slice) -> tuple[dict[str, np.ndarray], str]:
    """What was removed from the part, by plane, and its unit; nothing where the model enlarges."""
    if images.scale > 1:
        return {}, ""
    before, after = (image[:, rows, columns].float().cpu() for image in (images.degraded, images.restored))
    removed, unit = before - after, "standard deviations of the noise"
    if images.noise is None:
        deviation, unit = removed.std().clamp(min=1e-12), "its own standard deviations"
    else:
        shot, read = (values[:, None, None] for values in images.noise)
        deviation = (shot * after.clamp(min=0) + read).sqrt().clamp(min=1e-12)
    planes = _upright(removed / deviation, images.orientation).numpy()
    return dict(zip(images.layout.planes, planes, strict=True)), unit


def _one_size(pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pictures (h, w, 3) as large as the largest, by repeating pixels."""
    height, width = (max(picture.shape[side] for picture in pictures.values()) for side in (0, 1))
    return {
        label: cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
        for label, picture in pictures.items()
    }


def _middle(length: int, part: int) -> slice:
    """The middle `part` pixels of a side, or one more so that both have the same centre; the whole side if shorter."""
    edge = max(0, length - part) // 2
    return slice(edge, length - edge)


def _upright(picture: Tensor, orientation: int) -> Tensor:
    """Planes (C, h, w) turned as their EXIF orientation says."""
    return torch.from_numpy(np.stack([turned_upright(plane, orientation) for plane in picture.float().cpu().numpy()]))
