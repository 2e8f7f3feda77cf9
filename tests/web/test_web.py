"""The pages of `nimactl web`: who gets in, what hostile texts become, forgetting, limits."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.errors import NamespaceDenied
from nimad.web import address, server
from nimad.web.guard import Guard, make_key
from nimad.web.html import tag
from nimad.web.routes import ROUTES, Route
from tests.fake_daemon import FakeDaemon
from tests.process import DaemonProcess
from tests.system.tools import NIMACTL
from tests.threads import PATIENCE
from tests.web.browser import KEY, Markup, Pages

EVIL = '</textarea><script>alert("1")</script><img src=x onerror=alert(2)>"\'><b onclick=x>&lt;\x07'
ALLOWED = (
    "html head meta base title link body a header nav form input button main h1 h2 h3 section div"
    " p span b i bdi time article ul li dl dt dd svg rect line circle text path g defs marker"
    " summary details label select option table thead tbody tr th td code pre"
)
"""Elements of our pages; none of them runs or loads anything."""
FORBIDDEN = re.compile(r"on\w+|style|src|srcdoc|formaction|http-equiv")
"""Attributes that no page has."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    made = DaemonProcess(tmp_path_factory.mktemp("web"), fork=True).start()
    turn = {"session": "s", "turn": EVIL, "input": "Is it mended?", "output": "Yes, on Monday."}
    made.call("capture", turns=[turn])
    fields = dict.fromkeys(("who", "where", "namespace", "agent", "summary", "affect"), EVIL)
    made.call("remember", text=EVIL, tags=[EVIL], origin="untrusted", extra={EVIL: EVIL}, **fields)
    yield made
    made.finish()


@pytest.fixture(scope="module")
def pages(daemon: DaemonProcess) -> Iterator[Pages]:
    made = Pages(daemon.socket)
    yield made
    made.close()


def address_of(route: Route) -> str:
    return route.path.replace("{id}", "3").replace("{name}", "graph")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} /{route.path}")
def test_nobody_else_gets_in(pages: Pages, daemon: DaemonProcess, route: Route) -> None:
    """Each address, and each way to be someone else: refused, before anything is done or told."""
    foreign = {"Origin": "http://evil.example"}
    wrongs: list[tuple[int, dict[str, str | None], dict[str, Any]]] = [
        (401, {"Cookie": None}, {}),
        (401, {"Cookie": "nimad=" + "0" * 64}, {}),
        (401, {"Cookie": f"other={pages.guard.cookie}"}, {}),
        (421, {"Host": None}, {}),
        (421, {"Host": f"evil.example:{pages.port}"}, {}),
        (421, {"Host": f"127.0.0.1.evil.example:{pages.port}"}, {}),
        (421, {"Host": f"127.0.0.1:{pages.port}@evil.example"}, {}),
        (403, {**foreign}, {}),
        (403, {"Origin": "null"}, {}),
        (403, {"Origin": f"https://{pages.host}"}, {}),
        (403, {"Origin": f"http://127.0.0.1:{pages.port + 1}"}, {}),
        (403, {"Sec-Fetch-Site": "cross-site"}, {}),
        (403, {"Sec-Fetch-Site": "same-site"}, {}),
    ]
    if route.method == "POST":
        wrongs += [
            (403, {"Origin": None}, {}),
            (403, {}, {"seal": "0" * 64}),
            (403, {}, {"seal": ""}),
        ]
    before = daemon.call("status")["memories"]
    for status, headers, form in wrongs:
        sent = {"id": 3, **form} if route.method == "POST" else None
        response, text = pages.ask(route.method, address_of(route), headers, sent)
        assert response.status == status, (headers, form)
        assert response.headers["Set-Cookie"] is None
        assert len(text) < 200 and "seal" not in text
        check_headers(response.headers)
    response, _ = pages.ask(route.method, f"/{address_of(route)}", whole=True, form={})
    assert response.status == 401  # beside the prefix
    other = "GET" if route.method == "POST" else "POST"
    if not any(r.method == other and r.matches(address_of(route)) is not None for r in ROUTES):
        assert pages.ask(other, address_of(route), form={})[0].status == 405
    assert daemon.call("status")["memories"] == before


def check_headers(headers: Any) -> None:
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert (headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("DENY", "same-origin")
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_the_key_opens_once_and_is_gone_from_the_address(pages: Pages) -> None:
    for wrong in ("/", "/?key=", f"/?key={KEY}x", f"/?key={KEY[1:]}", f"/x?key={KEY}"):
        assert pages.ask("GET", wrong, {"Cookie": None}, whole=True)[0].status == 401
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused, _ = pages.ask("GET", f"/?key={KEY}", headers, whole=True)
        assert refused.status in (403, 421) and refused.headers["Set-Cookie"] is None
    response, _ = pages.ask("GET", f"/?key={KEY}", {"Cookie": None, "Origin": None}, whole=True)
    assert (response.status, response.headers["Location"]) == (303, pages.guard.prefix)
    cookie = response.headers["Set-Cookie"]
    wanted = f"nimad={pages.guard.cookie}; Path={pages.guard.prefix}; HttpOnly; SameSite=Strict"
    assert cookie == wanted
    assert KEY not in cookie
    for host in (f"localhost:{pages.port}", "[::1]:8080", "127.0.0.1"):  # the end of a tunnel
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert pages.ask("GET", "", headers)[0].status == 200


def test_each_key_has_its_own_cookie_prefix_and_seal() -> None:
    guards = [Guard(make_key()) for _ in range(3)]
    values = [value for g in guards for value in (g.cookie, g.prefix, g.seal)]
    assert len(set(values)) == 9


PAGES = [
    *("", "search", "search?q=mended", "search?q=mended&all=1&who=nobody", "sources", "checks"),
    *("memory/1", "memory/3", "forget?id=3&id=1&id=99", "checks?run=doctor", "checks?run=audit"),
    *("search?q=alert", "feed", "feed?below=3", "feed?namespace=nowhere", "feed?follow=1"),
    *("timeline", "timeline?at=2026", "timeline?at=2024-02", "timeline?at=2024-02-29"),
]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_nothing_that_runs(pages: Pages, path: str) -> None:
    response, text = pages.ask("GET", path)
    assert response.status == 200, text
    check_headers(response.headers)
    page = Markup(text)
    assert page.elements - set(ALLOWED.split()) == set()
    assert [name for name in page.attributes if FORBIDDEN.fullmatch(name)] == []
    for link in page.links:
        assert re.match(r"(/[0-9a-f]{24}/|[\w.])", link) and ":" not in link.partition("?")[0], link
    if path in ("memory/3", "search?q=alert"):
        assert EVIL.replace("\x07", "\ufffd") in page.text


@given(st.text(), st.text())
def test_a_text_stays_a_text(child: str, value: str) -> None:
    page = Markup(tag("p", child, title=value, hidden=True))
    assert (page.elements, page.attributes) == ({"p"}, {"title", "hidden"})
    shown = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", child)
    assert page.text == shown


def test_a_search_tells_its_reasons(pages: Pages) -> None:
    page = pages.page("search?q=what+was+mended")
    assert "Is it mended?" in page.text
    for reason in ("words", "meaning", "importance", "Is there an answer?"):
        assert reason in page.text
    none = pages.page("search?q=quantum+chromodynamics")
    assert "Nothing here answers that" in none.text
    assert any("all=1" in link for link in none.links)
    assert pages.ask("GET", "search?q=x&after=no-date")[0].status == 400


def test_a_memory_is_shown_with_what_is_around_it(pages: Pages) -> None:
    page = pages.page("memory/1")
    for part in ("What stood around it", "Relations", "Near in meaning", "Around it"):
        assert part in page.text
    assert "memory/2" in page.links and "responded_to" in page.text
    assert pages.ask("GET", "memory/4711")[0].status == 404
    assert pages.ask("GET", "memory/99999999999999999999")[0].status == 404


def test_the_feed_goes_from_new_to_old(pages: Pages, daemon: DaemonProcess) -> None:
    for n in range(35):
        daemon.call("remember", text=f"The rain gauge shows {n} mm.", namespace="rain")
    response, text = pages.ask("GET", "feed?namespace=rain")
    assert response.headers["Refresh"] is None
    shown = [int(n) for n in re.findall(r"gauge shows (\d+) mm", text)]
    assert shown == list(range(34, 4, -1))
    (older,) = (link for link in Markup(text).links if "below=" in link)
    rest = pages.page(older).text
    assert [int(n) for n in re.findall(r"gauge shows (\d+) mm", rest)] == [4, 3, 2, 1, 0]
    assert pages.ask("GET", "feed?follow=1")[0].headers["Refresh"] == "3"


def test_the_timeline_leads_down_to_a_day(pages: Pages, daemon: DaemonProcess) -> None:
    moments = ("0999-01-01", "2019-05-03T12:00", "2019-05-03T09:00", "2019-07-01", "8000-01-01")
    for moment in moments:
        daemon.call("remember", text=f"It was {moment}.", timestamp=moment)
    assert "0999 to" in pages.page("timeline").text  # no address for a century
    assert "timeline?at=2019-05" in pages.page("timeline?at=2019").links
    assert "timeline?at=2019-05-03" in pages.page("timeline?at=2019-05").links
    day = pages.page("timeline?at=2019-05-03").text
    assert day.index("T09:00") < day.index("T12:00")
    assert "2019-07-01" not in day
    assert "No memory is of that time." in pages.page("timeline?at=2018-01-01").text
    for wrong in ("x", "2019-13", "2019-02-30", "20190", "yesterday", "9999999"):
        assert pages.ask("GET", f"timeline?at={wrong}")[0].status == 400


def test_forgetting_asks_does_and_gives_a_receipt(
    pages: Pages, daemon: DaemonProcess, tmp_path: Path
) -> None:
    number = daemon.call("remember", text="The spare key is under the pot.")["id"]
    asked = pages.page(f"forget?id={number}&id=777")
    assert "The spare key" in asked.text and "1 memory did not exist." in asked.text
    assert daemon.call("get", id=number)
    command = [*NIMACTL, "--socket", str(daemon.socket), "backup", str(tmp_path / "all.nimad")]
    subprocess.run(command, check=True, capture_output=True)
    response, text = pages.ask("POST", "forget", form={"id": [number], "purge": "1"})
    assert response.status == 200
    assert "1 memory forgotten." in text and "No trace of it" in text
    assert "all.nimad" in text and "may still hold it" in text
    assert "is not nimad" not in text
    number = daemon.call("remember", text="The spare key is under the mat.")["id"]
    (daemon.state / "snapshots" / "a<b>.bak").write_text("The spare key")
    _, text = pages.ask("POST", "forget", form={"id": [number], "purge": "1"})
    assert "a&lt;b&gt;.bak" in text and "is not nimad" in text
    (daemon.state / "snapshots" / "a<b>.bak").unlink()
    assert f"/{number}" not in str(daemon.call("export")["memories"])
    assert pages.ask("GET", f"memory/{number}")[0].status == 404
    for wrong in ("forget", "forget?id=x", "forget?id=0", "forget?id=1&id=-1"):
        assert pages.ask("GET", wrong)[0].status == 400


def test_the_theme_is_kept_and_leads_back_to_us_only(pages: Pages) -> None:
    for back in ("memory/1", "//evil.example", "https://evil.example", "a\r\nSet-Cookie: a=b"):
        response, _ = pages.ask("POST", "theme", form={"theme": "dark", "back": back})
        assert response.headers["Location"].startswith(pages.guard.prefix)
        assert response.headers.get_all("Set-Cookie")[0].startswith("theme=dark; Path=/")
        assert len(response.headers.get_all("Set-Cookie")) == 1
    headers = {"Cookie": f"{pages.usual['Cookie']}; theme=dark"}
    assert 'data-theme="dark"' in pages.ask("GET", "", headers)[1]
    headers = {"Cookie": f'{pages.usual["Cookie"]}; theme="><script>'}
    assert 'data-theme="auto"' in pages.ask("GET", "", headers)[1]


def test_a_bug_is_told_without_what_a_memory_says(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise KeyError("the spare key is under the pot")

    monkeypatch.setattr("nimad.web.routes.frame", fail)
    response, text = pages.ask("GET", "memory/1")
    assert response.status == 500 and "bug" in text
    check_headers(response.headers)
    assert "KeyError" in caplog.text and "spare key" not in text + caplog.text


def test_a_daemon_that_is_away_is_told(tmp_path: Path) -> None:
    away = Pages(tmp_path / "nowhere.sock")
    for path in ("", "search?q=x", "memory/1", "sources", "forget?id=1"):
        response, text = away.ask("GET", path)
        assert (response.status, "nimad is away" in text) == (503, True)
        assert "systemctl start nimad" in text
    away.close()


def test_a_user_who_is_bound_sees_what_may_be_seen(tmp_path: Path) -> None:
    status = {"version": "1", "pid": 1, "socket": "s", "uptime_seconds": 5.0, "memories": 2}
    status |= {"turns": 1, "relations": 0, "namespaces": {"anna": 2}, "degraded": {}, "bound": True}

    def deny(params: dict[str, Any]) -> None:
        raise NamespaceDenied(uid=7, verb="ask migrate.status", detail="it is bound")

    place = tmp_path / "nimad.sock"
    none = {"first": None, "last": None, "dated": 0, "undated": 2, "counts": []}
    with FakeDaemon(place, status=status, timeline=none, **{"migrate.status": deny}):
        bound = Pages(place)
        shown = bound.page("").text
        assert "anna" in shown and "Disk" not in shown
        response, text = bound.ask("GET", "sources")
        assert response.status == 403 and "access.namespaces" in text
        bound.close()


def test_days_are_shown_as_charts(pages: Pages, daemon: DaemonProcess, tmp_path: Path) -> None:
    day = {"bytes": 9, "queries": 3, "slow_ms": None, "memories": 5, "median_ms": 1.25}
    none = {**day, "day": "2026-02-02", "memories": 7, "median_ms": None}
    status = {**daemon.call("status"), "history": [{**day, "day": "2026-02-01"}, none]}
    answers = {name: daemon.call(name) for name in ("timeline", "metrics")}
    answers["timeline"] |= {"counts": [1] * 100, "first": None}
    place = tmp_path / "nimad.sock"
    with FakeDaemon(place, status=status, **answers):
        shown = Pages(place)
        text = shown.page("").text
        assert "2026-02-02: 7" in text and "2026-02-01: 1.2" in text and "in ms, up to 1.2" in text
        shown.close()


# --- limits ---------------------------------------------------------------------------------------


def talk(pages: Pages, sent: bytes, wait: float = 10) -> bytes:
    """What comes back for some bytes, until the other side is done."""
    with socket.create_connection(("127.0.0.1", pages.port), wait) as browser:
        browser.sendall(sent)
        received = b""
        while more := browser.recv(1 << 16):
            received += more
    return received


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: localhost", 414),
        (f"GET /{'x' * 70000} HTTP/1.1\r\nHost: localhost", 414),
        ("GET http://[ HTTP/1.1\r\nHost: localhost", 400),
        (f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 70000}", 431),
        ("GET / HTTP/1.1\r\nHost: localhost" + "\r\nX: y" * 200, 431),
        ("GET / HTTP/9.9\r\nHost: localhost", 505),
        ("GET", 400),
        ("BREW / HTTP/1.1\r\nHost: localhost", 501),
        ("PUT / HTTP/1.1\r\nHost: localhost", 501),
        ("OPTIONS / HTTP/1.1\r\nHost: localhost", 501),
        ("TRACE / HTTP/1.1\r\nHost: localhost", 501),
        (f"GET /?{'a=b&' * 2010} HTTP/1.1\r\nHost: localhost", 400),
    ],
)
def test_what_is_no_request_is_refused(pages: Pages, head: str, status: int) -> None:
    received = talk(pages, f"{head}\r\n\r\n".encode())
    assert received.startswith(f"HTTP/1.0 {status} ".encode())
    assert b"no-store" in received


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Length": "70000"}, b"", 413),
        ({"Content-Length": "9" * 5000}, b"", 413),
        ({}, b"", 411),
        ({"Content-Length": "-1"}, b"", 411),
        ({"Content-Length": "1", "Transfer-Encoding": "chunked"}, b"", 411),
        ({"Content-Length": "2", "Content-Type": "application/json"}, b"{}", 415),
    ],
)
def test_a_form_is_bounded(pages: Pages, headers: dict[str, str], body: bytes, status: int) -> None:
    lines = {**pages.usual, "Content-Type": "application/x-www-form-urlencoded", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    sent = f"POST {pages.guard.prefix}forget HTTP/1.1\r\n{head}\r\n".encode() + body
    assert talk(pages, sent).startswith(f"HTTP/1.0 {status} ".encode())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_comes_is_answered_or_hung_up_on(pages: Pages, data: st.DataObject) -> None:
    """A request with parts put in, taken out or changed: a response of ours or none, and the next
    browser is served."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in pages.usual.items())
    length = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n"
    whole = f"POST {pages.guard.prefix}forget?id=1 HTTP/1.1\r\n{lines}{length}\r\nseal=&a=b"
    sent = bytearray(whole.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sent)))
        sent[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=12))
    with socket.create_connection(("127.0.0.1", pages.port), PATIENCE) as browser:
        browser.sendall(sent)
        browser.shutdown(socket.SHUT_WR)
        received = b""
        while more := browser.recv(1 << 16):
            received += more
    assert received == b"" or re.match(rb"HTTP/1.0 [45]\d\d ", received), received[:200]
    assert b"500" not in received[:13]


def test_a_slow_browser_is_not_waited_for(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a byte now and then, for ever; and as many as there may be keep others out for
    no longer than that."""
    monkeypatch.setattr(server, "READ_SECONDS", 1.0)
    slow = [
        socket.create_connection(("127.0.0.1", pages.port), PATIENCE)
        for _ in range(server.MAX_CONNECTIONS)
    ]
    began = time.monotonic()
    for browser in slow:
        browser.sendall(b"GET / HTTP/1.1\r\nX: ")
    assert pages.ask("GET", "")[0].status == 200  # waits for one of them to be given up
    while time.monotonic() - began < 1.5:
        try:
            slow[0].sendall(b"x")
        except OSError:
            break
        time.sleep(0.05)
    with pytest.raises(OSError):  # it was hung up on
        while time.monotonic() - began < PATIENCE:
            slow[0].sendall(b"x")
            time.sleep(0.02)
    for browser in slow:
        browser.close()


def test_it_ends_when_nobody_asks(daemon: DaemonProcess) -> None:
    made = Pages(daemon.socket, idle=2.0)
    made.page("")
    made.thread.finish()


def test_the_unit_s_key_stays_while_the_machine_runs(tmp_path: Path) -> None:
    key = address.kept_key(tmp_path, 6462)
    assert address.kept_key(tmp_path, 6462) == key
    place = tmp_path / "address"
    assert place.read_text() == f"http://127.0.0.1:6462/?key={key}\n"
    assert place.stat().st_mode & 0o777 == 0o640
    place.write_text("half a li")
    assert address.kept_key(tmp_path, 6462) != key


def test_the_unit_s_address_is_found_once_it_has_started(tmp_path: Path) -> None:
    listener = address.listen(0)
    port = listener.getsockname()[1]
    address.kept_key(tmp_path, port)
    found = address.unit_address(port, tmp_path)
    assert found == (tmp_path / "address").read_text().strip()
    listener.close()
    assert address.unit_address(port, tmp_path) is None
