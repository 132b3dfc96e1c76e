"""Where the noise of a raw file is taken from: the file, a profile, darktable's measurements, an estimate."""

import shutil
from pathlib import Path

from options.errors import UserError
from restore.camera.noise_estimate import estimate_noise
from restore.camera.raw_file import UNKNOWN_CAMERA, RawFile
from restore.files.images import BadImage
from transforms.noise.darktable import find_camera
from transforms.noise.profile import CameraProfile
from transforms.sensor.metadata import NoiseProfile

SHARED = Path("share/darktable/noiseprofiles.json")
"""Below the folder that darktable is installed in."""
FLATPAK = "flatpak/app/org.darktable.Darktable/current/active/files"
INSTALLATIONS = (
    *("/usr", "/usr/local", "/opt/darktable"),
    *(f"/var/lib/{FLATPAK}", f"~/.local/share/{FLATPAK}"),
    "/Applications/darktable.app/Contents/Resources",
    "C:/Program Files/darktable",
)
"""Folders that darktable is usually installed in: on Linux, as a Flatpak, on macOS, on Windows."""


def find_noise(
    source: RawFile, profile: CameraProfile | None = None, noise_profiles: str | Path | None = None
) -> tuple[NoiseProfile, str]:
    """The noise of a raw file, and in words where it was taken from: the first of

    1. the NoiseProfile of the file,
    2. the calibrated profile of its camera, where one is given,
    3. its camera in darktable's noise profiles, where they have it at this ISO speed,
    4. an estimate from the file, which is unknown where the file has too few pixels.

    noise_profiles  darktable's noiseprofiles.json; None: that of darktable where it is installed
    Raises BadImage where the profile was measured at another ISO speed, and UserError where the noise profiles that
    were given cannot be used.
    """
    if source.metadata.noise.known:
        return source.metadata.noise, "NoiseProfile of the file"
    if profile is not None:
        return _of_profile(source, profile)
    noise, words = _of_darktable(source, noise_profiles)
    if noise is not None:
        return noise, words
    noise = estimate_noise(source)
    return noise, f"estimated from the file: {words}" if noise.known else f"not known: {words}"


def installed_noise_profiles() -> Path | None:
    """The noiseprofiles.json of darktable: of the one that the command `darktable` starts, else of the first that lies
    where it is usually installed; None where there is none."""
    command = shutil.which("darktable")
    folders = [Path(folder).expanduser() for folder in INSTALLATIONS]
    if command:
        folders.insert(0, Path(command).resolve().parents[1])
    return next((folder / SHARED for folder in folders if (folder / SHARED).is_file()), None)


def _of_profile(source: RawFile, profile: CameraProfile) -> tuple[NoiseProfile, str]:
    if profile.iso and source.iso and profile.iso != source.iso:
        raise BadImage(
            source.path,
            f"has ISO {source.iso:g}, and the profile of {profile.camera} was measured at ISO {profile.iso:g}",
            "give a profile of that speed",
        )
    names = profile.camera.lower(), source.camera.lower()
    alike = source.camera == UNKNOWN_CAMERA or names[0] in names[1] or names[1] in names[0]
    other = "" if alike else f", and the file's camera is {source.camera}"
    return profile.noise().profile(), f"profile of {profile.camera}{other}"


def _of_darktable(source: RawFile, given: str | Path | None) -> tuple[NoiseProfile | None, str]:
    """The noise and where it is from; or None, and why darktable's noise profiles do not tell it."""
    path = installed_noise_profiles() if given is None else given
    if path is None:
        return None, "darktable, whose noise profiles could tell it, is not installed"
    try:
        camera = find_camera(path, source.make, source.model)
    except UserError as mistake:
        if given is not None:
            raise
        return None, str(mistake)
    if camera is None:
        return None, f"{path} does not have the camera {source.camera}"
    if source.iso is None:
        return None, "the file does not say its ISO speed"
    if not camera.has(source.iso):
        return None, (
            f"{path} has {camera.name} from ISO {camera.iso[0]:g} to {camera.iso[-1]:g}, and the file has ISO "
            f"{source.iso:g}"
        )
    return camera.noise(source.iso), f"darktable's noise profiles: {camera.name} at ISO {source.iso:g} ({path})"
