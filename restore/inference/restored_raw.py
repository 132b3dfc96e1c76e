"""What is known of the noise of a raw file."""

from restore.camera.raw_file import RawFile
from restore.files.images import BadImage
from transforms.noise.profile import CameraProfile
from transforms.sensor.metadata import NoiseProfile


def known_noise(source: RawFile, profile: CameraProfile | None) -> tuple[NoiseProfile, str]:
    """The noise of a raw file and where it is from: its own NoiseProfile, else the profile of its camera.

    Raises BadImage where the profile was measured at another ISO speed.
    """
    if source.metadata.noise.known:
        return source.metadata.noise, "NoiseProfile of the file"
    if profile is None:
        return source.metadata.noise, "not known"
    if profile.iso and source.iso and profile.iso != source.iso:
        raise BadImage(
            source.path,
            f"has ISO {source.iso:g}, and the profile of {profile.camera} was measured at ISO {profile.iso:g}",
            "give a profile of that speed",
        )
    return profile.noise().profile(), f"profile of {profile.camera}"
