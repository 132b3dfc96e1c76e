"""The degraded image that restore.test makes of a photograph, to measure a model by."""

from pathlib import Path

import numpy as np

from options.base import parse
from options.errors import UserError
from restore.data.batches import seeded_generator
from restore.files.images import read_image
from restore.inference.restorer import Restorer
from transforms import Pipeline, Sample
from transforms.pipeline import check_files, check_order
from transforms.rgb_to_raw import RgbToRawTransform

SEED = 0
"""Of the noise: a photograph is always degraded in the same way, whatever other files are restored with it."""


class Degradation:
    """Degrades whole photographs by the chain that a model was validated with, without its conditioning.

    Other denoisers can be compared with the model on exactly these images:
        degrade = Degradation(restore.load_model("model_zoo/<run>"), iso=3200)
        degraded, clean, metadata, layout = degrade("photos/a.jpg")

    iso  ISO speed of the noise; None: as in the model's validation
    Raises UserError where the chain degrades nothing, or not as this model restores it.
    """

    def __init__(self, restorer: Restorer, iso: int | None = None):
        place = f"{restorer.path.with_suffix('.json')}: transforms_test"
        steps = restorer.chain.transforms
        if restorer.information.note:
            raise UserError(
                f"{restorer.information.note}, which name no degradation; give degraded pictures as they are"
            )
        check_order(list(steps), place)
        check_files(list(steps), place)
        if not restorer.chain.degrades:
            raise UserError(f"{place}: degrades nothing, so that there is nothing to restore")
        if restorer.chain.scale != restorer.scale:
            raise UserError(
                f"{place}: makes clean images {restorer.chain.scale} times as large as the degraded ones, and the "
                f"model's generator enlarges {restorer.scale} times; take the file that was saved with the model"
            )
        self.chain = Pipeline(steps if iso is None else _at_iso(steps, iso)).for_whole_images()

    @property
    def notes(self) -> tuple[str, ...]:
        """A line that tells how much smaller than its photograph a clean image is, and by which transform; or none."""
        for step in self.chain.transforms:
            factor = step.smallest_input(1000, 1000)[0] / 1000
            if factor > 1:
                return (f"restored at 1/{factor:g} of each side: the model's chain begins with {step.class_name}",)
        return ()

    def __call__(self, photograph: str | Path | np.ndarray, name: str | None = None) -> Sample:
        """The degraded image, the clean one, and the camera and noise of a raw image.

        photograph  an image file, or its pixels (H, W, 3), uint8 or uint16, sRGB
        name        chooses the noise: the path of the file inside the folder that is restored; None: the file's name
        Raises UserError for a photograph that cannot be used.
        """
        if isinstance(photograph, np.ndarray):
            picture, name = photograph, name or ""
        else:
            picture, name = read_image(photograph), name or Path(photograph).name
        printable = name.encode("utf-8", "backslashreplace").decode()
        return self.chain(picture, seeded_generator(SEED, printable))


def _at_iso(steps: tuple, iso: int) -> tuple:
    makers = [step for step in steps if isinstance(step, RgbToRawTransform)]
    if not makers:
        raise UserError(f"iso: {iso} given; no transform of the model's chain goes by an ISO speed; leave it out")
    for step in makers:
        if not step.noise_model.heeds_iso:
            raise UserError(
                f"iso: {iso} given; the model's noise ({step.noise_model.class_name}) is the same at any speed"
            )
    return tuple(
        parse(RgbToRawTransform, {**step.model_dump(mode="json"), "iso": iso}, "iso") if step in makers else step
        for step in steps
    )
