"""`ff serve` in a process of its own, over a real socket."""

from __future__ import annotations

import http.client
import signal
import socket
import time

import pytest
from ff import FF
from web_helpers import add_epoch, begin, serving

from ffcli.store.database import open_store

pytest.importorskip("waitress", reason="the extra ffcli[serve] is not installed")


def ask(port: int, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, str, str]:
    """Return status, entity tag and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers.get("ETag", ""), body


def test_the_page_follows_a_run_of_another_process_and_ends_on_ctrl_c(ff: FF) -> None:
    with open_store(ff.db) as store:
        mine = begin(store, 2, dataset="mnist")
        add_epoch(store, mine, 0, 10.0)
        add_epoch(store, mine, 1, 41.25)
        with serving(ff, "--port", "0") as (port, process):
            status, tag, body = ask(port)
            assert status == 200
            assert "41.25" in body
            assert "52.75" not in body
            assert ask(port, If_None_Match=tag) == (304, tag, "")
            add_epoch(store, mine, 2, 52.75)
            status, until = 304, time.monotonic() + 20
            while status == 304 and time.monotonic() < until:
                status, later, body = ask(port, If_None_Match=tag)
                time.sleep(0.05)
            assert status == 200
            assert later != tag
            assert "52.75" in body
            assert ask(port, "POST")[0] == 405
            assert ask(port, path="/etc/passwd")[0] == 404
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr is not None
            assert process.stderr.read() == "Ctrl-C ends the server\n"


def test_only_this_machine_is_answered(ff: FF) -> None:
    open_store(ff.db).close()
    with serving(ff, "--port", "0") as (port, _):
        for host in (f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
            assert ask(port, Host=host)[0] == 421
        for host in (f"localhost:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
            assert ask(port, Host=host)[0] == 200
        refused = ff("serve", "--port", str(port), code=2).stderr
        assert f"--port {port}: address already in use" in refused
        others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
        for address in others - {"127.0.0.1", "127.0.1.1"}:
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((str(address), port), timeout=2)
