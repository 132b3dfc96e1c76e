"""A trained model and how to use it."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from options.errors import UserError
from restore.camera.noise_sources import find_noise
from restore.camera.raw_file import read_raw
from restore.camera.restored_raw import RestoredRaw, noise_left
from restore.compute.device import choose_device
from restore.files.images import BadImage, to_tensor, to_uint
from restore.inference.ensemble import ORIENTATIONS, TRANSPOSED, UPRIGHT, mean_over, oriented, turned
from restore.networks import build_generator
from restore.networks.means import recorded
from restore.networks.tiles import check_tiles, restore_tiled
from restore.networks.weights import load_weights, read_state_dict
from restore.runs.information import Information
from transforms import NoiseProfile, RawMetadata, pack, unpack
from transforms.noise.profile import CameraProfile
from transforms.sensor.bayer import PATTERNS, Pattern, rearrange, unify_padded
from transforms.sensor.cameras import NEUTRAL

Numbers = float | Sequence[float] | np.ndarray | Tensor
"""One number for all four planes, or one for each of R, G1, G2, B."""
Noise = NoiseProfile | tuple[Numbers, Numbers]
"""shot and read: the variance of a raw image's noise is shot * x + read, where x is 0 at black and 1 at white."""
Image = TypeVar("Image", Tensor, np.ndarray)
LINEAR = "give (values - black level) / (white level - black level), as floating-point numbers"


class Restorer:
    """Restores images of any size with a trained generator, in float32, as its information file says.

    run_or_pth  a run's folder (its best model), or a .pth or .safetensors: with its information file beside it, or
                without one a published model that spandrel knows
    device      "cpu", "cuda", "cuda:1", "mps"; None: the best there is
    Raises UserError if a file is missing or does not fit.
    """

    def __init__(self, run_or_pth: str | Path, device: str | None = None):
        self.path = _weights_file(run_or_pth)
        self.information = Information(self.path)
        self.chain = self.information.chain
        self.layout = self.information.layout
        self.scale: int = self.information.generator.scale
        """Side of the restored image / side of the degraded one."""
        _check_iteration(self.path, self.information.data.get("iteration"))
        self.device = choose_device(device)
        network = build_generator(self.information.generator)
        # A network told by its file has the weights already, at times under other names than the file's.
        weights = network.state_dict() if self.information.generator.file else read_state_dict(self.path)
        self.weights_report = load_weights(network, weights, str(self.path), complete=True)
        self.network = network.to(self.device).to(memory_format=network.memory_format).eval()
        self.on_tile: Callable[[float], None] | None = None
        """Called after each tile with its share of an image; of an ensemble once for each orientation."""

    def __call__(
        self,
        image: Image,
        noise: Noise | None = None,
        tile: int = 512,
        overlap: int = 32,
        ensemble: bool = False,
    ) -> Image:
        """The restored image: a tensor on the same device if a tensor was given, an array if an array was given.

        image    a tensor or float array (C, H, W): for a raw model packed raw (4 planes R, G1, G2, B; linear, 0 black,
                 1 white), for a 3-channel model sRGB 0..1; or, for a 3-channel model, a picture (H, W, 3), uint8 or
                 uint16, sRGB
        noise    (shot, read) or a NoiseProfile: the variance of the raw image's noise is shot * x + read. A model that
                 was trained with VarianceStabilization or NoiseLevelMap needs it; others do not use it
        tile     a larger image goes through the network in tiles of at most this side [pixels]
        overlap  pixels that two neighbouring tiles share at least
        ensemble the mean of what the network makes of the image mirrored and turned in all ways that keep its layout:
                 eight, and of raw at an even scale, where others end with the colours at other sites, two
        Returns (C, scale * H, scale * W), float32; for a picture (scale * H, scale * W, 3) of the same dtype.
        Raises UserError if the channels do not fit the model, or the noise is not given where it is needed.
        """
        if self.layout.raw and not _is_float(image):
            raise UserError(f"image: {image.dtype} given; {self.path} restores linear raw: {LINEAR}")
        restored = self._ensemble if ensemble else self._restored
        if isinstance(image, Tensor):
            return restored(image, noise, tile, overlap)
        if image.dtype in (np.uint8, np.uint16):
            return to_uint(restored(to_tensor(image), noise, tile, overlap), image.dtype)
        return restored(torch.from_numpy(np.ascontiguousarray(image)), noise, tile, overlap).numpy()

    def restore_mosaic(
        self,
        mosaic: np.ndarray,
        pattern: Pattern,
        noise: Noise | None = None,
        tile: int = 512,
        overlap: int = 32,
        ensemble: bool = False,
    ) -> np.ndarray:
        """Restores a whole mosaic of any size and Bayer pattern, with all its pixels.

        mosaic   (H, W) linear, 0 black, 1 white, H and W 2 or more
        pattern  the colours of its first two rows: "RGGB", "GRBG", "GBRG" or "BGGR"
        The other arguments are those of a call. Returns (scale * H, scale * W), float32, of restored_pattern. Both
        mosaics have the same outer edges: pixel i of the mosaic, counted from 0 along a side, has its centre at pixel
        scale * i + (scale - 1) / 2 of the result.
        Raises UserError for a mosaic that does not fit.
        """
        if mosaic.ndim != 2 or min(mosaic.shape) < 2 or pattern not in PATTERNS:
            raise UserError(
                f"mosaic: one of the shape {mosaic.shape} and the pattern {pattern} given; give (H, W), 2 x 2 or "
                f"larger, and one of {', '.join(PATTERNS)}"
            )
        if not _is_float(mosaic):
            raise UserError(f"mosaic: {mosaic.dtype} given; {self.path} restores linear raw: {LINEAR}")
        mosaic = np.asarray(mosaic, np.float32)
        if ensemble:
            return self._mosaic_ensemble(mosaic, pattern, noise, tile, overlap)
        padded, window = unify_padded(mosaic, pattern)
        rows, columns = (slice(self.scale * part.start, self.scale * part.stop) for part in window)
        return unpack(self(pack(torch.from_numpy(padded)), noise, tile, overlap)).numpy()[rows, columns]

    def restored_pattern(self, pattern: Pattern) -> Pattern:
        """The pattern of a mosaic of this pattern when it is restored: RGGB of a model whose scale is even."""
        return pattern if self.scale % 2 else "RGGB"

    def restore_raw(
        self,
        path: str | Path,
        profile: CameraProfile | None = None,
        noise_profiles: str | Path | None = None,
        strength: float = 1.0,
        tile: int = 512,
        overlap: int = 32,
        ensemble: bool = False,
    ) -> RestoredRaw:
        """Restores a raw file: its visible area, as the command restore.test does.

        profile         of its camera, for a model that has to know the noise, where the file has no NoiseProfile
        noise_profiles  darktable's noiseprofiles.json, where there is no profile either; None: that of darktable where
                        it is installed. Where it does not tell the noise, that is estimated from the file
        strength        0 to 1: the mosaic is (1 - strength) * recorded + strength * restored
        tile, overlap, ensemble  as of a call
        restore.camera.output.formats.write_all writes the result. Raises BadImage for a file that cannot be read, is of
        another ISO speed than the profile, or has too few pixels for the estimate where the model needs one; and
        UserError where the model or an argument does not fit.
        """
        if not self.layout.raw:
            raise UserError(f"{self.path} restores {self.layout.name} pictures; take a model of raw images")
        self.check_strength(strength)
        source = read_raw(path)
        noise, noise_from = find_noise(source, profile, noise_profiles)
        if self.chain.conditioning and not noise.known:
            raise BadImage(
                path,
                f"has no NoiseProfile and too few pixels to estimate one, and {self.path} was trained with "
                f"{self.chain.conditioning[0].class_name}, which has to know the noise",
                "give a profile of the camera at this ISO speed (restore.calibrate)",
            )
        linear = source.linear()
        known = noise if noise.known else None
        restored = self.restore_mosaic(linear, source.pattern, known, tile, overlap, ensemble)
        left = None
        if self.scale == 1:
            left = noise_left(linear, restored, source, noise, strength) if noise.known else None
            restored = blended(linear, restored, strength)
        pattern = self.restored_pattern(source.pattern)
        return RestoredRaw(source, restored, pattern, strength, noise, noise_from, left)

    @property
    def orientations(self) -> Sequence[int]:
        """Of an ensemble: those that keep the layout, all eight or two."""
        return (UPRIGHT, TRANSPOSED) if self.layout.raw and self.scale % 2 == 0 else ORIENTATIONS

    def check_tiles(self, tile: int, overlap: int) -> None:
        """Raises UserError where the network cannot be used on such tiles."""
        check_tiles(tile, overlap, self.network.size_multiple)

    def check_strength(self, strength: float) -> None:
        """Raises UserError where a restored image cannot be blended with its input in this way."""
        if not 0 <= strength <= 1:
            raise UserError(f"strength: {strength} given; give a number from 0 to 1")
        if strength < 1 and self.scale > 1:
            raise UserError(f"strength: {strength} given, and {self.path} enlarges {self.scale} times; leave it out")

    def _ensemble(self, image: Tensor, noise: Noise | None, tile: int, overlap: int) -> Tensor:
        """As _restored, the mean over orientations."""
        self._check_shape(image)
        if self.layout.raw:  # whose planes do not mirror alone
            mosaic = unpack(image.float()).cpu().numpy()
            restored = self._mosaic_ensemble(mosaic, "RGGB", noise, tile, overlap)
            return pack(torch.from_numpy(restored)).to(image.device)
        picture = image.cpu().numpy()

        def restored_as(orientation: int) -> np.ndarray:
            moved = torch.from_numpy(np.ascontiguousarray(oriented(picture, orientation)))
            return self._restored(moved, noise, tile, overlap).numpy()

        return torch.from_numpy(mean_over(self.orientations, restored_as)).to(image.device)

    def _mosaic_ensemble(
        self, mosaic: np.ndarray, pattern: Pattern, noise: Noise | None, tile: int, overlap: int
    ) -> np.ndarray:
        """As restore_mosaic, the mean over orientations."""

        def restored_as(orientation: int) -> np.ndarray:
            moved, its_pattern = rearrange(mosaic, pattern, partial(oriented, orientation=orientation))
            its_noise = noise
            if noise is not None and turned(orientation):
                its_noise = self._metadata(noise, torch.device("cpu")).turned().noise
            return self.restore_mosaic(np.ascontiguousarray(moved), its_pattern, its_noise, tile, overlap)

        return mean_over(self.orientations, restored_as)

    def _restored(self, image: Tensor, noise: Noise | None, tile: int, overlap: int) -> Tensor:
        self._check_shape(image)
        degraded = image.float()
        if not self.chain.conditioning:
            return restore_tiled(self.network, degraded, tile, overlap, self.on_tile)
        metadata = self._metadata(noise, image.device)
        seen, metadata = self.chain.conditioned(degraded, metadata)
        restored = restore_tiled(self.network, seen, tile, overlap, self.on_tile)
        return recorded(self.network, restored, degraded, metadata)

    def _check_shape(self, image: Tensor) -> None:
        if image.ndim != 3 or image.shape[0] != self.layout.channels:
            raise UserError(
                f"image: the shape {tuple(image.shape)} given does not fit {self.path}, "
                f"which restores ({self.layout.channels}, H, W)"
            )

    def _metadata(self, noise: Noise | None, device: torch.device) -> RawMetadata:
        """The noise as the model's conditioning takes it. Raises UserError where it is missing or impossible."""
        if noise is None:
            raise UserError(
                f"noise: not given, and {self.path} was trained with {self.chain.conditioning[0].class_name}, which "
                f"has to know it; give (shot, read) as in the DNG's NoiseProfile"
            )
        try:
            numbers = (torch.as_tensor(number, dtype=torch.float32, device=device) for number in noise)
            profile = NoiseProfile(*(number.expand(self.layout.channels) for number in numbers))
            usable = all(bool(((values >= 0) & values.isfinite()).all()) for values in profile)
        except (TypeError, ValueError, RuntimeError):
            usable = False
        if not usable:
            raise UserError(f"noise: {noise} given; give (shot, read), each a number or four, not below 0")
        return RawMetadata(NEUTRAL, profile)


def blended(degraded: Image, restored: Image, strength: float) -> Image:
    """(1 - strength) * degraded + strength * restored; of strength 1 and 0 exactly one of them."""
    return restored if strength == 1 else degraded + strength * (restored - degraded)


def _weights_file(run_or_pth: str | Path) -> Path:
    """The .pth file. Raises UserError where it is not there."""
    path = Path(run_or_pth)
    if not str(run_or_pth) or not os.path.exists(path):  # noqa: PTH110 (Path.exists raises OSError for a name that is too long)
        raise UserError(f"run_or_pth: {run_or_pth} is not there; give a run's folder under model_zoo/ or a .pth file")
    if path.is_dir() and not (path / "best.pth").exists():
        raise UserError(f"run_or_pth: {path} has no best.pth; give a run's folder that has saved a model, or a .pth")
    return path / "best.pth" if path.is_dir() else path


def _check_iteration(weights: Path, iteration: int | None) -> None:
    """Raises UserError where the information file's iteration is not the one in the name of the weights."""
    named = re.fullmatch(r"model_(\d+)", weights.stem)
    if named and iteration is not None and int(named[1]) != iteration:
        raise UserError(
            f"{weights.with_suffix('.json')}: its iteration is {iteration}, and the weights are of {named[1]}; "
            f"put the information file beside the weights that was saved with them"
        )


def _is_float(image: Tensor | np.ndarray) -> bool:
    return image.is_floating_point() if isinstance(image, Tensor) else image.dtype.kind == "f"
