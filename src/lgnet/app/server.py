"""The page's server: the standard library's, with checks before it. docs/app.md says what each is against.

    GET  /, /static/NAME, /examples/NAME       the page, and the bundled pictures
    GET  /api/about                            the networks, the limits, the examples
    POST /api/picture?name=                    a picture file -> its hands
    POST /api/live?session=                    a frame of a camera -> its hands
    POST /api/video?name=&smooth=              a video file -> a job;  GET /api/video?id= how far it is
    GET  /api/preview?id=                      the frame that a video is at
    POST /api/stop?id=                         end a video's job
    GET  /files/ID/NAME                        a file of a result

Answers are JSON; what is wrong is {"error": one sentence} with a status of 400 or more.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ..smooth import How
from . import film, live, picture
from .desk import BusyError, Desk

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".json": "application/json",
    ".glb": "model/gltf-binary",
    ".webm": "video/webm",
    ".mp4": "video/mp4",
    ".zip": "application/zip",
}
SHOWN = (".jpg", ".webm")
"""Files of results that the page shows; all others are downloads."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser lets the page do: nothing but ask this server."""
PATIENCE = 60
"""Seconds without a byte after which a connection is closed."""
BODIES = {
    "/api/picture": picture.MOST_BYTES,
    "/api/live": live.MOST_BYTES,
    "/api/video": film.MOST_BYTES,
    "/api/stop": 0,
}
"""Bytes that may be posted."""


class RefusedError(ValueError):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def is_our_name(host: str | None, named: str) -> bool:
    """Is the request meant for this server by a name that nobody else can have pointed at it?

    A page of a stranger whose name is made to lead to this machine (DNS rebinding) sends its own name. Addresses and
    localhost cannot be so misled; besides them the name that the server was started with counts.

    Args:
        host: the request's Host header.
        named: the host the server was told to listen at.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not host or not name:
        return False
    if name in ("localhost", named.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_our_page(host: str, origin: str | None, site: str | None) -> bool:
    """Was the request made by the page that this server gave, or by no page at all? Browsers tell, programs need not.

    Args:
        host: the Host header.
        origin: the Origin header.
        site: the Sec-Fetch-Site header.
    """
    return (origin is None or origin == f"http://{host}") and site in (None, "same-origin", "none")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lgnet", ""
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: what goes wrong is said on the page."""

    def do_GET(self) -> None:
        """Files and states."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Work."""
        self._answer(self._post)

    def _answer(self, work: Any) -> None:
        try:
            self._check()
            work(unquote(urlsplit(self.path).path), self._query())
        except RefusedError as error:
            self._error(error.status, str(error))
        except BusyError as error:
            self._error(503, str(error))
        except ValueError as error:
            self._error(422, " ".join(str(error).split()))
        except MemoryError:
            self._error(507, "there is not enough memory for this; give a smaller copy")
        except (ConnectionError, TimeoutError):  # the one who asked is gone
            self.close_connection = True
        except Exception as error:  # a fault of ours: the page stays usable, the terminal says where
            traceback.print_exc(file=sys.stderr)
            self._error(500, f"lgnet failed at this ({type(error).__name__}); the terminal says more")

    def _check(self) -> None:
        host = self.headers.get("Host")
        if not is_our_name(host, self.server.named):
            raise RefusedError(403, "open this page by this machine's address or as localhost, not by another name")
        path = urlsplit(self.path).path
        open_to_links = self.command == "GET" and path == "/"  # a link on another page may lead here, no more
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        if not open_to_links and not is_our_page(str(host), origin, site):
            raise RefusedError(403, "other web pages may not use lgnet")

    def _query(self) -> dict[str, str]:
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True, max_num_fields=8)
        return {key: values[0] for key, values in asked.items()}

    def _get(self, path: str, query: dict[str, str]) -> None:
        static = self.server.static.get("/static/index.html" if path == "/" else path)
        if static is not None:
            self._send(static.read_bytes(), KINDS[static.suffix], {"Cache-Control": "no-cache"})
        elif path == "/api/about":
            self._json(self.server.about)
        elif path == "/api/video":
            self._json(self._job(query).says())
        elif path == "/api/preview":
            self._send(self._job(query).preview, KINDS[".jpg"])
        elif path.startswith("/files/") and path.count("/") == 3:
            self._file(*path.split("/")[2:])
        else:
            raise RefusedError(404, "there is no such page; lgnet's is at /")

    def _post(self, path: str, query: dict[str, str]) -> None:
        if path not in BODIES:
            raise RefusedError(404, "there is no such page; lgnet's is at /")
        length, desk, name = self._length(BODIES[path]), self.server.desk, query.get("name", "")[:200]
        if path == "/api/video":
            self._video(length, name, query.get("smooth", "live"))
        elif path == "/api/stop":
            job = self._job(query)
            film.stop(job)
            self._json(job.says())
        elif path == "/api/picture":
            self._check_room(length)
            self._json(picture.reconstruct(desk, self._body(length), name or "picture"))
        else:
            session = query.get("session", "")
            if not re.fullmatch(r"[\w-]{1,40}", session):
                raise RefusedError(400, "a camera's frames need a session's name")
            self._check_room(length)
            self._json(live.see(desk, session, self._body(length)))

    def _check_room(self, length: int) -> None:
        """Before a picture is kept and decoded; what is sent is passed over, as an answer before its end may not arrive."""
        try:
            self.server.desk.turns.check_room()
        except BusyError:
            while length and (piece := self.rfile.read(min(length, 1 << 16))):
                length -= len(piece)
            raise

    def _video(self, length: int, name: str, how: str) -> None:
        desk = self.server.desk
        if how not in get_args(How):
            raise RefusedError(400, f"smoothing is one of {', '.join(get_args(How))}")
        film.check_room(desk)
        kept = desk.videos.new()
        try:
            film.store(self.rfile, length, kept.folder / "upload")
            job = film.start(desk, kept, name or "video", how)  # type: ignore[arg-type]
        except BaseException:
            self.close_connection = True
            desk.videos.drop(kept)
            raise
        desk.videos.settle(kept)
        self._json(job.says())

    def _job(self, query: dict[str, str]) -> film.Job:
        kept = self.server.desk.videos.kept.get(query.get("id", ""))
        if kept is None or kept.what is None:
            raise RefusedError(404, "this video's results are gone; lgnet keeps only the newest ones")
        return kept.what

    def _length(self, most: int) -> int:
        said = self.headers.get("Content-Length", "" if most else "0")
        if not said.isascii() or not said.isdigit() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise RefusedError(411, "an upload has to say how long it is")
        if int(said) > most:
            self.close_connection = True
            raise RefusedError(
                413, f"this file has {int(said) / 1e6:.0f} MB, more than the {most / 1e6:.0f} MB taken here"
            )
        return int(said)

    def _body(self, length: int) -> bytes:
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionError
        return content

    def _file(self, id: str, name: str) -> None:
        path = self.server.desk.file(id, name)
        if path is None:
            raise RefusedError(404, "this file is gone; lgnet keeps only the newest results")
        kind = KINDS.get(path.suffix, "application/octet-stream")
        more = {"Accept-Ranges": "bytes"}
        if path.suffix not in SHOWN or "download" in self._query():
            plain = name.encode("ascii", "replace").decode().replace("?", "_")
            more["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
        size, status = path.stat().st_size, 200
        start, end = 0, size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and int(asked[1]) < size and int(asked[2] or size) >= int(asked[1]):  # a browser that winds a video
            start, end, status = int(asked[1]), min(int(asked[2] or size - 1) + 1, size), 206
            more["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        with path.open("rb") as file:
            file.seek(start)
            self._head(status, kind, max(end - start, 0), more)
            while start < end and (piece := file.read(min(1 << 18, end - start))):
                self.wfile.write(piece)
                start += len(piece)

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(json.dumps(content, allow_nan=False).encode(), KINDS[".json"], status=status)

    def _error(self, status: int, text: str) -> None:
        if self.command == "POST":
            self.close_connection = True  # what was not read of its body is not taken for another request
        self._json({"error": text}, status)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses (other methods, lines that are no HTTP), in JSON as all answers."""
        self.close_connection = True
        self._json({"error": message or explain or self.responses.get(code, ("",))[0]}, code)

    def _send(self, content: bytes, kind: str, more: dict[str, str] | None = None, status: int = 200) -> None:
        try:
            self._head(status, kind, len(content), more or {})
            if self.command != "HEAD":
                self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def _head(self, status: int, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": POLICY,
            **more,
        }
        for key, value in headers.items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


class Server(ThreadingHTTPServer):
    """The server, and what its connections share."""

    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, place: Any, desk: Desk, named: str) -> None:
        self.address_family = family
        self.allow_reuse_address = hasattr(socket, "AF_UNIX")  # on Windows it would share the port
        super().__init__(place, Handler)
        self.desk, self.named = desk, named
        package = Path(str(resources.files("lgnet")))
        folders = {"/static/": package / "app" / "static", "/examples/": package / "examples"}
        self.static = {
            start + file.name: file
            for start, folder in folders.items()
            for file in sorted(folder.glob("*"))
            if file.suffix in KINDS
        }
        self.about = {
            **picture.about(desk),
            "examples": [path for path in self.static if path.startswith("/examples/")],
            "limits": {"picture": picture.MOST_BYTES, "video": film.MOST_BYTES, "frames": film.MOST_FRAMES},
        }

    def handle_error(self, *_: Any) -> None:
        """Connections that break are nothing to tell."""

    def server_bind(self) -> None:
        """As the library's, but without asking the network for this machine's name."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page."""
        host = str(self.server_address[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    @property
    def open_to_all(self) -> bool:
        """Can others than this machine reach it?"""
        return not ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback


@contextmanager
def open_server(desk: Desk, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """Listen at an address, port 0 taking a free one; to be run by `serve_forever`. Closes the desk at the end.

    Raises:
        ValueError: there is no such host, or the port cannot be had.
    """
    try:
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, OverflowError) as error:
            raise ValueError(f"--host {host}: there is no such host") from error
        try:
            server = Server(family, place, desk, host)
        except (OSError, OverflowError) as error:
            text = getattr(error, "strerror", None) or error
            raise ValueError(f"port {port} of {host} cannot be had ({text}); name another one by --port") from error
        with server:
            yield server
    finally:
        desk.close()
