"""The noise of hundreds of real cameras, from a user's own copy of darktable's noiseprofiles.json.

darktable installs the file, for example as /usr/share/darktable/noiseprofiles.json. It is under the GPL, so it is no
part of the suite, and its numbers stay out of models and options: a model is restored with without the file.
Its form: darktable, src/common/noiseprofiles.c.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from pydantic import ConfigDict, Field, PositiveFloat
from torch import Generator, Tensor

from options.base import Options, PathText, parse
from options.errors import UserError
from options.json_data import read_json
from options.mistakes import most_like, shortened
from transforms.noise.base import NoiseModel
from transforms.noise.draws import choose, log_uniform
from transforms.noise.sensor import SensorNoise
from transforms.sensor.cameras import COLOUR_OF_SITE
from transforms.sensor.metadata import NoiseProfile

MOSAIC_SIGMA = np.array([2.82, 3.94, 2.96])
"""How many times as strong the noise of a mosaic is as the file says, in red, green and blue [1].

The file's numbers were measured on demosaiced frames, by the median size of the Haar coefficients
(x00 - x01 - x10 + x11) / 4 of 2 x 2 pixels. Their standard deviation is half that of the pixels: a factor of 2 exactly.
The demosaicing has averaged noise away: factors of 1.41, 1.97 and 1.48, the medians of 253 cameras.
Sources: darktable, tools/noise/noiseprofile.c; aurelienpierreeng/ansel-denoise, bench/rpu-sweep-calibration.csv.
"""
CAMERAS = Path("rawspeed/cameras.xml")
"""Beside the file where darktable is installed: the cameras and their names in other countries."""
REMEDY = "give the path of darktable's noiseprofiles.json, as /usr/share/darktable/noiseprofiles.json"


class ProfiledCamera(NamedTuple):
    """A camera of the file, with its noise in the mosaic: the variance of a colour is shot * x + read, where x is 0 at
    black and 1 at white."""

    maker: str
    model: str
    iso: np.ndarray
    """(n,), rising: the ISO speeds that were measured."""
    shot: np.ndarray
    """(n, 3), above 0: of red, green and blue [1]."""
    read: np.ndarray
    """(n, 3), above 0 [1]."""

    @property
    def name(self) -> str:
        return f"{self.maker} {self.model}"

    def is_called(self, name: str) -> bool:
        """Whether this is its maker and model, or its model alone. Case and blanks do not matter: "SONY ILCE-7M3"."""
        return _plain(name) in (_plain(self.name), _plain(self.model))

    def is_made_by(self, maker: str) -> bool:
        """Whether a raw file's make names its maker: of OM System "OM Digital Solutions" does."""
        return self.maker.lower().split()[0] in maker.lower().split()

    def has(self, iso: float) -> bool:
        """Whether the ISO speed lies in the range that was measured."""
        return bool(self.iso[0] <= iso <= self.iso[-1])

    def noise(self, iso: float) -> NoiseProfile:
        """shot and read, interpolated linearly between two ISO speeds; outside the range, those of its nearer end."""
        return NoiseProfile(*(self._at(iso, values) for values in (self.shot, self.read)))

    def _at(self, iso: float, values: np.ndarray) -> Tensor:
        """(4,) float32: for R, G1, G2, B."""
        colours = [np.interp(iso, self.iso, column) for column in values.T]
        return torch.tensor([colours[colour] for colour in COLOUR_OF_SITE], dtype=torch.float32)


class Darktable(NoiseModel):
    """The noise of any of the cameras, over 400, that the noise profiles of darktable know.

    For each image a camera is drawn among those that have the ISO speed, each being equally likely. If none of them has
    it, one is drawn among all, with its noise at the nearest ISO speed that it has. Use it for a model that is to
    restore raw files of many cameras, with `iso` [100, 25600]; for one camera that you have, a calibrated `profile` is
    more exact. The file is read when samples are made; restoring raw files with the model does not need it.
    """

    class_name: Literal["darktable"] = "darktable"
    path: PathText
    """darktable's noiseprofiles.json; on Linux usually /usr/share/darktable/noiseprofiles.json."""
    cameras: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Maker and model of the cameras to draw from, as ["Sony ILCE-7M3", "Canon EOS R5"]; null: all."""
    jitter: Annotated[float, Field(ge=1, le=10)] = 1
    """Shot and read noise of each colour are multiplied by factors of their own, drawn from 1 / jitter to jitter, their
    logarithms being uniform; 1: none. Use 1.25 or so, since the file's numbers are not more exact than that."""

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        cameras = _chosen(Path(self.path).absolute(), self.cameras)
        camera = choose([camera for camera in cameras if camera.has(iso)] or cameras, rng)
        shot, read = (values * self._factors(rng) for values in camera.noise(iso))
        return SensorNoise(shot, read)

    def file_mistakes(self) -> list[str]:
        try:
            known = read_noise_profiles(self.path)
        except UserError as mistake:
            return [f"path: {mistake}"]
        found = []
        for number, name in enumerate(self.cameras or ()):
            try:
                _called(name, known, self.path)
            except UserError as mistake:
                found.append(f"cameras.{number}: {mistake}")
        return found

    def _factors(self, rng: Generator) -> Tensor:
        """(4,): for R, G1, G2, B; both greens have the same."""
        colours = torch.tensor([log_uniform(1 / self.jitter, self.jitter, rng) for _ in range(3)])
        return colours[COLOUR_OF_SITE]


def camera_noise(path: str | Path, maker: str, model: str, iso: float) -> NoiseProfile | None:
    """The noise of a camera's mosaic by darktable's file; None where the file does not have the camera.

    maker, model  as a raw file's metadata have them: "NIKON CORPORATION" and "NIKON D750", or "Nikon" and "D750"
    iso           ISO speed; outside the range that was measured, the noise is that at its nearer end
    Raises UserError for a file that cannot be used.
    """
    camera = find_camera(path, maker, model)
    return camera and camera.noise(iso)


def find_camera(path: str | Path, maker: str, model: str) -> ProfiledCamera | None:
    """The camera in darktable's file; None where the file does not have it. The arguments are those of camera_noise.

    A camera that is sold under other names too, as the Canon EOS 550D as Kiss X4, is found by these where darktable's
    list of cameras lies beside the file. Raises UserError for a file that cannot be used.
    """
    text = f"{maker} {model}"  # Pentax: its name is in the model, and the make is Ricoh
    known = [camera for camera in read_noise_profiles(path) if camera.is_made_by(text)]
    names = (model, _other_names(Path(path).absolute().parent / CAMERAS).get(_plain(model)))
    return next((camera for name in names if name for camera in known if camera.is_called(name)), None)


def read_noise_profiles(path: str | Path) -> tuple[ProfiledCamera, ...]:
    """The cameras of darktable's file, which is read once in a process. UserError of one line if it cannot be used."""
    return _read(Path(path).absolute())


_Name = Annotated[str, Field(pattern=r"\S")]


class _Lenient(Options):
    """A part of the file, which may have further keys."""

    model_config = ConfigDict(extra="ignore")


class _Setting(_Lenient):
    """The noise of demosaiced frames at one ISO speed: variance = a * x + b, for red, green and blue."""

    iso: PositiveFloat
    a: tuple[float, float, float]
    b: tuple[float, float, float]
    skip: bool = False
    """darktable leaves this one out."""


class _Model(_Lenient):
    model: _Name
    profiles: list[_Setting]


class _Maker(_Lenient):
    maker: _Name
    models: list[_Model]


class _File(_Lenient):
    version: Literal[0]
    noiseprofiles: list[_Maker]


@cache
def _other_names(path: Path) -> dict[str, str]:
    """The name of a camera by each other name of it, without blanks and in lower case; none without the list."""
    try:
        cameras = ElementTree.parse(path).getroot().iter("Camera")
        return {
            _plain(alias.text): camera.get("model", "")
            for camera in cameras
            for alias in camera.iter("Alias")
            if alias.text
        }
    except (OSError, ElementTree.ParseError):
        return {}


@cache
def _read(path: Path) -> tuple[ProfiledCamera, ...]:
    data = read_json(path, REMEDY)
    try:
        makers = parse(_File, data, str(path)).noiseprofiles
    except UserError as mistakes:
        first = str(mistakes).splitlines()[0]
        raise UserError(f"{first}; it is damaged or another file: {REMEDY}") from None
    cameras = [_camera(maker.maker, model) for maker in makers for model in maker.models]
    known = tuple(camera for camera in cameras if camera is not None)
    if not known:
        raise UserError(f"{path}: has no camera; {REMEDY}")
    return known


def _camera(maker: str, model: _Model) -> ProfiledCamera | None:
    """None where nothing was measured."""
    by_iso: dict[float, list[np.ndarray]] = {}
    for setting in model.profiles:
        if not setting.skip and max(setting.a) > 0:
            by_iso.setdefault(setting.iso, []).append(_of_mosaic(setting))
    if not by_iso:
        return None
    # Some were measured more than once at an ISO speed: the mean.
    shot, read = np.stack([np.mean(by_iso[iso], axis=0) for iso in sorted(by_iso)], axis=1)
    return ProfiledCamera(maker, model.model, np.array(sorted(by_iso)), shot, read)


def _of_mosaic(setting: _Setting) -> np.ndarray:
    """(2, 3): shot and read in the mosaic. The only place where MOSAIC_SIGMA is applied.

    A colour whose a is 0 or below was not measured: it gets the mean of the others, as all sites of a sensor have the
    same gain. A b of 0 or below comes of values that were clipped at black before they were measured: the read noise is
    then that of one electron, about the least that sensors have, whose signal is shot.
    """
    shot, read = MOSAIC_SIGMA**2 * (setting.a, setting.b)
    measured = shot > 0
    shot, read = (np.where(measured, values, values[measured].mean()) for values in (shot, read))
    return np.stack([shot, np.where(read > 0, read, shot**2)])


@cache
def _chosen(path: Path, names: tuple[str, ...] | None) -> Sequence[ProfiledCamera]:
    """The cameras of these names, or all. Cached, as each sample asks for them."""
    known = read_noise_profiles(path)
    return known if names is None else [_called(name, known, path) for name in names]


def _called(name: str, known: Sequence[ProfiledCamera], path: str | Path) -> ProfiledCamera:
    """The camera of this name; UserError for a name of none, and of more than one."""
    called = [camera for camera in known if camera.is_called(name)]
    if not called:
        near = most_like(name, [camera.name for camera in known])
        remedy = f'did you mean "{near}"?' if near else f'give maker and model, as "{known[0].name}"'
        raise UserError(f"{shortened(name)} given, which is not in {path}; {remedy}")
    if len(called) > 1:
        names = " and ".join(camera.name for camera in called)
        raise UserError(f"{shortened(name)} given, and {path} has {names}; give the maker too")
    return called[0]


def _plain(name: str) -> str:
    return "".join(name.lower().split())
