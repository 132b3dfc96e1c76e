"""Restored mosaics are written as DNG files that readers see as the source: its pixels, colours, levels and areas."""

import random
import struct

import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import ASCII, BYTE, DOUBLE, MATRIX, RATIONAL, SHORT, restored_raw, write_dng

from options.errors import SaveError
from restore.camera.output.dng import write_dng as write_restored
from restore.camera.output.lossless_jpeg import encode
from restore.camera.output.tiff import Entry, finish, read_directory, read_header, write_header
from restore.camera.raw_file import read_raw
from restore.files.images import BadImage

BLACK, WHITE = (100.25, 130.5, 160.75, 190), 15000
UNDEFINED, LONG = 7, 4
NOISE = [(1e-3, 1e-6), (2e-3, 2e-6), (3e-3, 3e-6)]


def recorded(size=(46, 70), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, size, dtype=np.uint16)


@pytest.fixture
def source(tmp_path):
    """Writes a DNG with pixels of every value, and reads it."""

    def write(mosaic=None, **facts):
        mosaic = recorded() if mosaic is None else mosaic
        return read_raw(write_dng(tmp_path / "source.dng", mosaic, **{"black": BLACK, "white": WHITE} | facts))

    return write


def rewritten(source, mosaic=None, **facts):
    """The DNG of a source's own mosaic, or of another one."""
    path = source.path.with_name("restored.dng")
    return path, write_restored(path, restored_raw(source, mosaic, **facts))


def tags_of(path) -> tuple[dict, dict]:
    """The values of the first directory and of the mosaic's, as tifffile reads them."""
    with tifffile.TiffFile(path) as file:
        first = file.pages.first
        return tuple({tag.code: tag.value for tag in page.tags} for page in (first, first.pages[0]))


@pytest.mark.parametrize("in_sub_ifd", [False, True])
@pytest.mark.parametrize("area", [None, (2, 4, 44, 68), (1, 0, 45, 69), (3, 5, 46, 64)])
@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_libraw_reads_the_pixels_that_were_recorded_in_every_phase_and_margin(source, pattern, area, in_sub_ifd):
    raw = source(pattern=pattern, active_area=area, in_sub_ifd=in_sub_ifd)
    path, notes = rewritten(raw)
    with rawpy.imread(str(raw.path)) as before, rawpy.imread(str(path)) as after:
        assert np.array_equal(before.raw_image, after.raw_image)
        assert np.array_equal(before.raw_colors_visible, after.raw_colors_visible)
        assert before.sizes[:6] == after.sizes[:6], "all but the crop, which the source does not give"
    again = read_raw(path)
    assert np.array_equal(again.data, raw.data)
    assert (again.pattern, again.margins, again.white) == (raw.pattern, raw.margins, raw.white)
    assert again.black.tolist() == raw.black.tolist()
    assert notes == ["the camera's colours are not known; sRGB's are taken in their place"]


def test_a_dng_of_a_large_frame_has_several_tiles_and_all_pixels(source):
    raw = source(recorded((1030, 700)))
    path, _ = rewritten(raw)
    assert len(tags_of(path)[1][324]) == 6
    assert np.array_equal(read_raw(path).frame, raw.frame)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 2, 5])
def test_the_picture_stays_upright(source, orientation):
    raw = source(more_tags=[(274, SHORT, 1, orientation)])
    path, _ = rewritten(raw)
    assert read_raw(path).orientation == orientation
    assert tags_of(path)[0][274] == orientation


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 16), st.integers(0, 2**32 - 1))
def test_lossless_jpeg_keeps_every_value(height, half_width, bits, seed):
    rng = np.random.default_rng(seed)
    mosaic = rng.integers(0, 2**bits, (height, 2 * half_width), dtype=np.uint16)
    mosaic[rng.random(mosaic.shape) < 0.05] = rng.choice([0, 32767, 32768, 65535])
    mosaic[-1] = np.resize([0, 0, 32768, 32768], 2 * half_width)  # differences of 32768 are coded in their own way
    assert np.array_equal(decoded(encode(mosaic.reshape(height, half_width, 2))), mosaic)


def decoded(stream: bytes) -> np.ndarray:
    """ITU-T T.81, annex H, bit by bit: predictor 1, one Huffman table."""
    table, frame, scan = (stream.index(marker) for marker in (b"\xff\xc4", b"\xff\xc3", b"\xff\xda"))
    height, width = struct.unpack_from(">HH", stream, frame + 5)
    counts = stream[table + 5 : table + 21]
    symbols, codes, code = iter(stream[table + 21 : table + 21 + sum(counts)]), {}, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[length, code] = next(symbols)
            code += 1
        code <<= 1
    data = stream[scan + 12 : -2].replace(b"\xff\x00", b"\xff")
    bits, place = "".join(f"{byte:08b}" for byte in data), 0

    def number(length):
        nonlocal place
        place += length
        assert place <= len(bits), "the stream ends too early"
        return int(bits[place - length : place] or "0", 2)

    mosaic = np.zeros((height, 2 * width), np.int64)
    for row in range(height):
        for column in range(2 * width):
            length, code = 1, number(1)
            while (length, code) not in codes:
                length, code = length + 1, 2 * code + number(1)
            category = codes[length, code]
            difference = 32768 if category == 16 else number(category)
            if 0 < category < 16 and difference < 2 ** (category - 1):
                difference -= 2**category - 1
            before = mosaic[row, column - 2] if column > 1 else mosaic[row - 1, column] if row else 32768
            mosaic[row, column] = (before + difference) % 65536
    return mosaic.astype(np.uint16)


def test_values_are_rounded_and_only_what_16_bits_cannot_hold_is_clipped(source):
    raw = source(black=(512,) * 4)
    unit = WHITE - 512
    mosaic = raw.linear()
    mosaic[0, :6] = [-600 / unit, -12.4 / unit, 0.6 / unit, 1, 1.5, 5]
    path, _ = rewritten(raw, mosaic)
    assert read_raw(path).data[0, :6].tolist() == [0, 500, 513, WHITE, round(1.5 * unit + 512), 65535]


def opcode_list(*numbers: int) -> bytes:
    """A list of operations without parameters."""
    return struct.pack(">I", len(numbers)) + b"".join(struct.pack(">IIII", number, 1 << 24, 0, 0) for number in numbers)


TRUE_TAGS = [
    (50721, 10, 9, tuple(n for value in np.ravel(MATRIX) for n in (round(10000 * value), 10000))),
    (50778, SHORT, 1, 17),
    (50728, RATIONAL, 3, (1, 2, 1, 1, 5, 8)),
    (50730, 10, 1, (-1, 2)),
    (50735, ASCII, 0, "serial 7"),
    (50827, ASCII, 0, "IMG_0001.XYZ"),
    (700, BYTE, 5, b"<xmp>"),
    (50719, LONG, 2, (2, 4)),
    (50720, LONG, 2, (60, 38)),
    (51009, UNDEFINED, 36, opcode_list(9, 3)),
    (51022, UNDEFINED, 36, opcode_list(1, 5)),
]
STALE_TAGS = [(51111, BYTE, 16, bytes(16)), (50781, BYTE, 16, bytes(range(16))), (50712, SHORT, 2, (0, 65535))]


def test_all_that_editors_need_of_a_dng_is_carried_on_and_what_is_no_longer_true_is_not(source):
    more = [*TRUE_TAGS, *STALE_TAGS[:2]]
    raw = source(more_tags=more, noise_profile=NOISE, iso=800)
    path, notes = rewritten(raw, strength=0.75, noise_left=0.25)
    first, mosaic = tags_of(path)
    before = {tag.code: tag.value for tag in tifffile.TiffFile(raw.path).pages.first.tags}
    found = first | mosaic
    assert {code: found[code] for code, *_ in TRUE_TAGS} == {code: before[code] for code, *_ in TRUE_TAGS}
    assert not {code for code, *_ in STALE_TAGS} & found.keys()
    assert (found[271], found[272], found[50708]) == ("Acme", "Mosaica 1", "Acme Mosaica 1")
    assert found[34665]["ISOSpeedRatings"] == 800
    assert found[50935] == (3, 4)
    np.testing.assert_allclose(found[51041], np.ravel(NOISE) / 4)
    assert {9, 3} <= set(mosaic[51009]), "operations hold, as no pixel has moved"
    assert notes == []


def test_a_noise_profile_is_left_out_where_the_noise_left_is_not_known_or_none(source):
    raw = source(noise_profile=NOISE)
    for left in (None, 0.0):
        path, _ = rewritten(raw, noise_left=left)
        assert 51041 not in tags_of(path)[1]
        assert not read_raw(path).metadata.noise.known


def test_the_preview_is_of_the_restored_picture(source):
    raw = source(recorded((200, 300)), more_tags=TRUE_TAGS[:3])
    path, _ = rewritten(raw, np.full(raw.data.shape, 0.18, np.float32) / raw.metadata.camera.white_balance[0].item())
    import cv2

    with rawpy.imread(str(path)) as file:
        preview = cv2.imdecode(np.frombuffer(file.extract_thumb().data, np.uint8), cv2.IMREAD_COLOR)
    assert preview.shape == (100, 150, 3)
    assert preview.std(axis=(0, 1)).max() < 2, "the source is noise; the restored picture one colour"


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
@pytest.mark.parametrize("scale", [2, 3])
def test_an_enlarged_mosaic_has_its_areas_enlarged_and_its_black_levels_by_its_own_phase(source, scale, pattern):
    raw = source(pattern=pattern, active_area=(3, 5, 45, 69), more_tags=TRUE_TAGS)
    after = pattern if scale == 3 else "RGGB"
    mosaic = np.zeros((scale * 42, scale * 64), np.float32)
    path, notes = rewritten(raw, mosaic, pattern=after)
    again, (_, tags) = read_raw(path), tags_of(path)
    assert (again.data.shape, again.pattern) == (mosaic.shape, after)
    assert again.black.tolist() == raw.black.tolist()
    assert tags[50829] == (0, 0, *mosaic.shape)
    areas = [np.array(tags[code][::2]) / tags[code][1::2] for code in (50719, 50720)]
    assert [area.tolist() for area in areas] == [[scale * 2, scale * 4], [scale * 60, scale * 38]]
    assert abs(again.linear()).max() < 1 / (WHITE - 200)
    assert tags[51022] == opcode_list(1), "a correction of the lens holds at any size"
    assert tags[51009] == opcode_list(3)
    assert sorted(notes) == [
        f"OpcodeList{number}: left out operations [{operation}], which count the pixels of the source"
        for number, operation in ((2, 9), (3, 5))
    ]


def test_exif_and_gps_are_carried_on_and_a_maker_note_with_its_place(source, tmp_path):
    raw = source(iso=800)
    with raw.path.open("rb") as file:
        order, offset = read_header(file)
        first = read_directory(file, offset, order)
    exif = {37500: Entry(UNDEFINED, b"note of the maker"), 34855: Entry(SHORT, b"\x20\x03")}
    gps = {1: Entry(ASCII, b"N\0"), 2: Entry(RATIONAL, struct.pack("<6I", 47, 1, 22, 1, 5, 2))}
    with raw.path.open("r+b") as file:
        finish(file, first | {34665: [exif], 34853: [gps]}, order)
    offset = raw.path.read_bytes().index(b"note of the maker")
    path, _ = rewritten(read_raw(raw.path))
    found, _ = tags_of(path)
    assert (found[34853]["GPSLatitudeRef"], found[34853]["GPSLatitude"]) == ("N", (47, 1, 22, 1, 5, 2))
    assert found[34665] == {"ISOSpeedRatings": 800}
    assert (
        found[50740]
        == b"Adobe\0MakN" + struct.pack(">I", 23) + b"II" + struct.pack(">I", offset) + b"note of the maker"
    )


def test_damaged_tags_that_libraw_reads_past_do_not_keep_the_picture_from_being_written(source, tmp_path):
    raw = source(more_tags=TRUE_TAGS, noise_profile=NOISE, iso=800, in_sub_ifd=True)
    whole, draw = raw.path.read_bytes(), random.Random(0)
    written = 0
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 2, 4))):
            content[draw.randrange(1500)] = draw.choice((0, 1, 255, draw.randrange(256)))
        raw.path.write_bytes(content)
        try:
            damaged = read_raw(raw.path)
        except BadImage:
            continue
        mosaic = np.zeros([2 * side for side in damaged.data.shape], np.float32)
        assert read_raw(rewritten(damaged, mosaic, pattern="RGGB")[0]).data.shape == mosaic.shape
        written += 1
    assert written > 100


def test_a_directory_is_read_as_it_was_written(tmp_path):
    for order in "<>":
        with (tmp_path / "a.tif").open("w+b") as file:
            write_header(file, order)
            first = {300: Entry(SHORT, b"\1\0"), 301: Entry(DOUBLE, bytes(range(16))), 302: [{5: Entry(BYTE, b"7")}]}
            finish(file, first, order)
            file.seek(0)
            found_order, offset = read_header(file)
            found = read_directory(file, offset, found_order)
            nested = int.from_bytes(found[302].data, "little" if order == "<" else "big")
            assert read_directory(file, nested, order)[5].data == b"7"
        assert found_order == order
        assert [found[code][:2] for code in (300, 301)] == [first[code][:2] for code in (300, 301)]


def test_a_dng_that_cannot_be_written_leaves_the_old_one(source, tmp_path):
    raw = source()
    (tmp_path / "restored.dng").mkdir()
    with pytest.raises(SaveError, match=r"restored\.dng: could not be written"):
        rewritten(raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["restored.dng", "source.dng"]
