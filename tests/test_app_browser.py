"""The page of `lgnet app`, and the receiver in examples/browser, in a real browser: Chromium without a window."""

import io
import json
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from posing import posed_hand, scene

import lgnet
from lgnet.app.desk import Desk
from lgnet.app.server import open_server
from lgnet.gestures import Event
from lgnet.hand_model import load_hand_model
from lgnet.packets import make_packet, write_packet
from lgnet.publish import open_publisher
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
sync_api = pytest.importorskip("playwright.sync_api")
EXAMPLES = Path(lgnet.__file__).parent / "examples"
PATIENCE = 300_000
FLAGS = (
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
LOADED = "(name) => { const i = document.getElementById('picture-shown'); return i.src.includes(name) && i.complete }"
FILM = "const v = document.getElementById('video-shown');"


def moving(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Frames (BGR) of two hands that go to the left."""
    image = cv2.imread(str(EXAMPLES / "apart.jpg"))
    return [cv2.resize(np.roll(image, -4 * index, 1), size) for index in range(count)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    film = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    film.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in moving(8, (640, 480))))
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={film}"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server():
    with open_server(Desk(lgnet.load(device="cpu"))) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def page(browser, server):
    """The page, of which nothing goes wrong unseen and which asks nobody but its server."""
    context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True)
    found, faults, asked = context.new_page(), [], []
    found.set_default_timeout(PATIENCE)
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    found.on("request", lambda request: asked.append(request.url))
    found.goto(server.address)
    found.wait_for_selector("html[data-ready=yes]")
    found.faults = faults
    yield found
    assert not faults
    assert asked and all(url.startswith((server.address, "blob:", "data:")) for url in asked)
    context.close()


def seen(page, selector: str) -> np.ndarray:
    """(H, W, 3) int RGB of what a canvas or picture shows on the screen, without its edge, where the focus is marked."""
    picture = page.locator(selector).screenshot()
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[8:-8, 8:-8, ::-1].astype(int)


def reds_and_blues(picture: np.ndarray) -> tuple[int, int]:
    """How many pixels have the colours of a right and of a left hand."""
    r, g, b = np.moveaxis(picture, -1, 0)
    return int(((r > g + 60) & (r > b + 60)).sum()), int(((b > r + 60) & (b > g + 20)).sum())


def settled(page) -> None:
    page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def test_a_picture_its_meshes_and_its_files(page, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    canvas = "#picture-3d"
    assert reds_and_blues(seen(page, canvas)) == (0, 0)
    page.set_input_files("#picture-file", str(EXAMPLES / "crossed.jpg"))
    page.wait_for_selector("#picture-files a")
    page.wait_for_function("() => document.getElementById('picture-shown').naturalWidth > 0")
    settled(page)
    shown = seen(page, "#picture-shown")
    assert min(reds_and_blues(shown)) > 500  # the overlay
    page.click("[data-view=picture]")
    page.wait_for_function(LOADED, arg="view_picture")
    reds, blues = reds_and_blues(seen(page, "#picture-shown"))
    assert reds < reds_and_blues(shown)[0] and blues < 20  # brown hands are reddish
    assert "Two hands" in page.inner_text("#picture-said") and page.locator(".card").count() == 2
    assert page.locator(".card.right td").count() == 45 and re.fullmatch(
        r"−?\d+°", page.inner_text(".card.left td >> nth=0")
    )
    assert float(page.get_attribute(".card.right meter", "value")) > 0.2

    before = seen(page, canvas)
    assert min(reds_and_blues(before)) > 500
    box = page.locator(canvas).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 20, steps=3)
    page.mouse.up()
    settled(page)
    turned = seen(page, canvas)
    assert (abs(turned - before).max(-1) > 30).mean() > 0.02 and min(reds_and_blues(turned)) > 300
    page.mouse.wheel(0, -300)
    settled(page)
    assert sum(reds_and_blues(seen(page, canvas))) > 1.3 * sum(reds_and_blues(turned))
    page.focus(canvas)
    page.keyboard.press("Home")
    settled(page)
    assert (abs(seen(page, canvas) - before).max(-1) > 30).mean() < 0.002
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert (abs(seen(page, canvas) - before).max(-1) > 30).mean() > 0.005

    for name in ("local", "global"):
        page.click(f"[data-view=attention_{name}]")
        page.wait_for_function(LOADED, arg=name)
        assert f"What the {name} unit attends to" in page.inner_text("#picture-caption")
    for ending in (".glb", ".json"):
        with page.expect_download() as download:
            page.click(f"#picture-files a[download='crossed{ending}']")
        download.value.save_as(tmp_path / f"crossed{ending}")
    said = json.loads((tmp_path / "crossed.json").read_text())
    assert said["schema"] == "lgnet/1" and [hand["side"] for hand in said["hands"]] == ["right", "left"]
    mesh = trimesh.load(tmp_path / "crossed.glb", process=False)
    assert set(mesh.geometry) == {"right_hand", "left_hand"}
    for side in ("right", "left"):
        model = load_hand_model("lgnet", side)
        got = mesh.geometry[f"{side}_hand"]
        assert got.vertices.shape == tuple(model.template.shape) and got.faces.shape == tuple(model.faces.shape)
        assert 0.1 < np.ptp(got.vertices, axis=0).max() < 0.3  # metres


def test_what_is_wrong_is_said_on_the_page_and_tabs_go_by_keys(page, tmp_path):
    (tmp_path / "words.jpg").write_text("these are words")
    page.set_input_files("#picture-file", str(tmp_path / "words.jpg"))
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error").startswith("Words.jpg is not a picture of a kind lgnet can read")
    assert page.is_hidden("#picture-busy")
    page.faults.clear()  # the browser notes the answer's status as an error
    page.focus("#tab-picture")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#camera") and page.is_hidden("#picture") and page.is_hidden("#error")
    page.keyboard.press("ArrowLeft")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != light
    page.set_viewport_size({"width": 360, "height": 700})
    for tab in ("picture", "camera", "video"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), tab


def test_the_camera_live(page):
    page.click("#tab-camera")
    page.click("#camera-start")
    page.wait_for_selector("#camera-hands .card.right")
    page.wait_for_selector("#camera-hands .card.left")
    assert re.match(r"[\d.]+ frames/s · \d+ ms", page.inner_text("#camera-figures"))
    settled(page)
    assert min(reds_and_blues(seen(page, "#camera-3d"))) > 200
    over = page.evaluate(
        "() => { const c = document.getElementById('camera-overlay'), g = c.getContext('webgl');"
        " const p = new Uint8Array(4 * c.width * c.height); g.readPixels(0, 0, c.width, c.height, g.RGBA, g.UNSIGNED_BYTE, p);"
        " let x = [0, 0], n = [0, 0]; for (let i = 0; i < p.length; i += 4) if (p[i + 3]) {"
        " const side = p[i] > p[i + 2] ? 0 : 1; n[side]++; x[side] += (i / 4) % c.width }"
        " return { size: [c.width, c.height], n, x: [x[0] / n[0], x[1] / n[1]] } }"
    )
    assert over["size"] == [640, 480] and min(over["n"]) > 500
    assert abs(over["x"][0] - over["x"][1]) > 50  # one hand beside the other, as in the picture
    page.click("#camera-keep")
    page.wait_for_selector("#picture-files a[download='camera.glb']")
    page.click("#tab-camera")
    page.click("#camera-start")
    assert page.inner_text("#camera-start") == "Start the camera"


def test_a_video(page, tmp_path):
    path = tmp_path / "two seconds.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 8, (320, 320))
    for frame in moving(16, (320, 320)):
        writer.write(frame)
    writer.release()
    page.click("#tab-video")
    page.select_option("#video-smooth", "offline")
    page.set_input_files("#video-file", str(path))
    page.wait_for_selector("#video-preview:not([hidden])")
    page.wait_for_function("() => { const v = document.getElementById('video-progress').value; return v > 0 && v < 1 }")
    page.wait_for_selector("#video-files a")
    assert "16 frames" in page.inner_text("#video-said")
    names = page.eval_on_selector_all("#video-files a", "links => links.map((link) => link.download)")
    assert names == ["two_seconds.webm", "two_seconds.mp4", "two_seconds.jsonl"]
    page.wait_for_function("() => document.getElementById('video-shown').readyState >= 2")
    film = page.evaluate(f"() => {{ {FILM} return [v.videoWidth, v.videoHeight, v.duration] }}")
    assert film == [320, 320, pytest.approx(2, abs=0.2)]
    page.evaluate("() => { document.getElementById('video-shown').currentTime = 1.5 }")  # winding needs ranges
    page.wait_for_function(f"() => {{ {FILM} return !v.seeking && v.currentTime >= 1.4 }}")
    with page.expect_download() as download:
        page.click("#video-files a[download='two_seconds.jsonl']")
    lines = [json.loads(line) for line in io.StringIO(Path(download.value.path()).read_text())]
    assert [line["frame"] for line in lines] == list(range(16))


def test_the_receiver_in_examples_draws_what_is_streamed(browser):
    """examples/browser is served as its head says, and shows a posed right hand red where the camera sees it."""
    pytest.importorskip("websockets")
    folder = Path(__file__).parents[1] / "examples" / "browser"

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    hands = scene(posed_hand(LIBRARY["ok"], "right", at=(0.1, 0.05, 0.5)))
    event = (Event("pinch", "right", "hold", 0.25),)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as pages,
        open_publisher("ws://127.0.0.1:0", text=True) as publisher,
    ):
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 640, "height": 540})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://127.0.0.1:{pages.server_port}/?{publisher.address}")
        page.wait_for_function("() => document.getElementById('words').textContent.endsWith(': connected')")
        for number in range(3):
            packet = make_packet(hands, event, sequence=number, frame=number, time=number / 30, captured=1.7e9)
            publisher.send(write_packet(packet, "json"))
        page.wait_for_function("() => document.getElementById('words').textContent.includes('right pinch 0.25')")
        assert page.inner_text("#words").startswith("1 hands")
        settled(page)
        pixels = np.array(
            page.evaluate(
                "() => { const c = document.getElementById('picture');"
                " const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const out = [];"
                " for (let i = 0; i < p.length; i += 4) if (p[i + 3] > 200) "
                " out.push([(i / 4) % c.width, Math.floor(i / 4 / c.width), p[i], p[i + 2]]); return out }"
            )
        )
        assert len(pixels) > 300 and (pixels[:, 2] > pixels[:, 3]).all()  # red
        joints = hands.right.joints2d
        low, high = joints.min(0), joints.max(0)
        assert np.abs(pixels[:, :2].min(0) - low).max() < 8 and np.abs(pixels[:, :2].max(0) - high).max() < 8
        assert not faults
        page.close()
        pages.shutdown()
