"""Pictures as data URIs, small enough for a page of hundreds, and true enough to judge noise by."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

STEP = 3
"""Quantisation of a crop, equal for all frequencies [levels]. The tables of JPEG's usual qualities quantise high
frequencies most and so remove noise: of one with an rms of 2.7 levels quality 95 leaves 74 %, these tables 96 %."""
STEP_REMOVED = 12
"""The same for a picture of what was removed, whose standard deviation is 32 levels."""
WEBP_QUALITY = 85
"""Of a whole frame, whose noise is averaged already as it was reduced."""
GREY, SIGMA = 128, 32
"""Levels of 0 and of 1 in a picture of what was removed, which so reaches to 4 on either side."""
BINS = np.linspace(-4, 4, 65)
"""Edges of a histogram's bins."""


def crop_uri(picture: np.ndarray) -> str:
    """A picture (h, w, 3), uint8 sRGB, as a JPEG that keeps its noise and the full resolution of its colours."""
    return _jpeg(picture, STEP)


def whole_uri(picture: np.ndarray) -> str:
    """A picture (h, w, 3), uint8 sRGB, as a WebP: a quarter of the JPEG's bytes."""
    parameters = [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
    written, content = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), parameters)
    assert written, picture.shape
    return _uri("webp", content.tobytes())


def thumbnail_uri(picture: np.ndarray, side: int) -> str:
    """A picture (h, w, 3), uint8 sRGB, reduced to fit into side x side pixels."""
    height, width = picture.shape[:2]
    share = min(1.0, side / max(height, width))
    size = max(1, round(share * width)), max(1, round(share * height))
    return whole_uri(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def png_uri(png: bytes | Path) -> str:
    """A PNG file or its content."""
    return _uri("png", png if isinstance(png, bytes) else png.read_bytes())


def removed_uri(removed: Mapping[str, np.ndarray]) -> str:
    """What was removed, as a picture: mid-grey where it is 0, and in the colours of its planes.

    removed  the planes (h, w) by their names, as layouts name them: R, G1, G2, B. Those of one colour are added and
             divided by the root of their number, which keeps the standard deviation of noise; planes that are no
             colours are shown in grey
    """
    colours = [[plane for name, plane in removed.items() if name.startswith(colour)] for colour in "RGB"]
    if not all(colours):
        colours = 3 * [list(removed.values())]
    planes = [np.sum(planes, axis=0) / np.sqrt(len(planes)) for planes in colours]
    levels = np.nan_to_num(GREY + SIGMA * np.stack(planes, axis=-1), nan=GREY)
    return _jpeg(levels.round().clip(0, 255).astype(np.uint8), STEP_REMOVED)


def histogram(plane: np.ndarray) -> dict[str, object]:
    """A plane of what was removed: its share in each of BINS, the share beyond them, mean and standard deviation."""
    values = plane[np.isfinite(plane)].astype(np.float64)
    if not values.size:
        return {"shares": [0.0] * (len(BINS) - 1), "beyond": None, "mean": None, "deviation": None}
    shares = np.histogram(values, BINS)[0] / values.size
    return {
        "shares": [round(share, 6) for share in shares.tolist()],
        "beyond": round(float(1 - shares.sum()), 6),
        "mean": round(float(values.mean()), 4),
        "deviation": round(float(values.std()), 4),
    }


def _jpeg(picture: np.ndarray, step: int) -> str:
    """By Pillow, as OpenCV takes no tables."""
    content = io.BytesIO()
    tables = [[step] * 64] * 2  # brightness and colours
    Image.fromarray(picture).save(content, "JPEG", qtables=tables, subsampling=0)
    return _uri("jpeg", content.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
