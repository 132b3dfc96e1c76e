"""The noise of a user's own camera, as calibration measured it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Generator

from options.base import Options, check_path, parse
from options.json_data import read_json
from transforms.noise.base import NoiseModel
from transforms.noise.draws import Planes, per_plane
from transforms.noise.sensor import SensorNoise


class CameraProfile(Options):
    """A camera at one ISO speed. Lists have four numbers: for R, G1, G2, B of an RGGB mosaic. DN are the raw file's.

    Its raw files hold whole numbers, so that quantisation with a step of 1 DN is a part of its noise.
    """

    camera: str
    """Make and model, or another name of the camera."""
    iso: PositiveFloat | None = None
    """ISO speed at which it was measured; null: not known."""
    gain: Planes[PositiveFloat]
    """[DN/e-]."""
    read_noise: Planes[NonNegativeFloat]
    """[DN rms], without row noise and quantisation."""
    row_noise: Planes[NonNegativeFloat]
    """[DN rms]: what all pixels of a row have in common."""
    black_level: Planes[float]
    """[DN]."""
    white_level: PositiveFloat
    """[DN]."""
    tukey_shape: Annotated[float, Field(ge=-0.3)] | None = None
    """Shape of the read noise's Tukey-lambda distribution; null: it is Gaussian."""

    @model_validator(mode="after")
    def _white_is_above_black(self) -> "CameraProfile":
        if self.white_level <= max(self.black_level):
            raise ValueError(
                f"white_level: {self.white_level} given, and the black level is {max(self.black_level)}; "
                f"give the greatest value of the raw file"
            )
        return self

    def noise(self) -> SensorNoise:
        """The noise in units of the white level above black."""
        unit = 1 / (self.white_level - per_plane(self.black_level))
        return SensorNoise(
            shot=per_plane(self.gain) * unit,
            read=(per_plane(self.read_noise) * unit).square(),
            tukey_shape=None if self.tukey_shape is None else per_plane(self.tukey_shape),
            row_noise=per_plane(self.row_noise) * unit,
            step=unit,
        )


def read_profile(path: str | Path) -> CameraProfile:
    """The profile that calibration wrote. UserError with a line for each mistake."""
    return parse(CameraProfile, read_json(path, "give the path of a profile that restore.calibrate wrote"), str(path))


def _read_where_a_path_is_given(camera: Any) -> Any:
    return read_profile(check_path(camera)) if isinstance(camera, str) else camera


ProfileOrPath = Annotated[
    CameraProfile, BeforeValidator(_read_where_a_path_is_given, json_schema_input_type=str | CameraProfile)
]


class Profile(NoiseModel):
    """The noise of a calibrated camera. The profile's numbers become part of the options, so that a model's JSON
    tells the noise it was trained with, even without the profile's file."""

    class_name: Literal["profile"] = "profile"
    camera: ProfileOrPath
    """The path of a profile made by restore.calibrate, or the profile itself."""

    @property
    def heeds_iso(self) -> bool:
        return False

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        return self.camera.noise()
