"""The page's server, asked without a browser: answers, files, limits, and who may ask."""

import base64
import http.client
import io
import json
import socket
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from posing import posed_hand, scene

import lgnet
from lgnet.app import film, live, picture
from lgnet.app.desk import BusyError, Desk, Shelf, Turns, clean_name
from lgnet.app.server import is_our_name, is_our_page, open_server
from lgnet.commands_app import app
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)
EXAMPLES = Path(lgnet.__file__).parent / "examples"
CROSSED = (EXAMPLES / "crossed.jpg").read_bytes()
APART = (EXAMPLES / "apart.jpg").read_bytes()
PATIENCE = 300


@pytest.fixture(scope="module")
def model():
    return lgnet.load(device="cpu")


@pytest.fixture(scope="module")
def server(model):
    with serving(model) as found:
        yield found


@contextmanager
def serving(model, host="127.0.0.1"):
    with open_server(Desk(model), host) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()


def ask(server, method, path, body=None, **headers):
    """Status, headers and content."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def answer(server, method, path, body=None, **headers):
    status, _, content = ask(server, method, path, body, **headers)
    return status, json.loads(content)


@pytest.fixture(scope="module")
def done(server):
    """The example of two crossed hands, sent as a browser would."""
    origin = f"http://127.0.0.1:{server.server_port}"
    status, found = answer(
        server, "POST", "/api/picture?name=..%2Fmy%20hands.jpg", CROSSED, Origin=origin, Sec_Fetch_Site="same-origin"
    )
    assert status == 200
    return found


def test_the_page_says_all_it_needs_and_asks_nobody_else(server):
    status, headers, page = ask(server, "GET", "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["X-Content-Type-Options"] == "nosniff"
    static = Path(lgnet.__file__).parent / "app" / "static"
    texts = {f.name: f.read_text(encoding="utf-8") for f in static.iterdir()}
    assert texts["index.html"].encode() == page
    for name, text in texts.items():
        status, headers, content = ask(server, "GET", f"/static/{name}")
        assert status == 200 and content.decode() == text
        left = text.replace("http://www.w3.org/2000/svg", "").replace("http://localhost", "")
        assert "http:" not in left and "https:" not in left and 'src="//' not in left, name
    status, about = answer(server, "GET", "/api/about")
    assert about["weights"] == "lgnet-mobile" and len(about["examples"]) == 4
    faces = np.frombuffer(base64.b64decode(about["faces"]["left"]), "<u2").reshape(-1, 3)
    np.testing.assert_array_equal(faces, server.desk.model.hand_models[1].faces.numpy())


def test_a_picture_gives_what_lgnet_gives(server, done, model):
    hands = model(EXAMPLES / "crossed.jpg")
    said = done["result"]
    assert said["image"] == {"file": "../my hands.jpg", "width": hands.width, "height": hands.height}
    assert [hand["side"] for hand in said["hands"]] == ["right", "left"]
    for hand, mine in zip(said["hands"], hands.hands):
        np.testing.assert_allclose(hand["joints3d"], mine.joints3d, atol=1e-6)
        vertices = np.frombuffer(base64.b64decode(hand["vertices"]), "<f4").reshape(-1, 3)
        np.testing.assert_allclose(vertices, mine.vertices, atol=1e-6)
        assert np.shape(hand["angles"]) == (5, 3, 3)
    for view in ("picture", "overlay", "joints", "attention_local", "attention_global"):
        status, headers, content = ask(server, "GET", done["views"][view])
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and headers["Content-Disposition"] is None
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (480, 480, 3)
    share, even = done["attention"]["global"], 100 / (2 * model.config.grid**2 + 1)
    assert share["even"] == pytest.approx(even) and 0 <= share["least"] < even < share["most"] < 100


def test_angles_are_those_of_the_pose():
    pose = LIBRARY["fist"]
    said = picture.describe(scene(posed_hand(pose, "right"), posed_hand(pose, "left", at=(-0.2, 0.1, 0.6))))
    for hand in said["hands"]:
        np.testing.assert_allclose(hand["angles"], np.degrees(pose).reshape(5, 3, 3), atol=0.51)


def test_every_file_can_be_had_and_nothing_else(server, done):
    trimesh = pytest.importorskip("trimesh")
    names = [file["name"] for file in done["files"]]
    kinds = ("json", "npz", "glb", "zip", "right.obj", "left.obj", "overlay.png", "depth.png", "normal.png", "mask.png")
    for kind in (*kinds, "attention_local.png", "attention_global.png"):
        assert [name for name in names if name.endswith(kind)], kind
    assert all(name.startswith("my_hands") for name in names)
    content = {}
    for file in done["files"]:
        status, headers, content[file["name"]] = ask(server, "GET", file["url"])
        assert status == 200 and headers["Content-Disposition"].startswith(f'attachment; filename="{file["name"]}"; ')
    result = {k: v for k, v in json.loads(content["my_hands.json"]).items() if k != "hands"}
    assert result == {k: v for k, v in done["result"].items() if k != "hands"}
    mesh = trimesh.load(io.BytesIO(content["my_hands.glb"]), file_type="glb")
    assert set(mesh.geometry) == {"right_hand", "left_hand"}
    with zipfile.ZipFile(io.BytesIO(content["my_hands.zip"])) as archive:
        assert sorted(archive.namelist()) == sorted(set(names) - {"my_hands.zip"})
        assert archive.read("my_hands.glb") == content["my_hands.glb"]
    for name in ("upload", "nothing.png", "..%2F..%2Fetc%2Fpasswd", "../upload", "%2e%2e/x", "", "view_overlay.jpg/"):
        assert ask(server, "GET", f"/files/{done['id']}/{name}")[0] == 404, name
    for path in (
        "/files/..",
        "/files/no-such-id/my_hands.glb",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/etc",
    ):
        assert ask(server, "GET", path)[0] == 404, path


def test_a_part_of_a_file(server, done):
    url = done["views"]["overlay"]
    whole = ask(server, "GET", url)[2]
    status, headers, part = ask(server, "GET", url, Range="bytes=100-199")
    assert status == 206 and part == whole[100:200] and headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert ask(server, "GET", url, Range="bytes=100-")[2] == whole[100:]
    for nonsense in (f"bytes={len(whole)}-", "bytes=5-3"):
        assert ask(server, "GET", url, Range=nonsense)[::2] == (200, whole)


def test_a_picture_without_hands_is_a_result(server):
    grey = cv2.imencode(".png", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
    status, found = answer(server, "POST", "/api/picture?name=grey.png", grey)
    assert status == 200 and found["result"]["hands"] == [] and found["attention"] == {}
    assert set(found["views"]) == {"picture", "overlay", "joints"}
    assert not [file for file in found["files"] if file["name"].endswith((".obj", ".bvh"))]
    assert all(ask(server, "GET", file["url"])[0] == 200 for file in found["files"])


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/picture?name=a.jpg", b"no picture at all", 422, "a.jpg is not a picture of a kind lgnet can read"),
        ("/api/picture?name=a.jpg", b"", 422, "a.jpg is empty"),
        ("/api/picture?name=a.jpg", CROSSED[:3000], 422, "a.jpg is cut short or damaged"),
        ("/api/live?session=s", b"no picture", 422, "this frame is not a picture"),
        ("/api/live?session=../s", CROSSED, 400, "a session's name"),
        ("/api/video?name=a.mp4&smooth=much", b"x", 400, "smoothing is one of off, live, offline"),
        ("/api/stop?id=nothing", b"", 404, "this video's results are gone"),
        ("/api/nothing", b"", 404, "there is no such page"),
    ],
)
def test_what_is_wrong_is_one_sentence(server, path, body, status, said):
    before = set(server.desk.folder.iterdir())
    found = answer(server, "POST", path, body)
    assert found[0] == status and said in found[1]["error"] and "\n" not in found[1]["error"]
    assert str(server.desk.folder) not in found[1]["error"]
    assert set(server.desk.folder.iterdir()) == before  # nothing is left of it


def test_too_large_is_refused_before_it_is_read(server, monkeypatch):
    for path, most in (("picture", picture.MOST_BYTES), ("live", live.MOST_BYTES), ("video", film.MOST_BYTES)):
        status, found = answer(server, "POST", f"/api/{path}?session=s", Content_Length=str(most + 1))
        assert status == 413 and f"more than the {most / 1e6:.0f} MB" in found["error"]
    wide = cv2.imencode(".png", np.zeros((5001, 10001), np.uint8))[1].tobytes()  # 50 million pixels in few bytes
    assert len(wide) < 1_000_000
    status, found = answer(server, "POST", "/api/picture?name=wide.png", wide)
    assert status == 422 and "wide.png has 10001 x 5001 pixels, more than the 50 million" in found["error"]
    for length in ("-1", "much", ""):
        assert answer(server, "POST", "/api/picture", Content_Length=length)[0] == 411
    chunked = answer(server, "POST", "/api/picture", Transfer_Encoding="chunked", Content_Length="3")
    assert chunked[0] == 411


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE"])
def test_what_is_not_understood_is_answered_in_json(server, method):
    status, found = answer(server, method, "/")
    assert status == 501 and method in found["error"]


def test_other_web_pages_may_not_use_it(server, done):
    here = f"127.0.0.1:{server.server_port}"
    for headers in (
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": f"https://{here}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "example.org"},
        {"Host": f"rebound.example.org:{server.server_port}"},
        {"Host": ""},
    ):
        for method, path in (("POST", "/api/picture?name=a"), ("GET", "/api/about"), ("GET", done["views"]["overlay"])):
            body = CROSSED if method == "POST" else None
            assert ask(server, method, path, body, **headers)[0] == 403, (headers, path)
    assert ask(server, "GET", "/", Sec_Fetch_Site="cross-site")[0] == 200  # a link may lead to the page
    assert ask(server, "GET", "/", Host="example.org")[0] == 403
    for host in (here, f"localhost:{server.server_port}", f"[::1]:{server.server_port}"):
        assert ask(server, "GET", "/api/about", Host=host, Origin=f"http://{host}")[0] == 200


def test_names_and_pages_that_are_ours():
    assert is_our_name("hands.local:7654", "hands.local") and is_our_name("192.168.1.5:7654", "0.0.0.0")
    for host in (None, "", "hands.local:7654", "127.0.0.1.example.org", "[::1", "localhost.example.org"):
        assert not is_our_name(host, "127.0.0.1"), host
    assert is_our_page("localhost:1", None, None) and is_our_page("localhost:1", "http://localhost:1", "same-origin")
    assert not is_our_page("localhost:1", "http://localhost:2", None)


def test_a_camera_is_followed_from_frame_to_frame(server):
    first = answer(server, "POST", "/api/live?session=one", APART)[1]
    following = server.desk.live["one"].following
    assert [hand["side"] for hand in first["result"]["hands"]] == ["right", "left"]
    second = answer(server, "POST", "/api/live?session=one", APART)[1]
    assert server.desk.live["one"].following.tracks[0].age == following.tracks[0].age + 1
    for a, b in zip(first["result"]["hands"], second["result"]["hands"]):
        assert np.abs(np.subtract(a["joints2d"], b["joints2d"])).mean() < 15
    for name in "abcd":
        live.see(server.desk, name, APART)
    assert list(server.desk.live) == list("abcd")  # the one that was silent longest is forgotten


@pytest.fixture
def clip(tmp_path):
    """One second of the example, going to the left."""
    image = cv2.imread(str(EXAMPLES / "apart.jpg"))
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 8, (480, 480))
    for index in range(8):
        writer.write(np.roll(image, -6 * index, 1))
    writer.release()
    return path.read_bytes()


def wait(server, id, until=("done", "failed", "stopped")):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        status, job = answer(server, "GET", f"/api/video?id={id}")
        assert status == 200
        if job["state"] in until:
            return job
        time.sleep(0.05)
    raise AssertionError("the video did not end")


def test_a_video(server, clip, tmp_path):
    status, job = answer(server, "POST", "/api/video?name=my%20clip.mp4&smooth=off", clip)
    assert status == 200 and job["state"] in ("waiting", "running") and job["files"] == []
    job = wait(server, job["id"])
    assert job["state"] == "done" and job["frames"] == job["total"] == 8 and not job["cut"] and not job["error"]
    files = {file["name"]: ask(server, "GET", file["url"])[2] for file in job["files"]}
    lines = [json.loads(line) for line in files["my_clip.jsonl"].decode().splitlines()]
    assert [line["frame"] for line in lines] == list(range(8)) and lines[4]["time"] == pytest.approx(0.5, abs=0.01)
    assert job["hands"] == [
        sum(side in [h["side"] for h in line["hands"]] for line in lines) for side in ("right", "left")
    ]
    assert min(job["hands"]) > 0
    for name, code in (("my_clip.webm", "VP80"), ("my_clip.mp4", "FMP4")):
        (tmp_path / name).write_bytes(files[name])
        capture = cv2.VideoCapture(str(tmp_path / name))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8 and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(8)
        number = int(capture.get(cv2.CAP_PROP_FOURCC))
        assert number.to_bytes(4, "little").decode() == code
        ok, frame = capture.read()
        assert ok and frame.shape == (480, 480, 3)
    preview = ask(server, "GET", f"/api/preview?id={job['id']}")[2]
    assert cv2.imdecode(np.frombuffer(preview, np.uint8), cv2.IMREAD_COLOR).shape == (480, 480, 3)


def test_a_video_that_is_none_and_one_that_is_too_long(server, clip, monkeypatch):
    job = wait(server, answer(server, "POST", "/api/video?name=none.mp4", b"no video")[1]["id"])
    assert job["state"] == "failed" and job["error"].startswith("none.mp4: this is not a video") and job["files"] == []
    monkeypatch.setattr(film, "MOST_FRAMES", 3)
    job = wait(server, answer(server, "POST", "/api/video?name=clip.mp4&smooth=off", clip)[1]["id"])
    assert job["state"] == "done" and job["cut"] and job["frames"] == job["total"] == 3


def test_a_video_can_be_stopped_and_too_many_are_refused(server, clip, monkeypatch):
    monkeypatch.setattr(film, "MOST_WAITING", 2)
    with server.desk.turns.take():  # nobody else computes meanwhile
        ids = [answer(server, "POST", "/api/video?name=clip.mp4", clip)[1]["id"] for _ in range(2)]
        status, refused = answer(server, "POST", "/api/video?name=clip.mp4", clip)
        assert status == 503 and "busy with earlier videos" in refused["error"]
        for id in ids:
            assert answer(server, "POST", f"/api/stop?id={id}", b"")[0] == 200
        assert answer(server, "GET", f"/api/video?id={ids[1]}")[1]["state"] == "stopped"  # which only waited
        folder = server.desk.videos.kept[ids[1]].folder
        for _ in range(100):
            if not (folder / "upload").exists():
                break
            time.sleep(0.05)
        assert (
            folder.is_dir() and not (folder / "upload").exists()
        )  # nor does its upload lie there till the other is done
    for id in ids:
        job = wait(server, id)
        assert job["state"] == "stopped" and job["frames"] < 8
    assert answer(server, "POST", "/api/video?name=clip.mp4", clip)[0] == 200  # there is room again


def test_a_picture_that_may_not_wait_is_not_decoded_and_its_sender_is_told(server, monkeypatch):
    monkeypatch.setattr(server.desk.turns, "most", 1)
    monkeypatch.setattr(picture, "reconstruct", None)
    with server.desk.turns.take():
        status, said = answer(server, "POST", "/api/picture?name=a.png", b"x" * 20_000_000)
    assert status == 503 and "busy with earlier pictures" in said["error"]


def test_a_video_at_work_stays_whatever_is_uploaded_after_it(tmp_path):
    shelf = Shelf(tmp_path, 1)
    first, *others = [shelf.new() for _ in range(4)]
    with first.lock:
        for kept in (first, *others):
            shelf.settle(kept)
    assert set(shelf.kept) == {first.id, others[-1].id} and first.folder.is_dir() and not others[0].folder.exists()
    shelf.settle(shelf.new())
    assert first.id not in shelf.kept


def test_a_video_that_is_done_at_last_does_not_go_for_what_was_uploaded_later(tmp_path):
    shelf = Shelf(tmp_path, 2)
    first, *others = [shelf.new() for _ in range(3)]
    with first.lock:
        for kept in (first, *others):
            shelf.settle(kept)
    shelf.settle(first)  # it is done
    assert set(shelf.kept) == {others[1].id, first.id} and first.folder.is_dir()


def test_first_come_first_served_and_too_many_are_sent_away():
    turns, order = Turns(3), []

    def work(name):
        with turns.take():
            order.append(name)

    with turns.take():
        threads = []
        for name in "ab":
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
            while len(turns.queue) < len(threads) + 1:
                time.sleep(0.001)
        with pytest.raises(BusyError, match="busy with earlier pictures"), turns.take():
            pass
    for thread in threads:
        thread.join(5)
    assert order == ["a", "b"] and not turns.queue
    with pytest.raises(KeyError), turns.take():
        raise KeyError
    with turns.take():
        pass


def test_old_results_go(tmp_path):
    shelf = Shelf(tmp_path, 2)
    kept = [shelf.new() for _ in range(3)]
    assert kept[0].folder.exists()  # nothing has come of the others yet
    slow = shelf.new()  # whose upload goes on
    for one in kept:
        shelf.settle(one)
    assert slow.folder.exists() and shelf.kept[slow.id] is slow
    for one in kept[1:]:
        (one.folder / "a.txt").write_text("a")
        one.files = {"a.txt": None, "b.txt": lambda path: path.write_text("b") and None}
    assert not kept[0].folder.exists() and shelf.file(kept[0].id, "a.txt") is None
    assert len({one.id for one in kept}) == 3 and min(len(one.id) for one in kept) >= 16
    path = shelf.file(kept[2].id, "b.txt")
    assert path is not None and path.read_text() == "b"
    shelf.drop(kept[2])
    assert not kept[2].folder.exists() and shelf.file(kept[2].id, "b.txt") is None


def test_all_results_go_at_the_end(model):
    with serving(model) as server:
        folder = server.desk.folder
        assert folder.stat().st_mode & 0o077 == 0  # nobody else's to read
        grey = cv2.imencode(".png", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
        assert answer(server, "POST", "/api/picture?name=grey.png", grey)[0] == 200 and any(folder.iterdir())
    assert not folder.exists()


def test_a_fault_of_ours_is_one_sentence_too(server, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("inside")

    monkeypatch.setattr(picture, "reconstruct", fail)
    status, found = answer(server, "POST", "/api/picture?name=a.jpg", CROSSED)
    assert status == 500 and found["error"] == "lgnet failed at this (RuntimeError); the terminal says more"
    assert "inside" in capsys.readouterr().err


def test_names_of_files():
    assert clean_name("C:\\x\\My photo (1).jpeg", "p") == "My_photo_1"
    assert clean_name("../../etc/passwd", "p") == "passwd" and clean_name("...", "p") == "p"
    assert clean_name("手.png", "p") == "手" and len(clean_name("a" * 300, "p")) == 100
    assert clean_name("ж" * 90 + ".mp4", "x") == "ж" * 50  # bytes are what file systems count


def test_a_reduced_picture_shows_the_hands_at_the_same_place():
    hands = scene(posed_hand(LIBRARY["ok"], "right"))
    small, moved = picture.reduced(np.zeros((480, 640, 3), np.uint8), hands, 320)
    assert small.shape == (240, 320, 3) and (moved.width, moved.height) == (320, 240)
    hand = moved.right
    at = hand.joints3d[8]
    seen = moved.camera.K[:2] * at[:2] / at[2] + moved.camera.K[2:]
    np.testing.assert_allclose(seen, hand.joints2d[8], atol=1e-6)
    np.testing.assert_allclose(2 * seen + 0.5, hands.right.joints2d[8], atol=1e-6)
    x, y, w, h = hands.right.box  # its edges are the same in both
    np.testing.assert_allclose(hand.box, [(x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5, w / 2, h / 2])


def test_of_hands_without_texture_coordinates_no_uv_map_is_offered(monkeypatch):
    hands = scene(posed_hand(LIBRARY["ok"], "right"))
    kinds = {kind for kind, _ in picture._names(hands, "a")}
    monkeypatch.setattr("lgnet.maps.has_uvs", lambda hands: False)
    assert kinds - {kind for kind, _ in picture._names(hands, "a")} == {"uv"}


def test_the_command(model, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("lgnet.predict.load", lambda *given, **named: model)
    stop = threading.Event()

    @contextmanager
    def stop_asked():
        yield stop

    monkeypatch.setattr("lgnet.ending.stop_asked", stop_asked)
    stop.set()
    assert app(port=0) == 0
    said = capsys.readouterr().out
    assert said.startswith("lgnet is at http://127.0.0.1:")
    time.sleep(0.2)
    assert opened == [said.split()[3]]
    assert app(port=0, browser=False, host="0.0.0.0") == 0 and len(opened) == 1
    assert "everyone who reaches this machine" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match=r"cannot be had .* name another one by --port"):
            app(port=taken.getsockname()[1], browser=False)
    with pytest.raises(ValueError, match="there is no such host"):
        app(port=0, host="no.such.host.invalid", browser=False)
    with pytest.raises(ValueError, match="--port is from 0 to 65535"):
        app(port=70000)
