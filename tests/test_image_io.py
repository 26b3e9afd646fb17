import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lgnet.image_io import ImageError, Item, camera_from_exif, expand_inputs, read_image

COLOURS = (
    np.array([[[250, 10, 20], [20, 240, 30]], [[10, 20, 250], [250, 250, 10]]], np.uint8).repeat(16, 0).repeat(24, 1)
)
"""(32, 48, 3): red, green / blue, yellow."""


@pytest.fixture
def colours() -> np.ndarray:
    return COLOURS.copy()


def exif_block(orientation: int, focal: int) -> bytes:
    """EXIF with an orientation and a focal length in 35 mm film, as a camera writes it."""
    first = struct.pack("<H HHII HHII I", 2, 0x0112, 3, 1, orientation, 0x8769, 4, 1, 38, 0)
    second = struct.pack("<H HHII I", 1, 0xA405, 3, 1, focal, 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second


def close(a: np.ndarray, b: np.ndarray, most: int = 12) -> bool:
    inner = (slice(2, -2, 12), slice(2, -2, 20))  # away from the edges between colours
    return a.shape == b.shape and int(np.abs(a[inner].astype(int) - b[inner].astype(int)).max()) <= most


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".tga"])
def test_kinds_of_file(tmp_path, colours, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(colours).save(path)
    picture = read_image(path)
    assert picture.pixels.dtype == np.uint8 and picture.pixels.flags.writeable
    assert close(picture.pixels, colours)
    assert picture.file == str(path)


def test_content_in_place_of_a_path(colours):
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")
    picture = read_image(file.getvalue())
    assert (picture.pixels == colours).all() and picture.file == "-"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits(tmp_path, colours, suffix):
    wide = colours.astype(np.uint16) * 257
    grey, colour = str(tmp_path / f"grey{suffix}"), str(tmp_path / f"colour{suffix}")
    cv2.imwrite(grey, wide[..., 0])
    cv2.imwrite(colour, np.ascontiguousarray(wide[..., ::-1]))
    assert (read_image(grey).pixels == colours[..., :1]).all()
    assert np.abs(read_image(colour).pixels.astype(int) - colours).max() <= 1


def test_sixteen_bits_in_the_dark_stay_dark(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 514, np.uint16))
    assert (read_image(tmp_path / "a.png").pixels == 2).all()


def test_floats(tmp_path, colours):
    Image.fromarray(colours[..., 0].astype(np.float32) / 255).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif").pixels == colours[..., :1]).all()


@pytest.mark.parametrize(
    ("values", "seen"),
    [([0.1, 0.5, 1.5], [26, 128, 255]), ([0, 0.5, np.inf], [0, 128, 255]), ([0, 100, 255], [0, 100, 255]), ([0, np.nan], [0, 0])],
)  # fmt: skip
def test_floats_are_light_in_0_to_1_with_highlights_or_in_0_to_255(tmp_path, values, seen):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").pixels[0, :, 0].tolist() == seen


def test_grey_one_bit_palette_cmyk(tmp_path, colours):
    image = Image.fromarray(colours)
    image.convert("L").save(tmp_path / "grey.jpg")
    assert close(read_image(tmp_path / "grey.jpg").pixels, np.array(image.convert("L").convert("RGB")))
    image.convert("1").save(tmp_path / "one.png")
    assert set(np.unique(read_image(tmp_path / "one.png").pixels)) <= {0, 255}
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert close(read_image(tmp_path / "palette.png").pixels, colours)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert close(read_image(tmp_path / "cmyk.jpg").pixels, colours, 25)


def test_alpha_is_composited_on_white(tmp_path, colours):
    alpha = np.zeros((*colours.shape[:2], 4), np.uint8)
    alpha[..., :3] = colours
    alpha[:16, :, 3] = 255
    alpha[16:, :24, 3] = 128
    Image.fromarray(alpha).save(tmp_path / "rgba.png")
    pixels = read_image(tmp_path / "rgba.png").pixels
    assert (pixels[:16] == colours[:16]).all()
    assert (pixels[16:, 24:] == 255).all()
    assert np.abs(pixels[20, 10].astype(int) - (colours[20, 10] * 0.5 + 127)).max() <= 2
    Image.fromarray(alpha).convert("LA").save(tmp_path / "la.png")
    assert (read_image(tmp_path / "la.png").pixels[16:, 24:] == 255).all()
    palette = Image.fromarray(colours).quantize(4)
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    assert (read_image(tmp_path / "p.png").pixels[:16, :24] == 255).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, colours, orientation, suffix):
    stored = {  # how a camera held so stores the upright picture
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](colours)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif_block(orientation, 28))
    picture = read_image(path)
    assert close(picture.pixels, colours)
    if suffix != ".tif":  # Pillow does not write it there
        assert picture.exif_focal_35mm == 28


def test_camera_from_exif(tmp_path, colours):
    exif = exif_block(6, 36)
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=exif)  # stored 48 x 32, upright 32 x 48
    camera = camera_from_exif(read_image(tmp_path / "a.jpg"))
    assert camera is not None and not camera.assumed
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (48, 48, 15.5, 23.5)
    for width, height, film in (
        (40, 30, 34.6),
        (30, 40, 34.6),
        (64, 36, 34.6),
        (60, 40, 36),
    ):  # 4:3 by the same diagonal
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(tmp_path / "d.jpg", exif=exif_block(1, 26))
        camera = camera_from_exif(read_image(tmp_path / "d.jpg"))
        assert camera is not None and camera.fx == pytest.approx(26 / film * max(width, height))
    Image.fromarray(colours).save(tmp_path / "b.jpg", exif=exif_block(6, 0))  # 0: "not known"
    assert camera_from_exif(read_image(tmp_path / "b.jpg")) is None
    Image.fromarray(colours).save(tmp_path / "c.jpg")
    assert camera_from_exif(read_image(tmp_path / "c.jpg")) is None


def test_damaged_exif_leaves_the_picture(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    picture = read_image(tmp_path / "a.jpg")
    assert close(picture.pixels, colours) and picture.exif_focal_35mm is None


def fails(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    text = str(caught.value)
    assert "\n" not in text and "; " in text, text
    return text


def test_missing_empty_and_no_picture(tmp_path):
    assert "missing.png does not exist" in fails(tmp_path / "missing.png")
    (tmp_path / "empty.jpg").touch()
    assert "empty.jpg is empty" in fails(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("these are words")
    assert "text.jpg is not a picture" in fails(tmp_path / "text.jpg")
    assert "is a folder" in fails(tmp_path)
    assert "standard input is empty" in fails(b"")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert str(path) in fails(path)


def test_a_hundred_megapixels(tmp_path):
    path = tmp_path / "large.png"
    Image.new("L", (12_500, 8_000), 77).save(path, compress_level=1)
    pixels = read_image(path).pixels
    assert pixels.shape == (8_000, 12_500, 3)
    assert (pixels[::999, ::999] == 77).all()


def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path):
    header = struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    whole = io.BytesIO()
    Image.new("RGB", (1, 1)).save(whole, "PNG")
    content = bytearray(whole.getvalue())
    content[16:29] = header
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    before = Image.MAX_IMAGE_PIXELS
    assert "60000 x 60000 pixels, more than the 250 million" in fails(tmp_path / "bomb.png")
    assert before == Image.MAX_IMAGE_PIXELS


def touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_walked_in_order_and_mirrored(tmp_path):
    root = tmp_path / "in"
    touch(root / "b.JPG", root / "a.png", root / "sub" / "a.jpg", root / "sub" / "film.mp4", root / "notes.txt")
    touch(root / ".hidden.jpg", root / "out" / "a_overlay.png")
    items = expand_inputs([str(root)], root / "out")
    assert [(i.stem, i.kind) for i in items] == [
        ("a", "image"),
        ("b", "image"),
        ("sub/a", "image"),
        ("sub/film", "video"),
    ]


def test_links_to_folders_are_followed_to_each_folder_once(tmp_path):
    """A ring of links ends, and what was reached before is not done again."""
    for name in ("in/a.png", "elsewhere/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for link in ("link", "link_again"):
        (tmp_path / "in" / link).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "none").symlink_to(tmp_path / "gone")
    assert [item.stem for item in expand_inputs([str(tmp_path / "in")])] == ["a", "link/b"]


def test_single_inputs(tmp_path):
    touch(tmp_path / "x.y.png")
    name = str(tmp_path / "x.y.png")
    items = expand_inputs([name, "missing.jpg", "-", "camera:0", name])
    assert items == [
        Item(name, "x.y", "image"),
        Item("missing.jpg", "missing", "image"),
        Item("-", "stdin", "image"),
        Item("camera:0", "camera0", "camera"),
    ]
    with pytest.raises(ValueError, match="camera:front is no camera"):
        expand_inputs(["camera:front"])


def test_files_that_differ_in_their_suffixes_give_results_by_their_whole_names(tmp_path):
    touch(tmp_path / "in" / "a.jpg", tmp_path / "in" / "a.png", tmp_path / "in" / "b.jpg", tmp_path / "in" / "a.mp4")
    items = expand_inputs([str(tmp_path)])
    assert {item.stem: item.key for item in items} == {
        "in/a.jpg": "in/a.jpg",
        "in/a.png": "in/a.png",
        "in/b": "in/b.jpg",
        "in/a": "in/a.mp4",
    }
    touch(tmp_path / "in" / "a.jpg.webp")
    with pytest.raises(ValueError, match=r"would both be written to in/a\.jpg\.\*"):
        expand_inputs([str(tmp_path)])


def test_a_clash_of_stems_is_an_error(tmp_path):
    touch(tmp_path / "one" / "a.jpg", tmp_path / "two" / "a.jpg", tmp_path / "two" / "a.png")
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.jpg would both be written to a\.\*"):
        expand_inputs([str(tmp_path / "one" / "a.jpg"), str(tmp_path / "two" / "a.jpg")])
    (tmp_path / "two" / "a.png").rename(tmp_path / "two" / "a.mov")  # a phone's picture and its short film
    assert len(expand_inputs([str(tmp_path)])) == 3


def test_a_folder_without_pictures_fails_when_it_is_read(tmp_path):
    (item,) = expand_inputs([str(tmp_path)])
    assert "folder without any picture" in fails(item.path)
