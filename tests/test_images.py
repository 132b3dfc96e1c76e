"""Picture files are read right, or refused with a line that helps."""

import errno
import io
import os
import random
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from options.errors import UserError
from restore.files.atomic import SaveError
from restore.files.images import BadImage, find_images, read_image, to_tensor, to_uint, write_image


def picture(dtype=np.uint8) -> np.ndarray:
    """(60, 80, 3): each channel differs and no two corners are alike, with enough noise that files have a length."""
    y, x = np.mgrid[:60, :80]
    planes = np.stack([x / 80, y / 60, (x + y) / 140], axis=-1)
    planes = planes + np.random.default_rng(0).normal(0, 0.02, planes.shape)
    return (planes.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


EIGHT, SIXTEEN = picture(np.uint8), picture(np.uint16)
GREY8, GREY16 = (np.repeat(image[..., :1], 3, axis=2) for image in (EIGHT, SIXTEEN))
EVEN = np.tile(np.array([1, 2, 3], np.uint8), (200, 300, 1))
BITS = np.repeat((EIGHT[..., :1] > 127).astype(np.uint8) * 255, 3, axis=2)


def with_alpha(image: np.ndarray) -> np.ndarray:
    alpha = np.linspace(1, np.iinfo(image.dtype).max, 80).astype(image.dtype)
    return np.dstack([image, np.tile(alpha, (60, 1))])


def opencv(image: np.ndarray, suffix: str, *settings: int) -> bytes:
    orders = {2: lambda grey: grey, 3: lambda rgb: rgb[..., ::-1] if rgb.shape[2] == 3 else rgb[..., [2, 1, 0, 3]]}
    return cv2.imencode(suffix, orders[image.ndim](image), settings)[1].tobytes()


def pillow(image: Image.Image, kind: str, **settings) -> bytes:
    image.save(file := io.BytesIO(), kind, **settings)
    return file.getvalue()


def tiff(image: np.ndarray, **settings) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), image, **settings)
    return file.getvalue()


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def png_with_exif(png: bytes, value: int) -> bytes:
    content = b"eXIf" + orientation(value).tobytes()[6:]
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]


def png_of(width: int, height: int) -> bytes:
    """A small PNG that claims this size."""
    content = b"IHDR" + struct.pack(">II", width, height) + bytes((8, 2, 0, 0, 0))
    small = opencv(EIGHT, ".png")
    return small[:12] + content + struct.pack(">I", zlib.crc32(content)) + small[33:]


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG that claims this size."""
    small = bytearray(opencv(EIGHT, ".jpg"))
    place = small.index(b"\xff\xc0") + 5
    small[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(small)


def tiff_of(width: int, height: int) -> bytes:
    """A small TIFF that claims this size."""
    small = tiff(EIGHT, photometric="rgb", byteorder="<")
    for code, old, new in ((256, 80, width), (257, 60, height)):
        small = small.replace(struct.pack("<HHII", code, 4, 1, old), struct.pack("<HHII", code, 4, 1, new))
    return small


RGB = Image.fromarray(EIGHT)
LOSSLESS = {
    "png 8": (opencv(EIGHT, ".png"), EIGHT),
    "png 16": (opencv(SIXTEEN, ".png"), SIXTEEN),
    "png grey 8": (opencv(EIGHT[..., 0], ".png"), GREY8),
    "png grey 16": (opencv(SIXTEEN[..., 0], ".png"), GREY16),
    "png rgba 8": (opencv(with_alpha(EIGHT), ".png"), EIGHT),
    "png rgba 16": (opencv(with_alpha(SIXTEEN), ".png"), SIXTEEN),
    "png palette": (pillow(palette := RGB.quantize(64), "png"), np.asarray(palette.convert("RGB"))),
    "png palette with alpha": (pillow(palette, "png", transparency=3), np.asarray(palette.convert("RGB"))),
    "png 1 bit": (pillow(Image.fromarray(BITS[..., 0]).convert("1"), "png"), BITS),
    "tiff 8": (pillow(RGB, "tiff"), EIGHT),
    "tiff 8 LZW": (pillow(RGB, "tiff", compression="tiff_lzw"), EIGHT),
    "tiff 8 grey": (pillow(RGB.getchannel(0), "tiff"), GREY8),
    "tiff 8 white as 0": (tiff(255 - EIGHT[..., 0], photometric="miniswhite"), GREY8),
    "tiff 1 bit": (pillow(Image.fromarray(BITS[..., 0]).convert("1"), "tiff", compression="group4"), BITS),
    "tiff 8 LZW of one colour": (pillow(Image.new("RGB", (300, 200), (1, 2, 3)), "tiff", compression="tiff_lzw"), EVEN),
    "tiff 8 LZW grey": (pillow(RGB.getchannel(0), "tiff", compression="tiff_lzw"), GREY8),
    "tiff 8 zip": (pillow(RGB, "tiff", compression="tiff_adobe_deflate"), EIGHT),
    "tiff 8 zip tiles": (tiff(EIGHT, photometric="rgb", compression="zlib", tile=(32, 48)), EIGHT),
    "tiff 8 CMYK": (pillow(RGB.convert("CMYK"), "tiff"), EIGHT),
    "tiff 16": (tiff(SIXTEEN, photometric="rgb"), SIXTEEN),
    "tiff 16 LZW": (opencv(SIXTEEN, ".tif", cv2.IMWRITE_TIFF_COMPRESSION, 5), SIXTEEN),
    "tiff 16 zip": (tiff(SIXTEEN, photometric="rgb", compression="zlib", predictor=True), SIXTEEN),
    "tiff 16 big-endian": (tiff(SIXTEEN, photometric="rgb", byteorder=">"), SIXTEEN),
    "tiff 16 grey": (tiff(SIXTEEN[..., 0], photometric="minisblack"), GREY16),
    "tiff 16 rgba": (tiff(with_alpha(SIXTEEN), photometric="rgb", extrasamples=["unassalpha"]), SIXTEEN),
    "webp": (pillow(RGB, "webp", lossless=True), EIGHT),
    "webp rgba": (pillow(Image.fromarray(with_alpha(EIGHT)), "webp", lossless=True), EIGHT),
    "png turned": (pillow(RGB, "png", exif=orientation(6)), np.rot90(EIGHT, -1)),
    "png 16 turned": (png_with_exif(opencv(SIXTEEN, ".png"), 6), np.rot90(SIXTEEN, -1)),
    "webp turned": (pillow(RGB, "webp", lossless=True, exif=orientation(8)), np.rot90(EIGHT)),
    "tiff turned": (tiff(EIGHT, photometric="rgb", extratags=[(274, "H", 1, 3, True)]), np.rot90(EIGHT, 2)),
    "tiff 16 turned": (tiff(SIXTEEN, photometric="rgb", extratags=[(274, "H", 1, 6, True)]), np.rot90(SIXTEEN, -1)),
}
LOSSY = {
    "jpeg": (pillow(RGB, "jpeg", quality=98, subsampling=0), EIGHT),
    "jpeg progressive": (pillow(RGB, "jpeg", quality=98, subsampling=0, progressive=True), EIGHT),
    "jpeg grey": (pillow(RGB.getchannel(0), "jpeg", quality=98), GREY8),
    "jpeg CMYK": (pillow(RGB.convert("CMYK"), "jpeg", quality=98), EIGHT),
    "jpeg turned": (pillow(RGB, "jpeg", quality=98, subsampling=0, exif=orientation(6)), np.rot90(EIGHT, -1)),
    "jpeg mirrored": (pillow(RGB, "jpeg", quality=98, subsampling=0, exif=orientation(2)), EIGHT[:, ::-1]),
    "webp lossy": (pillow(RGB, "webp", quality=98), EIGHT),
}


def read(tmp_path: Path, content: bytes) -> np.ndarray:
    (tmp_path / "picture").write_bytes(content)
    return read_image(tmp_path / "picture")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_give_every_pixel_in_full_depth_and_upright(kind, tmp_path):
    content, expected = LOSSLESS[kind]
    image = read(tmp_path, content)
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_files_give_the_picture_in_its_colours_and_upright(kind, tmp_path):
    content, expected = LOSSY[kind]
    image = read(tmp_path, content)
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(float) - expected).mean() < 5  # [of 255]; a wrong channel or turn makes it over 40


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
def test_a_file_cut_off_anywhere_is_refused_in_silence(kind, tmp_path, capfd):
    content = {**LOSSLESS, **LOSSY}[kind][0]
    longest = len(content) - 8  # the very last bytes are padding in some TIFF and WebP files
    for length in [1, 2, 9, 40, *(longest * percent // 100 for percent in range(10, 100, 8)), longest]:
        with pytest.raises(BadImage):
            read(tmp_path, content[:length])
    assert capfd.readouterr().err == ""


def test_a_byte_that_fell_over_in_a_png_is_noticed(tmp_path):
    content = bytearray(LOSSLESS["png 16"][0])
    content[len(content) // 2] ^= 255
    with pytest.raises(BadImage):
        read(tmp_path, bytes(content))


@pytest.mark.parametrize("kind", ["tiff 8 zip", "tiff 8 zip tiles", "tiff 16 zip", "tiff 8 LZW", "tiff 16 LZW"])
def test_damaged_pixels_of_a_compressed_tiff_are_noticed_in_silence(kind, tmp_path, capfd):
    """Deflate has a checksum. LZW has none: there most changes leave a code without meaning or a wrong length."""
    content, draw, taken = LOSSLESS[kind][0], random.Random(0), 0
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        starts, counts = page.dataoffsets, page.databytecounts
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(4):
            strip = draw.randrange(len(starts))
            damaged[starts[strip] + draw.randrange(counts[strip])] ^= 255
        try:
            read(tmp_path, bytes(damaged))
            taken += 1
        except BadImage:
            pass
    assert taken == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
def test_any_damage_gives_a_picture_or_a_line_that_names_the_file(kind, tmp_path):
    content, draw = {**LOSSLESS, **LOSSY}[kind][0], random.Random(0)
    for _ in range(20):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 2, 4))):
            place = draw.randrange(len(content)) if draw.random() < 0.5 else draw.randrange(min(200, len(content)))
            damaged[place] = draw.choice((0, 1, 255, draw.randrange(256)))
        try:
            assert read(tmp_path, bytes(damaged)).ndim == 3
        except BadImage as mistake:
            line = str(mistake)
        else:
            line = f"{tmp_path}"
        assert line.startswith(f"{tmp_path}")


def test_a_faulty_colour_profile_neither_stops_nor_speaks(tmp_path, capfd):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[64:68] = b"\0\0\0\x09"  # a rendering intent that does not exist; libpng warns of it
    np.testing.assert_array_equal(read(tmp_path, pillow(RGB, "png", icc_profile=bytes(profile))), EIGHT)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is an empty file"),
        (b"just some text", "is no PNG, TIFF, JPEG or WebP file"),
        (pillow(RGB, "gif"), "is no PNG, TIFF, JPEG or WebP file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is damaged"),
        (b"\xff\xd8\xff" + bytes(100), "is damaged"),
        (tiff(EIGHT.astype(np.float32), photometric="rgb"), "has float32 pixels"),
        (tiff(EIGHT.astype(np.float16), photometric="rgb"), "of a kind that cannot be read"),
        (tiff(SIXTEEN.view(np.int16), photometric="rgb"), "has int16 pixels"),
        (tiff(SIXTEEN.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"), "colour planes apart"),
        (tiff(EIGHT.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"), "colour planes apart"),
        (tiff(SIXTEEN[..., 0], photometric="miniswhite"), "from white to black"),
        (tiff(with_alpha(EIGHT), photometric="rgb", extrasamples=["unassalpha"]), "has 8 bits and transparency"),
        (pillow(RGB.convert("LAB"), "tiff"), "has colours that are neither grey nor RGB"),
        (tiff(with_alpha(SIXTEEN), photometric="separated"), "has colours that are neither grey nor RGB"),
        (png_of(40_000, 30_000), "has 40000 x 30000 pixels, and 400 million are the most"),
        (jpeg_of(40_000, 30_000), "has 40000 x 30000 pixels"),
        (tiff_of(40_000, 30_000), "has 40000 x 30000 pixels"),
    ],
)
def test_what_is_no_picture_is_named_on_one_line_with_the_fault_and_a_remedy(content, fault, tmp_path, capfd):
    with pytest.raises(BadImage) as caught:
        read(tmp_path, content)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'picture'}: ")
    assert fault in line.split("; ")[0]
    assert len(line.split("; ")) == 2
    assert "\n" not in line
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_and_a_folder_are_bad_images_too(tmp_path):
    with pytest.raises(BadImage, match="cannot be read"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(BadImage, match="cannot be read"):
        read_image(tmp_path)


def test_pictures_are_found_in_all_folders_by_any_spelling_of_the_suffix_and_sorted(tmp_path):
    for name in ("b/2.JPG", "b/10.png", "a.TIFF", "c.webp", ".hidden.png", ".thumbnails/a.png", "notes.txt", "b/x.nef"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in find_images(tmp_path)]
    assert found == ["a.TIFF", "b/10.png", "b/2.JPG", "c.webp"]


def test_a_folder_without_pictures_is_a_mistake_that_names_it(tmp_path):
    (tmp_path / "notes.txt").touch()
    for folder, fault in [
        (tmp_path / "missing", "there is no such folder"),
        (tmp_path / "notes.txt", "is a file"),
        (tmp_path, "holds no image file"),
    ]:
        with pytest.raises(UserError) as caught:
            find_images(str(folder))
        assert str(caught.value).startswith(f"{folder}: {fault}")


def test_names_that_are_no_utf8_are_found_read_and_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b"bad\xff\xfe")
    folder.mkdir()
    write_image(folder / "a.png", EIGHT)
    np.testing.assert_array_equal(read_image(*find_images(tmp_path)), EIGHT)
    (folder / "a.png").write_bytes(b"")
    for use in (
        lambda: read_image(folder / "a.png"),
        lambda: find_images(folder / "b"),
        lambda: write_image(folder / "a.bmp", EIGHT),
    ):
        with pytest.raises(UserError) as mistake:
            use()
        assert str(mistake.value).encode().startswith(f"{tmp_path}/bad\\xff\\xfe/".encode())


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", EIGHT)
    (tmp_path / "secret").mkdir()
    listed = os.scandir

    def scandir(place):
        if str(place).endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"secret: cannot be read \(Permission denied\); allow it, or name another"):
        find_images(tmp_path)


def test_a_folder_that_may_be_listed_but_not_entered_is_named(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", EIGHT)

    def is_file(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", is_file)
    with pytest.raises(UserError, match=r"a.png: cannot be read \(Permission denied\)"):
        find_images(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("image", [EIGHT, SIXTEEN], ids=["8 bit", "16 bit"])
def test_what_is_written_is_read_again_to_the_last_bit(image, suffix, tmp_path):
    path = tmp_path / f"picture{suffix}"
    write_image(path, image)
    again = read_image(path)
    assert again.dtype == image.dtype
    np.testing.assert_array_equal(again, image)
    assert list(tmp_path.iterdir()) == [path]


def test_a_tiff_is_compressed_without_loss(tmp_path):
    write_image(tmp_path / "picture.tif", SIXTEEN)
    with tifffile.TiffFile(tmp_path / "picture.tif") as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_a_jpeg_is_written_nearly_without_loss(tmp_path):
    write_image(tmp_path / "picture.jpg", EIGHT)
    assert (tmp_path / "picture.jpg").read_bytes().startswith(b"\xff\xd8")
    assert np.abs(read_image(tmp_path / "picture.jpg").astype(float) - EIGHT).mean() < 5


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("a.webp", EIGHT, "cannot be written; name it with one of .png, .tif, .tiff, .jpg, .jpeg"),
        ("a", EIGHT, "cannot be written"),
        ("a.jpg", SIXTEEN, "uint16 given, and JPEG has 8 bits; give uint8, or name it .png or .tif"),
        ("a.png", EIGHT[..., 0], "uint8 (60, 80) given; give uint8 or uint16 (H, W, 3)"),
        ("a.png", EIGHT / 255, "float64 (60, 80, 3) given"),
        ("a.jpg", np.zeros((1, 70_000, 3), np.uint8), ".jpg cannot hold 70000 x 1 pixels"),
        ("a.png", EIGHT[:0], ".png cannot hold 80 x 0 pixels"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_in_one_line(name, image, words, tmp_path):
    with pytest.raises(UserError) as mistake:
        write_image(tmp_path / name, image)
    assert str(mistake.value).startswith(f"{tmp_path / name}: {words}")
    assert len(str(mistake.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_picture_that_was_there_and_nothing_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_image(tmp_path / "picture.png", EIGHT)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError):
        write_image(tmp_path / "picture.png", SIXTEEN)
    np.testing.assert_array_equal(read_image(tmp_path / "picture.png"), EIGHT)
    assert list(tmp_path.iterdir()) == [tmp_path / "picture.png"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_survives_the_way_to_a_tensor_and_back(dtype):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16, 1).repeat(3, axis=2)
    tensor = to_tensor(levels)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, *levels.shape[:2])
    assert (tensor.min(), tensor.max()) == (0, 1)
    np.testing.assert_array_equal(to_uint(tensor, dtype), levels)


def test_channels_keep_their_places_and_values_outside_are_clipped():
    tensor = torch.tensor([-0.5, 0.5, 1.5]).reshape(3, 1, 1)
    assert to_uint(tensor, np.uint8).tolist() == [[[0, 128, 255]]]
    assert to_uint(tensor, np.uint16).tolist() == [[[0, 32768, 65535]]]
    assert to_tensor(np.array([[[0, 51, 255]]], np.uint8)).flatten().tolist() == pytest.approx([0, 0.2, 1])
