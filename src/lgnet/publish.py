"""Where packets go: UDP datagrams to an address, or a WebSocket server that anyone may join at any time.

Sending never waits. A datagram that the system has no room for is dropped, and so is one that nobody waits for. The
WebSocket server runs in a thread of its own and keeps for each reader only the newest packet: a reader that is slow
misses those between, and holds up neither the camera nor the other readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PORTS = {"udp": 9876, "ws": 8765}
"""Where the address names none."""
LOCAL_PAGES = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
"""Web pages that may read a WebSocket unless others are named: those served by this machine. Without this rule, any page
that is open in a browser here could."""
SEND_BUFFER = 65_536
"""Bytes that the system may hold back for a reader of a WebSocket: what it reads late, at most."""


@dataclass(frozen=True)
class Publisher:
    """One open address."""

    address: str  # with the port that is used
    send: Callable[[bytes], None]  # never waits
    dropped: Callable[[], int]  # packets that were not sent to some reader
    open_to_all: bool  # others than this machine can reach it (WebSocket only)


@contextmanager
def open_publisher(address: str, text: bool, origins: Sequence[str] = ()) -> Iterator[Publisher]:
    """Packets sent to `udp://HOST:PORT`, or served at `ws://HOST:PORT` (port 0: one that is free), until the `with` ends.

    Args:
        address: as above; without a port the one of `PORTS`.
        text: packets are text (JSON), which WebSocket marks as such.
        origins: web pages besides `LOCAL_PAGES` that may read a WebSocket: their origins, "null" for a page opened as a
            file, "*" for all.

    Raises:
        ValueError: the address is none of these or cannot be used, or the package `websockets` is missing.
    """
    scheme, host, port = parse_address(address)
    if scheme == "udp":
        with _udp(address, host, port) as publisher:
            yield publisher
    else:
        with _websocket(address, host, port, text, [parse_origin(origin) for origin in origins]) as publisher:
            yield publisher


def parse_origin(text: str) -> str:
    """An origin as browsers send it.

    Raises:
        ValueError: it is neither `https://HOST[:PORT]` (or http, or another scheme) nor "null" nor "*".
    """
    if text in ("null", "*"):
        return text
    try:
        parts = urlsplit(text)
        good = bool(parts.scheme and parts.hostname and parts.path in ("", "/")) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"--origins takes https://HOST or https://HOST:PORT, null or *, not {text!r}")
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")  # not sent
    return f"{parts.scheme}://{parts.netloc}".lower().removesuffix(usual)


def parse_address(address: str) -> tuple[str, str, int]:
    """Scheme, host and port.

    Raises:
        ValueError: it is neither `udp://HOST[:PORT]` nor `ws://HOST[:PORT]`.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"{address} is no address: a port is a number from 0 to 65535") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"packets go to udp://HOST:PORT or ws://HOST:PORT, not {address!r}")
    if parts.scheme == "udp" and port == 0:
        raise ValueError(f"{address}: name the port that the receiver listens to, from 1 to 65535")
    return parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port


def _resolved(address: str, host: str, port: int, kind: socket.SocketKind) -> tuple[Any, Any]:
    """Family and socket address."""
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise ValueError(f"{address}: there is no host {host!r} ({error.strerror or error})") from error
    if host == "localhost":  # where both are meant receivers mostly listen to 127.0.0.1
        found.sort(key=lambda one: one[0] != socket.AF_INET)
    family, _, _, _, place = found[0]
    return family, place


@contextmanager
def _udp(address: str, host: str, port: int) -> Iterator[Publisher]:
    family, place = _resolved(address, host, port, socket.SOCK_DGRAM)
    lost = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)

        def send(content: bytes) -> None:
            nonlocal lost
            try:
                sender.sendto(content, place)
            except ConnectionRefusedError:  # of an earlier one: nobody listens yet
                pass
            except OSError:  # no room, or no way there just now
                lost += 1

        shown = f"[{host}]" if ":" in host else host
        yield Publisher(f"udp://{shown}:{port}", send, lambda: lost, False)


@dataclass
class _Readers:
    """What the server's own thread alone reads and writes."""

    content: bytes | str = b""
    waiting: set[asyncio.Event] = field(default_factory=set)
    dropped: int = 0

    def put(self, content: bytes | str) -> None:
        self.content = content
        for event in self.waiting:
            self.dropped += event.is_set()  # the packet before was not taken yet
            event.set()


@contextmanager
def _websocket(address: str, host: str, port: int, text: bool, origins: Sequence[str]) -> Iterator[Publisher]:
    serve = _serve_function()
    listener = _listen(address, host, port)
    loop, readers, ready = asyncio.new_event_loop(), _Readers(), threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        allowed = None if "*" in origins else [None, LOCAL_PAGES, *origins]
        async with serve(
            lambda reader: _serve_reader(reader, readers),
            sock=listener,
            origins=allowed,
            compression=None,
            close_timeout=1,
            max_size=4096,
            write_limit=SEND_BUFFER,
            logger=_silent(),
        ):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    if not ready.wait(timeout=10):
        listener.close()
        raise ValueError(f"{address}: the server did not start; is the package websockets older than 15?")

    def send(content: bytes) -> None:
        loop.call_soon_threadsafe(readers.put, content.decode() if text else content)

    async def count() -> int:
        return readers.dropped

    def dropped() -> int:
        """Asked in the server's thread, after all that was put before: else the last ones would not be in it."""
        return asyncio.run_coroutine_threadsafe(count(), loop).result(timeout=5)

    name, used = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    local = name.startswith("127.") or name == "::1"
    try:
        yield Publisher(f"ws://{shown}:{used}", send, dropped, not local)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)
        if not thread.is_alive():
            loop.close()


async def _serve_reader(reader: Any, readers: _Readers) -> None:
    """Send the newest packet whenever there is one that this reader has not had, until it goes."""
    from websockets.exceptions import ConnectionClosed

    event = asyncio.Event()
    readers.waiting.add(event)
    listening = asyncio.ensure_future(_forget(reader))  # what a reader says is nothing to us; it ends with the reader
    listening.add_done_callback(lambda _: event.set())
    try:
        while True:
            await event.wait()
            event.clear()
            if listening.done():
                return
            await reader.send(readers.content)
    except ConnectionClosed:
        pass
    finally:
        readers.waiting.discard(event)
        listening.cancel()


async def _forget(reader: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        async for _ in reader:
            pass


def _serve_function() -> Callable[..., Any]:
    try:
        from websockets.asyncio.server import serve
    except ImportError as error:
        raise ValueError("ws:// needs the package websockets; install it with: pip install 'lgnet[stream]'") from error
    return serve


def _listen(address: str, host: str, port: int) -> socket.socket:
    family, place = _resolved(address, host, port, socket.SOCK_STREAM)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_REUSEADDR") and hasattr(socket, "AF_UNIX"):  # on Windows it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # its connections have it too
        listener.bind(place)
        listener.listen()
    except OSError as error:
        listener.close()
        raise ValueError(
            f"{address}: this port cannot be had ({error.strerror or error}); name another one, as ws://{host}:8766"
        ) from error
    return listener


def _silent() -> logging.Logger:
    """The server's own log is not the user's: a browser that goes away is nothing to tell."""
    logger = logging.getLogger("lgnet.websocket")
    logger.propagate, logger.disabled = False, True
    return logger
