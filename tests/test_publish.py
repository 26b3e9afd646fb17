"""Packets on their way: datagrams, WebSocket readers that come late, are slow or go, and addresses that are wrong."""

import base64
import socket
import struct
import sys
import threading

import pytest

from lgnet import publish
from lgnet.publish import open_publisher, parse_address

LOCAL = "127.0.0.1"


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOCAL, 0))
        sock.settimeout(5)
        yield sock


def port(sock: socket.socket) -> int:
    return sock.getsockname()[1]


def test_datagrams_arrive_and_nobody_need_listen(receiver):
    with open_publisher(f"udp://{LOCAL}:{port(receiver)}", text=True) as publisher:
        for content in (b"one", b"two"):
            publisher.send(content)
        assert [receiver.recv(100), receiver.recv(100)] == [b"one", b"two"]
        receiver.close()
        for _ in range(50):
            publisher.send(b"x" * 4000)
        assert not publisher.open_to_all


def test_a_datagram_that_cannot_go_is_dropped_and_counted(receiver):
    with open_publisher(f"udp://{LOCAL}:{port(receiver)}", text=True) as publisher:
        publisher.send(b"x" * 100_000)
        publisher.send(b"next")
        assert receiver.recv(100) == b"next" and publisher.dropped() == 1


def test_readers_may_join_any_time_and_get_text_or_bytes():
    connect = pytest.importorskip("websockets.sync.client").connect
    for text in (True, False):
        with open_publisher(f"ws://{LOCAL}:0", text) as publisher:
            assert publisher.address != f"ws://{LOCAL}:0" and not publisher.open_to_all
            publisher.send(b"before")
            with connect(publisher.address) as first:
                publisher.send(b"one")
                assert first.recv(5) == ("one" if text else b"one")
                with connect(publisher.address) as second:
                    publisher.send(b"two")
                    assert first.recv(5) == second.recv(5) == ("two" if text else b"two")
                first.send("what readers say is nothing to the server")
                publisher.send(b"three")
                assert first.recv(5) == ("three" if text else b"three")
            assert publisher.dropped() == 0


def raw_reader(place: int) -> socket.socket:
    """A WebSocket reader whose system keeps little for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(10)
    sock.connect((LOCAL, place))
    key = base64.b64encode(b"0" * 16).decode()
    sock.sendall(
        f"GET / HTTP/1.1\r\nHost: {LOCAL}:{place}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert b" 101 " in head.split(b"\r\n")[0]
    return sock


def take(sock: socket.socket, count: int) -> bytes:
    out = bytearray()
    while len(out) < count:
        out += sock.recv(min(65536, count - len(out)))
    return bytes(out)


def message(sock: socket.socket) -> bytes:
    first, length = take(sock, 2)
    assert first == 0x82  # whole, binary
    if length == 126:
        length = struct.unpack(">H", take(sock, 2))[0]
    elif length == 127:
        length = struct.unpack(">Q", take(sock, 8))[0]
    return take(sock, length)


def test_a_slow_reader_misses_packets_and_holds_nobody_up():
    connect = pytest.importorskip("websockets.sync.client").connect
    with open_publisher(f"ws://{LOCAL}:0", text=False) as publisher:
        slow = raw_reader(int(publisher.address.rpartition(":")[2]))
        with slow, connect(publisher.address, max_size=None) as quick:
            publisher.send(struct.pack("<I", 0))
            assert message(slow) == quick.recv(5) == struct.pack("<I", 0)
            count = 80
            for number in range(1, count + 1):  # 16 MB, of which the slow one reads nothing
                publisher.send(struct.pack("<I", number) + bytes(200_000))
                assert struct.unpack("<I", quick.recv(5)[:4])[0] == number
            numbers = []
            while not numbers or numbers[-1] < count:  # it reads on: old ones that were under way, then the newest
                numbers.append(struct.unpack("<I", message(slow)[:4])[0])
            assert numbers == sorted(set(numbers)) and len(numbers) < count / 2
            assert publisher.dropped() == count - len(numbers)


def test_pages_of_other_sites_may_not_read():
    websockets = pytest.importorskip("websockets")
    connect = pytest.importorskip("websockets.sync.client").connect
    with open_publisher(f"ws://{LOCAL}:0", text=True) as publisher:
        for origin in ("https://example.org", "null", "http://localhost.example.org", "http://127.0.0.1.example.org"):
            refused = pytest.raises(websockets.exceptions.InvalidStatus, match="403")
            with refused, connect(publisher.address, origin=origin):
                pass
        for origin in ("http://localhost:8000", "http://127.0.0.1", "https://[::1]:1", None):
            with connect(publisher.address, origin=origin):
                pass
    for origins, other in (
        (("https://example.org",), "https://example.org"),
        (("HTTPS://Example.org:8443/",), "https://example.org:8443"),
        (("https://example.org:443",), "https://example.org"),
        (("null",), "null"),
        (("*",), "http://a.b"),
    ):
        with (
            open_publisher(f"ws://{LOCAL}:0", text=True, origins=origins) as publisher,
            connect(publisher.address, origin=other),
        ):
            pass


@pytest.mark.parametrize(
    "origin", ["example.org", "foo", "https://", "https://a.b/c", "https://a.b:99999", "https://u@a.b"]
)
def test_what_is_no_origin_is_told(origin):
    with (
        pytest.raises(ValueError, match="--origins takes https://HOST"),
        open_publisher(f"ws://{LOCAL}:0", True, (origin,)),
    ):
        pass


def test_the_port_is_free_again_and_the_thread_gone():
    pytest.importorskip("websockets")
    before = set(threading.enumerate())
    with open_publisher(f"ws://{LOCAL}:0", text=True) as publisher:
        used = publisher.address
        (thread,) = set(threading.enumerate()) - before  # those of other tests may end meanwhile
        with pytest.raises(ValueError, match=r"this port cannot be had \(Address already in use\); name another"):
            open_publisher(used, text=True).__enter__()
    assert not thread.is_alive()
    with open_publisher(used, text=True):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:1", "packets go to udp://HOST:PORT or ws://HOST:PORT"),
        ("127.0.0.1:9876", "packets go to"),
        ("wss://127.0.0.1:1", "packets go to"),
        ("udp://", "packets go to"),
        ("ws://127.0.0.1:1/hands", "packets go to"),
        ("udp://127.0.0.1:99999", "a port is a number"),
        ("udp://127.0.0.1:x", "a port is a number"),
        ("udp://127.0.0.1:0", "name the port that the receiver listens to"),
        ("udp://no.such.host.invalid:1", "there is no host"),
    ],
)
def test_wrong_addresses_are_one_sentence(address, said):
    with pytest.raises(ValueError, match=said):
        open_publisher(address, text=True).__enter__()


def test_ports_that_are_not_named():
    assert parse_address("udp://localhost") == ("udp", "localhost", 9876)
    assert parse_address("ws://[::1]/") == ("ws", "::1", 8765)


def test_localhost_is_127_0_0_1_where_both_are_meant(monkeypatch):
    """Receivers mostly listen there alone; any other host's first address is taken."""
    both = [
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", 9876, 0, 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 9876)),
    ]
    monkeypatch.setattr(publish.socket, "getaddrinfo", lambda *_, **__: list(both))
    chosen = [publish._resolved("udp://x", host, 9876, socket.SOCK_DGRAM) for host in ("localhost", "hands.local")]
    assert chosen == [(socket.AF_INET, ("127.0.0.1", 9876)), (socket.AF_INET6, ("::1", 9876, 0, 0))]


def test_without_the_extra_websocket_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets", None)
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    with pytest.raises(ValueError, match=r"pip install 'lgnet\[stream\]'"):
        open_publisher(f"ws://{LOCAL}:0", text=True).__enter__()


def test_the_address_of_an_ipv6_host_can_be_read_back():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with open_publisher("udp://[::1]:9876", text=True) as publisher:
        assert parse_address(publisher.address) == parse_address("udp://[::1]:9876")
