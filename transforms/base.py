"""What every transform is: an option section that can be called, and that declares what the chain must know of it."""

import json
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Generator

from options.base import Options
from options.errors import UserError
from transforms.clean_crop import CleanCrops, Drawn
from transforms.images import Image, Pair
from transforms.sensor.layout import RGGB, SRGB, Layout
from transforms.sensor.mosaic import Mosaic
from transforms.sensor.mosaicking import to_16_bits

Stage = Literal["image", "sample"]
"""Before a transform made tensors of the image, and after."""


class Transform(Options):
    """An image operation whose fields are its whole state, so that its JSON rebuilds it.

    Whatever is random is drawn from the generator that comes with the call. The declarations below are all that the
    chain, the store and the option file know of a transform.
    """

    class_name: str

    takes: ClassVar[Stage] = "image"
    """What it is called with: an image (transforms.images.Image) or a Sample."""
    gives: ClassVar[Stage] = "image"
    """What it returns."""
    ends: ClassVar[bool] = False
    """Whether it makes the finished sample: such a transform stands at the end, and nowhere else."""
    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB, RGGB})
    """The layouts of images that it works on."""
    layout: ClassVar[Layout | None] = None
    """The layout of what it gives; None: that of what it took."""
    moves: ClassVar[bool] = False
    """Whether it moves or selects pixels and leaves their values alone. restore.test, which restores whole images,
    leaves such a transform out."""
    turns: ClassVar[bool] = False
    """Whether it mirrors or turns the image, so that a mosaic begins with R again a pixel further on."""
    swaps_sides: ClassVar[bool] = False
    """Whether height and width may change places."""
    stored: ClassVar[bool] = False
    """Whether its work on a whole image is done once, when the image is stored. Only for what draws nothing."""
    version: ClassVar[int] = 1
    """Of one that is stored: raise it by one when it makes other pixels of any image, and images are stored anew."""
    degrades: ClassVar[bool] = False
    """Whether the degraded image differs from the clean one by it, so that there is something to learn."""
    refuses_pairs: ClassVar[str | None] = None
    """Why it cannot take a recorded pair, as the end of "a pair given, and <class_name> ..."; None: it can."""
    needs_partner: ClassVar[bool] = False
    """Whether it mixes a second photograph in: then not the transform is called, but its method mix."""
    needs_pair: ClassVar[bool] = False
    """Whether it works on a degraded image beside the clean one, which a recorded pair has or a degradation made."""
    only_resamples: ClassVar[bool] = False
    """Whether it degrades by making the image smaller alone, as CutBlur would do with the clean one."""
    training_only: ClassVar[bool] = False
    """Whether it makes training harder and measuring wrong, so that it belongs into transforms_train alone."""

    @property
    def one_at_a_time(self) -> str | None:
        """Why it cannot work on a whole batch where the network is, as the end of "<class_name> ..."; None: it can. One
        that makes samples then has the methods drawn and record; one that takes samples is called with a batch of
        them, as one Sample whose tensors have a leading B, and draws nothing."""
        return "works on one image at a time"

    @property
    def extra_channels(self) -> int:
        """Channels that it adds to the degraded image."""
        return 0

    @property
    def needs_noise(self) -> bool:
        """Whether it has to know the noise of the raw image."""
        return False

    @property
    def reduction(self) -> int:
        """How many times as long the clean image's sides are as the degraded one's, by this transform: its `scale`,
        if it has one."""
        return getattr(self, "scale", 1)  # no attribute here, so that `scale` may be an option of some transforms

    @property
    def multiple(self) -> int:
        """Sides of the image that it takes whole are multiples of this [px]; of others a part is left out."""
        return 1

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) [px] of what it gives, where that is the same for every image."""
        return None

    def with_size(self, side: int) -> "Transform":
        """The same with the size side x side, of a transform that has a size: how a stage of a run changes the crop."""
        raise UserError(f"{self.class_name} has a fixed size; leave crop_size out, or use a RandomCrop")

    def __call__(self, image: Any, rng: Generator) -> Any:
        raise NotImplementedError

    def mix(self, image: Image, partner: Callable[[], Image], rng: Generator) -> Image:
        """The image with its partner, which is made where it is asked for. Only of a transform that needs_partner."""
        raise NotImplementedError

    def drawn(self, rng: Generator) -> Drawn:
        """What it draws for a photograph, in the order in which its call draws it, up to the noise of the pixels."""
        raise NotImplementedError

    def record(self, crops: CleanCrops) -> Any:
        """The samples of these crops, on their device, as one Sample whose tensors have a leading B."""
        raise NotImplementedError

    def without_effect(self) -> list[str]:
        """Options that were given and have no effect: "field: what was given, why, and the remedy" for each."""
        return []

    def file_mistakes(self) -> list[str]:
        """What is wrong with files that it reads to make samples: "field: what is wrong, and the remedy" for each.

        Asked when a chain is built, not when a model is read, since restoring does not need these files.
        """
        return []

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        """The size [px] of the smallest image from which this transform makes one of at least height x width."""
        return height, width


class Degradation(Transform):
    """A transform that degrades ordinary (sRGB) images: it makes a pair of its result and the image that it got.

    Of a pair that another degradation made it degrades the degraded image further. A subclass writes `degrade`, and has
    an option or property `scale` where the result is smaller; rows and columns that it does not divide are left out.
    """

    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB})
    degrades: ClassVar[bool] = True
    refuses_pairs: ClassVar[str | None] = "would degrade what is degraded already"

    def __call__(self, image: Image, rng: Generator) -> Pair:
        pair = image if isinstance(image, Pair) else Pair(image, image, recorded=False)
        assert not isinstance(pair.degraded, Mosaic)  # as layouts says
        assert not isinstance(pair.clean, Mosaic)
        height, width = (side // self.reduction * self.reduction for side in pair.degraded.shape[:2])
        clean = self.target(as_stored(pair.clean[: height * pair.scale, : width * pair.scale]))
        degraded = pair.degraded[:height, :width] if image is pair else clean
        return Pair(self.degrade(unit_range(degraded), rng), clean, recorded=False)

    def target(self, clean: np.ndarray) -> np.ndarray:
        """The image to restore to, from that given, (H, W, 3) sRGB, uint8 or uint16: the pair's clean image, of which
        the degraded one is made."""
        return clean

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        """The degraded image (H / scale, W / scale, 3) of an image (H, W, 3): both sRGB, float32, nominally 0 to 1."""
        raise NotImplementedError

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return max(height, self.reduction), max(width, self.reduction)


def unused(section: Options, why: str, *names: str) -> list[str]:
    """What `without_effect` tells of those of these options that were given: "name: what was given, but why"."""
    # The default is no choice of the user's: options.json and information files write it out.
    given = {name: getattr(section, name) for name in names}
    defaults = {name: type(section).model_fields[name].default for name in names}
    return [
        f"{name}: {json.dumps(given[name])} given, but {why}; leave it out"
        for name in names
        if given[name] != defaults[name]
    ]


def as_stored(image: Any) -> np.ndarray:
    """An sRGB image as the store would hold it: what was worked out as float32 from 0 to 1 is rounded to 16 bits.

    So a chain gives the very same sample of an image and of what the store made of it.
    """
    pixels = np.asarray(image)
    return to_16_bits(pixels) if pixels.dtype.kind == "f" else pixels


def unit_range(image: Any) -> np.ndarray:
    """An sRGB image, uint8, uint16 or float32, as float32 from 0 to 1."""
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f":
        return pixels
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32)
