"""The sample photographs: images from scikit-image, written to training_data/sample on first use."""

from pathlib import Path

from restore.files.atomic import make_folder
from restore.files.images import write_image

SAMPLE = Path("training_data/sample")
# The photographs of VALIDATION show nothing of those of TRAIN, and are not enlarged.
TRAIN = (
    "brick",
    "cell",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
    "stereo_motorcycle",
)
VALIDATION = ("astronaut", "camera")
SHORTEST_SIDE = 512
"""Large enough for the crops of every option file in options/ [px]."""


def make_sample_photographs(folder: str | Path) -> None:
    """Writes the missing sample photographs if the folder is SAMPLE/train or SAMPLE/val; else does nothing.

    Grey images become RGB, and smaller ones are enlarged until their shorter side is SHORTEST_SIDE.
    """
    names = {SAMPLE / "train": TRAIN, SAMPLE / "val": VALIDATION}.get(Path(folder))
    missing = [name for name in names or () if not (Path(folder) / f"{name}.png").exists()]
    if not missing:
        return
    import cv2
    from skimage import data

    make_folder(Path(folder))
    for name in missing:
        picture = getattr(data, name)()
        if isinstance(picture, tuple):  # left eye, right eye, disparity
            picture = picture[0]
        if picture.ndim == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        scale = max(1.0, SHORTEST_SIDE / min(picture.shape[:2]))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        write_image(Path(folder) / f"{name}.png", picture)
