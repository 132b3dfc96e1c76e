"""The sample photographs, which scikit-image and matplotlib carry, written to training_data/sample on first use."""

from pathlib import Path

import numpy as np

from restore.files.atomic import make_folder
from restore.files.images import read_image, write_image

SAMPLE = Path("training_data/sample")
# All are in colour and of their own size. Those of VALIDATION show nothing of those of TRAIN.
TRAIN = {
    "cup": "coffee",
    "galaxies": "hubble_deep_field",
    "motorcycle": "stereo_motorcycle",
    "retina": "retina",
    "tissue": "immunohistochemistry",
}
VALIDATION = {"admiral": "grace_hopper.jpg", "astronaut": "astronaut", "cat": "chelsea", "rocket": "rocket"}
"""By their names here: a function of skimage.data, or a file of matplotlib's."""


def make_sample_photographs(folder: str | Path) -> list[str] | None:
    """Writes the missing sample photographs if the folder is SAMPLE/train or SAMPLE/val; else does nothing.

    Returns the names of that folder's photographs, None for any other folder.
    """
    sources = {SAMPLE / "train": TRAIN, SAMPLE / "val": VALIDATION}.get(Path(folder))
    if sources is None:
        return None
    for name, source in sources.items():
        path = Path(folder) / f"{name}.png"
        if not path.exists():
            make_folder(path.parent)
            write_image(path, _photograph(source))
    return [f"{name}.png" for name in sources]


def _photograph(source: str) -> np.ndarray:
    if Path(source).suffix:
        import matplotlib

        return read_image(Path(matplotlib.get_data_path()) / "sample_data" / source)
    from skimage import data

    picture = getattr(data, source)()
    return picture[0] if isinstance(picture, tuple) else picture  # left eye, right eye, disparity
