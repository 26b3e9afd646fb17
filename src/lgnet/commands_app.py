"""`lgnet app`: its options, and what it says. As commands.py, it imports when it runs."""

from __future__ import annotations

import threading
import webbrowser

from .commands import TTA, Device, UsageError, Weights, Whole, complain
from .config import BUNDLED


def app(
    *,
    port: Whole = 7654,
    host: str = "127.0.0.1",
    weights: Weights = BUNDLED,
    device: Device = "auto",
    browser: bool = True,
) -> int:
    """Serve a page to this machine's browser: pictures, the camera live, videos; Ctrl-C ends it. docs/app.md says more.

    Args:
        port: where; 0 takes one that is free.
        host: the address to listen at. Others than this machine reach it only if it is not a loopback address.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
        browser: open the page.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is from 0 to 65535, not {port}")
    from . import predict
    from .app.desk import Desk
    from .app.server import open_server
    from .ending import stop_asked

    desk = Desk(predict.load(weights, device=device, tta=TTA))
    with stop_asked() as asked, open_server(desk, host, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        print(f"lgnet is at {server.address} until Ctrl-C", flush=True)
        if server.open_to_all:
            complain(f"{server.address} can be used by everyone who reaches this machine over the network")
        if browser:
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        while not asked.wait(0.5):
            pass
        server.shutdown()
    return 0
