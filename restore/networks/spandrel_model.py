"""The network of a community model's file, told by spandrel from the names and shapes of its weights.

Source: https://github.com/chaiNNer-org/spandrel (MIT). Its architectures of other licences, in spandrel_extra_arches,
are never used.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from options.base import PathText
from options.errors import UserError
from restore.networks.base import Generator, NetworkOptions, Planes
from restore.networks.padding import crop, mirrored
from restore.networks.weights import check_finite, read_state_dict
from transforms.sensor.layout import LAYOUTS


class SpandrelOptions(NetworkOptions):
    """The network that a community model's file describes, with its weights: every architecture that spandrel knows.

    It needs the package: pip install 'restore[spandrel]'. A run that is continued reads the file again; the models that
    it saves do not need it, as each describes its network itself.
    """

    class_name: Literal["Spandrel"] = "Spandrel"
    n_channels: Planes = 3
    """Planes of the image, those of the file's network: 4 only for a model of packed raw."""
    in_channels: None = None
    """Not here: the file's network takes the image alone."""
    scale: int = Field(default=1, ge=1, le=16)
    """Side of the restored image / side of the degraded one. The file tells it, so leave it out: this default is not
    used, and a scale that is not the file's is a mistake."""
    use_sigmoid: Literal[False] = False
    """Not here: the file's network ends as it was published."""
    weights: PathText
    """The model's file, .pth or .safetensors, as "4x_some_model.pth"."""

    @model_validator(mode="after")
    def _as_the_file_says(self) -> Self:
        model = _described(self.weights)
        network = f"the network in {self.weights} ({model.architecture.name})"
        if model.output_channels != self.n_channels:
            raise ValueError(
                f"n_channels is {self.n_channels}, but {network} restores {model.output_channels} planes; set it to "
                f"{model.output_channels}, or take another model"
            )
        if "scale" not in self.model_fields_set:
            object.__setattr__(self, "scale", model.scale)  # the section is not in use yet, so it may still change
        if model.scale != self.scale:
            raise ValueError(
                f"scale is {self.scale}, but {network} enlarges {model.scale} times; leave it out, or take another "
                f"model"
            )
        return self

    @property
    def file(self) -> str:
        return self.weights

    def build(self) -> "SpandrelNetwork":
        return SpandrelNetwork(_described(self.weights))


class SpandrelNetwork(Generator):
    """A network of spandrel. Its output is not clipped to 0..1, as spandrel clips it, so that training can go on there.

    model  spandrel's ImageModelDescriptor
    Names of weights and parameters are the network's own, so that spandrel knows the saved ones again.
    """

    def __init__(self, model: Any):
        self.size_requirements = model.size_requirements
        super().__init__(model.output_channels, scale=model.scale, size_multiple=self.size_requirements.multiple_of)
        self.half_precision_safe = model.supports_half and model.supports_bfloat16
        self.network: nn.Module = model.model
        # Some networks give more than the image, or take it in another range; only spandrel's function knows.
        self.call = model._call_fn

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        right, below = self.size_requirements.get_padding(width, height)
        return crop(self.core(mirrored(degraded, below, right)), self.scale * height, self.scale * width)

    def core(self, degraded: Tensor) -> Tensor:
        return self.call(self.network, degraded).to(degraded.dtype)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        return self.network.load_state_dict(state_dict, *args, **kwargs)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return self.network.named_parameters(*args, **kwargs)


def _described(path: str) -> Any:
    """The network of a model's file, spandrel's ImageModelDescriptor. Raises UserError for a file that is refused."""
    try:
        import spandrel
    except ImportError:
        raise UserError(
            f"{path}: spandrel, which tells the network of such a file, is missing; pip install 'restore[spandrel]'"
        ) from None
    weights = read_state_dict(path)
    try:
        model = spandrel.ModelLoader().load_from_state_dict(weights)
    except spandrel.UnsupportedModelError:
        raise UserError(
            f"{path}: of no architecture that spandrel {spandrel.__version__} knows (those of spandrel_extra_arches "
            f"are not used, for their licences); take another model"
        ) from None
    except Exception as error:  # whatever its many loaders stumble over
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: spandrel cannot build its network ({type(error).__name__}: {reason}); fetch the file again, or "
            f"take another"
        ) from None
    if unfit := _unfit(model):
        raise UserError(f"{path}: a model of {model.architecture.name}, {unfit}; take another")
    check_finite(model.model.state_dict().items(), path)
    return model


def _unfit(model: Any) -> str | None:
    """Why a network that spandrel knows cannot restore pictures here; None: it can."""
    planes, restored = model.input_channels, model.output_channels
    if model.purpose == "Inpainting":
        return "which needs a mask beside the image"
    if model.purpose == "FaceSR":
        return "which restores aligned faces of one size alone"
    if model.architecture.id == "DRUNet" or getattr(model.model, "mode", None) == "FDnCNN":
        return "which needs a noise level beside the image"
    if planes != restored or restored not in {layout.channels for layout in LAYOUTS.values()}:
        return f"from {planes} to {restored} planes, and what they are is known of 3 (sRGB) and 4 (packed raw) alone"
    return None
