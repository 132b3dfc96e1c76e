"""Perceptual terms, on weights files that the tests make themselves in the format that torchvision publishes."""

import functools
import hashlib
import http.server
import pickle
import shutil
import socket
import threading
import time

import lpips
import pytest
import torch
import torchvision
from torch.nn import functional

import losses
from losses import backbones
from options.errors import UserError
from transforms import RGGB, NoiseProfile, RawMetadata
from transforms.sensor.cameras import Camera

MODELS = {"lpips_vgg": "vgg16", "lpips_alex": "alexnet", "lpips_squeeze": "squeezenet1_1", "vgg": "vgg19"}
FILES = {
    "vgg16": "vgg16-397923af.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "squeezenet1_1": "squeezenet1_1-b8a52dc0.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with a file of random weights for each model, under its published name."""
    folder = tmp_path_factory.mktemp("published")
    rng = torch.Generator().manual_seed(0)
    for model, file in FILES.items():
        with torch.device("meta"):
            names = torchvision.models.get_model(model).state_dict()
        torch.save({name: random_weights(name, weight.shape, rng) for name, weight in names.items()}, folder / file)
    return folder


def random_weights(name: str, shape: torch.Size, rng: torch.Generator) -> torch.Tensor:
    if name.startswith("classifier"):
        return torch.zeros(1).expand(shape)  # of full shape, and one number in the file
    fan_in = shape[1:].numel()
    return torch.randn(shape, generator=rng) * (2 / fan_in) ** 0.5 if fan_in > 1 else torch.zeros(shape)


@pytest.fixture(scope="module")
def terms(published):
    """All four terms, built once."""
    options = {name: {"class_name": name, "weights_path": str(published / FILES[MODELS[name]])} for name in MODELS}
    return losses.build(options, n_channels=3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torchvision's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def image(seed: int, side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_equal_images_are_no_distance_apart_and_others_are(terms):
    for name, value in terms.generator_terms(image(0), image(0), None).items():
        assert value.item() == 0, name
    for name, value in terms.generator_terms(image(0), image(1), None).items():
        assert value.item() > 1e-3, name


def test_gradients_reach_the_restored_image_and_nothing_else(terms):
    before = {name: weight.clone() for name, weight in terms.state_dict().items()}
    for name in MODELS:
        restored = image(0).requires_grad_()
        terms.generator_terms(restored, image(1), None)[name].backward()
        assert restored.grad.isfinite().all(), name
        assert restored.grad.norm() > 0, name
    assert not [name for name, parameter in terms.named_parameters() if parameter.requires_grad]
    assert all(torch.equal(weight, before[name]) for name, weight in terms.state_dict().items())


def test_the_networks_stay_in_evaluation_mode(terms):
    terms.train()
    assert not [name for name, module in terms.named_modules() if module.training and name.startswith("registered.")]
    first, second = (terms.generator_terms(image(0), image(1), None) for _ in range(2))  # no dropout
    assert all(torch.equal(first[name], second[name]) for name in MODELS)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_images_are_compared_in_float32(terms, precision):
    restored = image(0).to(precision)
    expected = terms.generator_terms(restored.float(), image(1), None)
    with torch.autocast("cpu", torch.bfloat16):
        values = terms.generator_terms(restored, image(1), None)
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert all(torch.equal(values[name], expected[name]) for name in MODELS)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("net", ["squeeze", "alex"])
def test_lpips_equals_the_package_on_images_scaled_to_its_range(net, published, cache, terms):
    """The package fills its backbone from torchvision's cache; ours comes from weights_path."""
    file = FILES[MODELS[f"lpips_{net}"]]
    (cache / file).symlink_to(published / file)
    theirs = lpips.LPIPS(net=net, verbose=False)
    expected = theirs(2 * image(0) - 1, 2 * image(1) - 1).mean()
    values = terms.generator_terms(image(0), image(1), None)
    torch.testing.assert_close(values[f"lpips_{net}"], expected.detach())
    assert not torch.isclose(theirs(image(0), image(1)).mean(), expected, rtol=1e-2), "the range must matter here"


def test_places_without_an_active_feature_make_no_nan_on_the_way_back(published, tmp_path):
    weights = torch.load(published / FILES["squeezenet1_1"], weights_only=True)
    weights["features.0.bias"] = torch.full((64,), -5.0)
    torch.save(weights, tmp_path / "quiet.pth")
    section = {"class_name": "lpips_squeeze", "weights_path": str(tmp_path / "quiet.pth")}
    restored = (image(0) * torch.linspace(0, 3, 64)).requires_grad_()  # the darker part is below every threshold
    with torch.autograd.set_detect_anomaly(True):
        losses.build({"term": section}, n_channels=3).comparison(restored, image(1), None).backward()
    assert restored.grad.isfinite().all()
    assert restored.grad.norm() > 0


def test_vgg_compares_features_before_their_relu_of_imagenet_normalised_images(published):
    path = published / FILES["vgg19"]
    section = {"class_name": "vgg", "weights_path": str(path), "layers": {"conv1_1": 0.5, "conv2_1": 2}}
    weights = torch.load(path, weights_only=True)

    def layers(image):
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
        features = {0: convolve((image - mean) / deviation, 0)}
        features[2] = convolve(functional.relu(features[0]), 2)
        features[5] = convolve(functional.max_pool2d(functional.relu(features[2]), 2), 5)
        return features

    def convolve(image, place):
        kernel, bias = weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]
        return functional.conv2d(image, kernel, bias, padding=1)

    restored, clean = layers(image(0)), layers(image(1))
    expected = 0.5 * (restored[0] - clean[0]).abs().mean() + 2 * (restored[5] - clean[5]).abs().mean()
    value = losses.build({"term": section}, n_channels=3).comparison(image(0), image(1), None)
    assert (restored[0] < 0).any()
    torch.testing.assert_close(value, expected)


def test_feature_terms_look_at_the_rendered_images(published):
    def render(packed, metadata):
        return packed[:, :3] * metadata.noise.shot.view(-1, 1, 1, 1)

    section = {"class_name": "lpips_squeeze", "weights_path": str(published / FILES["squeezenet1_1"])}
    metadata = RawMetadata(None, NoiseProfile(torch.tensor([0.5, 2.0]), None))
    restored, clean = (torch.cat((image(seed), image(7)[:, :1]), dim=1) for seed in (0, 1))
    restored.requires_grad_()
    value = losses.build({"term": section}, n_channels=4, render=render).comparison(restored, clean, metadata)
    value.backward()
    seen = losses.build({"term": section}, n_channels=3)
    gains = torch.tensor([0.5, 2.0]).view(-1, 1, 1, 1)
    torch.testing.assert_close(value, seen.comparison(image(0) * gains, image(1) * gains, None))
    assert restored.grad[:, :3].norm() > 0
    assert restored.grad[:, 3].norm() == 0


def test_gradients_reach_packed_raw_through_the_rendering(published):
    section = {"class_name": "lpips_squeeze", "weights_path": str(published / FILES["squeezenet1_1"])}
    weighted = losses.build({"term": section}, n_channels=4, render=RGGB.render)
    camera = Camera(torch.eye(3).expand(2, 3, 3), torch.tensor([[2.0, 1.0, 1.6]] * 2))
    metadata = RawMetadata(camera, NoiseProfile.unknown())
    clean = 0.4 * torch.rand(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    restored = 0.8 * clean
    restored[..., :8, :] = 0  # black, below black, and white: where curves have steep or no slope
    restored[..., 8:12, :] = -0.01
    restored[..., 12:16, :] = 1
    restored.requires_grad_()
    weighted.comparison(restored, clean, metadata).backward()
    assert restored.grad.isfinite().all()
    assert (restored.grad[..., 16:, :] != 0).float().mean() > 0.9


def test_raw_images_need_a_rendering():
    with pytest.raises(UserError, match=r"^losses\.look: lpips_vgg looks at sRGB, but the images have 4 channels"):
        losses.build({"look": {"class_name": "lpips_vgg"}}, n_channels=4)


def test_building_prints_nothing_and_draws_none_of_the_runs_random_numbers(published, capfd, recwarn):
    before = torch.random.get_rng_state()
    for name in ("lpips_squeeze", "vgg"):
        path = str(published / FILES[MODELS[name]])
        losses.build({"look": {"class_name": name, "weights_path": path}}, n_channels=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert len(recwarn) == 0


def test_weights_are_found_in_torchvisions_cache(published, cache):
    shutil.copy(published / FILES["squeezenet1_1"], cache)
    weighted = losses.build({"look": {"class_name": "lpips_squeeze"}}, n_channels=3)
    assert weighted.comparison(image(0), image(1), None) > 0


@pytest.mark.parametrize("class_name", MODELS)
def test_without_file_and_network_the_message_says_what_to_fetch_and_where_to_put_it(class_name, cache, monkeypatch):
    file = FILES[MODELS[class_name]]
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing answers
    started = time.monotonic()
    with pytest.raises(UserError) as mistake:
        losses.build({"look": {"class_name": class_name}}, n_channels=3)
    assert time.monotonic() - started < 8
    message = str(mistake.value)
    assert message.startswith(f"losses.look.weights_path: null given, but {file} is not in {cache}")
    assert f"https://download.pytorch.org/models/{file}" in message
    assert "\n" not in message


def test_a_server_that_never_answers_is_given_up(cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(backbones, "url_of", lambda model: f"http://127.0.0.1:{silent.getsockname()[1]}/a-0.pth")
        monkeypatch.setattr(backbones, "PATIENCE", 0.3)
        started = time.monotonic()
        with pytest.raises(UserError, match=r"download failed \(.*\); fetch http"):
            losses.build({"look": {"class_name": "lpips_squeeze"}}, n_channels=3)
    assert time.monotonic() - started < 5


def test_missing_weights_are_downloaded_into_torchvisions_cache(published, cache, tmp_path, monkeypatch):
    content = (published / FILES["squeezenet1_1"]).read_bytes()
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    served = tmp_path / "served"
    served.mkdir()
    (served / name).write_bytes(content)
    (served / "squeezenet1_1-00000000.pth").write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(backbones, "url_of", lambda model: f"{address}/{name}")
        losses.build({"look": {"class_name": "lpips_squeeze"}}, n_channels=3)
        assert (cache / name).read_bytes() == content
        monkeypatch.setattr(backbones, "url_of", lambda model: f"{address}/squeezenet1_1-00000000.pth")
        with pytest.raises(UserError, match="invalid hash value"):
            losses.build({"look": {"class_name": "lpips_squeeze"}}, n_channels=3)
        server.shutdown()
    assert [file.name for file in cache.iterdir()] == [name], "a broken download leaves nothing behind"


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no file; fetch https://download.pytorch.org/models/vgg19-dcbb9e9d.pth and give its path"),
        (b"<html>404</html>", "does not hold plain weights"),
        (b"", "does not hold plain weights"),
        (pickle.dumps(Code(), protocol=2), "does not hold plain weights"),
    ],
)
def test_an_unfit_weights_file_is_refused(content, message, tmp_path, capfd):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as mistake:
        losses.build({"look": {"class_name": "vgg", "weights_path": str(path)}}, n_channels=3)
    assert str(mistake.value).startswith(f'losses.look.weights_path: "{path}" {message}')
    assert "\n" not in str(mistake.value)
    assert capfd.readouterr().out == ""


def test_the_weights_of_another_network_are_refused(published):
    path = published / FILES["vgg16"]
    with pytest.raises(UserError, match=r'vgg16-397923af.pth" does not fit vgg19: features\.16\.weight and \d+ more'):
        losses.build({"look": {"class_name": "vgg", "weights_path": str(path)}}, n_channels=3)


def test_a_layer_that_vgg19_lacks_is_refused():
    with pytest.raises(UserError, match=r'look\.layers\.conv6_1: "conv6_1" is not a choice; did you mean "conv'):
        losses.build({"look": {"class_name": "vgg", "layers": {"conv6_1": 1}}}, n_channels=3)
