"""`nimactl mcp` as a process: both eras of the protocol, wrong messages, and a daemon that dies."""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from nimad.ctl.agent_tools import TOOLS
from nimad.errors import Busy
from tests.fake_daemon import FakeDaemon
from tests.process import DaemonProcess
from tests.system.tools import NIMACTL, START_NIMACTL
from tests.threads import PATIENCE

META = "io.modelcontextprotocol/"
MODERN = {f"{META}protocolVersion": "2026-07-28", f"{META}clientCapabilities": {}}


class Bridge:
    """A running `nimactl mcp`; `ask` sends a request and waits for its answer."""

    def __init__(self, *options: str, **more: Any) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([*NIMACTL, "mcp", *options], **pipes, **more)
        self._id = 0

    def __enter__(self) -> Bridge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def send(self, message: Any) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def receive(self, seconds: float = PATIENCE) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        assert select.select([stdout], [], [], seconds)[0], "no answer"
        found: dict[str, Any] = json.loads(stdout.readline())
        return found

    def silent(self, seconds: float) -> bool:
        """Whether nothing is said for that long."""
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def request(self, method: str, meta: dict[str, Any] | None = None, **params: Any) -> int:
        """Send a request; returns its id."""
        self._id += 1
        given = {**params, "_meta": meta} if meta is not None else params
        self.send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": given})
        return self._id

    def ask(self, method: str, meta: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        ident = self.request(method, meta, **params)
        answer = self.receive()
        assert answer["id"] == ident
        return answer

    def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool: what it found, or {"error": text}."""
        result = self.ask("tools/call", name=name, arguments=arguments)["result"]
        if result["isError"]:
            return {"error": result["content"][0]["text"]}
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        found: dict[str, Any] = result["structuredContent"]
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon for the tests that need not know what else it remembers."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("shared"), fork=True).start()
    yield daemon
    daemon.finish()


@pytest.fixture
def make_bridge(shared: DaemonProcess) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges to the shared daemon."""
    made: list[Bridge] = []

    def make(*options: str) -> Bridge:
        made.append(Bridge("--socket", str(shared.socket), *options))
        return made[-1]

    yield make
    for bridge in made:
        bridge.__exit__(None, None, None)


# --- both eras ------------------------------------------------------------------------------------


def test_the_revision_without_sessions() -> None:
    with Bridge("--socket", "/nowhere") as bridge:
        found = bridge.ask("server/discover", MODERN)["result"]
        assert found["resultType"] == "complete"
        assert found["supportedVersions"][0] == "2026-07-28"
        assert found["capabilities"] == {"tools": {}} and found["cacheScope"] == "private"
        assert found["_meta"][f"{META}serverInfo"]["name"] == "nimad"
        listed = bridge.ask("tools/list", MODERN)["result"]
        assert listed["tools"] == TOOLS and listed["ttlMs"] > 0
        for method in ("ping", "logging/setLevel", "resources/list"):
            assert bridge.ask(method, MODERN)["error"]["code"] == -32601


def test_what_a_request_without_a_session_must_carry() -> None:
    with Bridge("--socket", "/nowhere") as bridge:
        wrong = {**MODERN, f"{META}protocolVersion": "1900-01-01"}
        error = bridge.ask("tools/list", wrong)["error"]
        assert error["code"] == -32022
        assert error["data"]["requested"] == "1900-01-01"
        assert "2026-07-28" in error["data"]["supported"]
        bare = {f"{META}protocolVersion": "2026-07-28"}
        assert bridge.ask("tools/list", bare)["error"]["code"] == -32602
        assert bridge.ask("server/discover")["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("asked", "told"),
    [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("2099-01-01", "2025-11-25")],
)
def test_the_handshake_of_older_revisions(asked: str, told: str) -> None:
    with Bridge("--socket", "/nowhere") as bridge:
        found = bridge.ask("initialize", protocolVersion=asked, capabilities={})["result"]
        assert found["protocolVersion"] == told and found["serverInfo"]["name"] == "nimad"
        assert "resultType" not in found and "Search it before" in found["instructions"]
        bridge.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert bridge.ask("ping")["result"] == {}
        assert bridge.ask("tools/list")["result"] == {"tools": TOOLS}


# --- the tools ------------------------------------------------------------------------------------


def test_other_servers_names_of_arguments(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge("--namespace", "names")
    bridge.tool("memory_store", text="Maya plays the cello")
    ident = bridge.tool("memory_store", content="Maya plays chess", when="2023-05-08")["id"]
    found = bridge.tool("memory_search", text="what does Maya play?", maxResults=1)
    assert len(found["memories"]) == 1
    got = bridge.tool("memory_get", ids=[ident])["memories"][0]
    assert got["when"].startswith("2023-05-08T00:00:00")


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("memory_search", {}, "'query' is missing"),
    ("memory_search", {"query": 7}, "query must be text"),
    ("memory_search", {"query": "x", "limit": 0}, "limit must be from 1 to 100"),
    ("memory_search", {"query": "x", "context": "yes"}, "context must be true or false"),
    ("memory_search", {"query": "x", "after": "never"}, "after"),
    ("memory_search", {"query": "", "who": ""}, "'query' is missing"),
    ("memory_get", {"ids": list(range(1, 102))}, "must have at most 100 items, and not none"),
    ("memory_get", {"ids": ["1"]}, "ids must be a whole number"),
    ("memory_get", {"ids": [2**63]}, "ids must be from 1 to"),
    ("memory_store", {"content": "x", "importance": 2}, "importance must be from 0 to 1"),
    ("memory_store", {"content": "x", "when": "never"}, "when"),
    ("memory_store", {"content": "x", "mood": "glad"}, "there is no argument 'mood'"),
]


def test_wrong_arguments_are_told_to_the_model(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge()
    for name, arguments, said in WRONG:
        assert said in bridge.tool(name, **arguments)["error"]
    for wrong in ("x", [1], 7):
        result = bridge.ask("tools/call", name="memory_status", arguments=wrong)["result"]
        assert "must be an object" in result["content"][0]["text"]
    assert bridge.ask("tools/call", name="memory_status", arguments=None)["result"]


def test_forget_is_a_dry_run_unless_told(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge()
    ident = bridge.tool("memory_store", content="Maya plays the cello")["id"]
    assert bridge.tool("memory_forget", ids=[ident])["dry_run"] is True
    assert not bridge.tool("memory_get", ids=[ident])["missing"]
    gone = bridge.tool("memory_forget", ids=[ident], dry_run=False)
    assert gone == {"forgotten": [ident], "missing": [], "dry_run": False}
    assert bridge.tool("memory_get", ids=[ident])["missing"] == [ident]


def test_a_bound_agent_sees_and_writes_one_namespace(
    make_bridge: Callable[..., Bridge], shared: DaemonProcess
) -> None:
    theirs = shared.call("remember", text="Maya plays the cello", namespace="other")["id"]
    bridge = make_bridge("--namespace", "mine", "--agent=claude")
    mine = bridge.tool("memory_store", content="Maya plays chess")["id"]
    kept = shared.call("get", id=mine)["memory"]
    assert (kept["namespace"], kept["agent"], kept["origin"]) == ("mine", "claude", "agent")
    shown = bridge.tool("memory_search", query="what does Maya play")["memories"]
    assert [one["id"] for one in shown] == [mine]
    assert bridge.tool("memory_get", ids=[theirs, mine])["missing"] == [theirs]
    assert bridge.tool("memory_related", id=theirs) == {"error": f"There is no memory {theirs}."}
    assert bridge.tool("memory_forget", ids=[theirs], dry_run=False)["missing"] == [theirs]
    assert bridge.tool("memory_status")["namespaces"] == {"mine": 1}
    said = bridge.tool("memory_search", query="cello", namespace="other")["error"]
    assert "there is no argument 'namespace'" in said
    assert shared.call("get", id=theirs)["memory"]["namespace"] == "other"


def test_the_same_question_finds_the_same(
    make_bridge: Callable[..., Bridge], shared: DaemonProcess
) -> None:
    """As nimactl does; tests/agents has the same for OpenClaw's tool and for Hermes."""
    for number in range(12):
        text = f"Maya planted {number} rows of beans in bed {number}"
        shared.call("remember", text=text, namespace="beds")
    question = "How many rows of beans did Maya plant?"
    found = make_bridge("--namespace", "beds").tool("memory_search", query=question)["memories"]
    options = ["--json", "--socket", str(shared.socket), "query", "--namespace", "beds", question]
    ran = subprocess.run([*NIMACTL, *options], capture_output=True, text=True, check=True)
    wanted = [one["id"] for one in json.loads(ran.stdout)["results"]]
    assert len(wanted) == 10 and [one["id"] for one in found] == wanted


def test_read_only_offers_no_tool_that_changes(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge("--read-only")
    names = [tool["name"] for tool in bridge.ask("tools/list")["result"]["tools"]]
    assert names == ["memory_search", "memory_get", "memory_related", "memory_status"]
    for name in ("memory_store", "memory_forget", "nothing"):
        assert bridge.ask("tools/call", name=name, arguments={})["error"]["code"] == -32602


def test_long_texts_are_cut_in_lists_and_whole_in_get(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge("--namespace", "long")
    text = "Maya plays the cello. " * 400
    ident = bridge.tool("memory_store", content=text)["id"]
    (found,) = bridge.tool("memory_search", query="Maya cello")["memories"]
    assert found["cut"] and len(found["text"]) < 4100
    assert bridge.tool("memory_get", ids=[ident])["memories"][0]["text"] == text


# --- the daemon goes and comes back ---------------------------------------------------------------


def test_without_a_daemon_a_tool_says_what_to_do(tmp_path: Path) -> None:
    with Bridge("--socket", str(tmp_path / "none")) as bridge:
        said = bridge.tool("memory_search", query="x")["error"]
        assert "No nimad answers on" in said and "no such socket. Start it" in said


def test_a_daemon_killed_and_back_in_mid_session(daemon: DaemonProcess) -> None:
    with Bridge("--socket", str(daemon.socket)) as bridge:
        assert bridge.tool("memory_store", content="Maya plays the cello") == {"id": 1}
        daemon.kill()
        assert "No nimad answers" in bridge.tool("memory_search", query="cello")["error"]
        daemon.restart()
        assert bridge.tool("memory_search", query="cello")["memories"][0]["id"] == 1


def test_a_cancelled_call_is_never_answered(tmp_path: Path) -> None:
    cancelled = threading.Event()

    def slowly(params: dict[str, Any]) -> dict[str, Any]:
        assert cancelled.wait(PATIENCE)
        return {"memories": 0, "namespaces": {}, "degraded": {}, "version": "1"}

    with (
        FakeDaemon(tmp_path / "s", status=slowly) as daemon,
        Bridge("--socket", str(daemon.path)) as bridge,
    ):
        ident = bridge.request("tools/call", name="memory_status")
        other = bridge.request("tools/call", name="memory_status")
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
        bridge.send({**cancel, "params": {"requestId": ident}})
        bridge.send({**cancel, "params": {"requestId": 99}})
        assert bridge.ask("ping")["result"] == {}, "it has read what came before"
        cancelled.set()
        assert bridge.receive()["id"] == other
        assert bridge.silent(0.3)


def test_an_id_that_was_cancelled_may_be_used_again(tmp_path: Path) -> None:
    """And is answered once, with what the second call found."""
    answered = threading.Event()

    def status(params: dict[str, Any]) -> dict[str, Any]:
        first = len(daemon.sent("status")) == 1
        assert not first or answered.wait(PATIENCE)
        return {"namespaces": {"first" if first else "second": 1}, "degraded": {}, "version": "1"}

    with (
        FakeDaemon(tmp_path / "s", status=status) as daemon,
        Bridge("--socket", str(daemon.path)) as bridge,
    ):
        asked = {"method": "tools/call", "params": {"name": "memory_status"}}
        request = {"jsonrpc": "2.0", "id": "a", **asked}
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
        bridge.send(request)
        deadline = time.monotonic() + PATIENCE
        while not daemon.sent("status") and time.monotonic() < deadline:
            time.sleep(0.01)
        bridge.send({**cancel, "params": {"requestId": "a"}})
        bridge.send(request)
        answer = bridge.receive()
        assert answer["id"] == "a"
        assert answer["result"]["structuredContent"]["namespaces"] == {"second": 1}
        answered.set()
        assert bridge.silent(0.6)


def test_a_bound_user_is_told_less_of_the_status(tmp_path: Path) -> None:
    found = {"namespaces": {"agent.main": 2}, "bound": True, "uptime_seconds": 1.0}
    with (
        FakeDaemon(tmp_path / "s", status=found) as daemon,
        Bridge("--socket", str(daemon.path)) as bridge,
    ):
        told = bridge.tool("memory_status")
        assert told == {"memories": 2, "namespaces": {"agent.main": 2}, "degraded": {}}


def test_a_busy_daemon_is_asked_again(tmp_path: Path) -> None:
    left = [Busy(detail="too many callers"), Busy(detail="too many callers")]

    def status(params: dict[str, Any]) -> dict[str, Any]:
        if left:
            raise left.pop()
        return {"namespaces": {}, "degraded": {}, "version": "1"}

    with (
        FakeDaemon(tmp_path / "s", status=status) as daemon,
        Bridge("--socket", str(daemon.path)) as bridge,
    ):
        assert bridge.tool("memory_status")["memories"] == 0
        assert len(daemon.sent("status")) == 3


# --- the process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [0, 3])
def test_it_leaves_when_its_input_ends(tmp_path: Path, calls: int) -> None:
    """Also while calls wait for a daemon that hangs: for ever, here."""
    with (
        FakeDaemon(tmp_path / "s", status=FakeDaemon.HANG) as daemon,
        Bridge("--socket", str(daemon.path)) as bridge,
    ):
        bridge.ask("ping")
        for _ in range(calls):
            bridge.request("tools/call", name="memory_status")
        assert bridge.process.stdin is not None
        bridge.process.stdin.close()
        began = time.monotonic()
        assert bridge.process.wait(PATIENCE) == 0
        assert time.monotonic() - began < 20


def test_calls_under_way_are_answered_when_the_input_ends(
    make_bridge: Callable[..., Bridge],
) -> None:
    bridge = make_bridge()
    bridge.tool("memory_status")  # everything is loaded now
    ident = bridge.request("tools/call", name="memory_status")
    assert bridge.process.stdin is not None
    bridge.process.stdin.close()
    assert bridge.receive()["id"] == ident


def test_a_client_that_reads_no_more_ends_it() -> None:
    with Bridge("--socket", "/nowhere") as bridge:
        bridge.ask("ping")
        assert bridge.process.stdout is not None
        bridge.process.stdout.close()
        bridge.request("ping")
        assert bridge.process.wait(PATIENCE) == 0
        assert bridge.process.stderr is not None
        assert b"Traceback" not in bridge.process.stderr.read()


def test_ctrl_c_ends_it_quietly() -> None:
    with Bridge("--socket", "/nowhere") as bridge:
        bridge.ask("ping")
        bridge.process.send_signal(signal.SIGINT)
        assert bridge.process.wait(PATIENCE) == 130
        assert bridge.process.stderr is not None and not bridge.process.stderr.read()


def test_empty_environment(make_daemon: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    """Clients pass on HOME and PATH, but neither NIMAD_SOCKET nor XDG_RUNTIME_DIR."""
    if Path("/run/nimad/nimad.sock").exists():
        pytest.skip("a nimad of the system runs here, and is found first")
    state = tmp_path / ".local" / "state" / "nimad"
    state.mkdir(parents=True)
    daemon = make_daemon()
    daemon.socket = state / "nimad.sock"
    daemon.start()
    daemon.call("remember", text="Maya plays the cello")
    bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with Bridge(env=bare) as bridge:
        assert bridge.tool("memory_search", query="cello")["memories"][0]["id"] == 1


def test_help_and_wrong_options_are_those_of_every_command() -> None:
    ran = subprocess.run([*NIMACTL, "mcp", "--help"], capture_output=True, text=True)
    assert ran.returncode == 0 and "--read-only" in ran.stdout
    ran = subprocess.run([*NIMACTL, "mcp", "--readonly"], capture_output=True, text=True)
    assert ran.returncode == 64 and "--readonly" in ran.stderr
    options = ["--socket", "/nowhere", "--timeout", "5", "--json"]  # read by the parser
    ran = subprocess.run([*NIMACTL, "mcp", *options], input=b"", capture_output=True)
    assert ran.returncode == 0 and not ran.stdout and not ran.stderr


def test_nothing_heavy_is_loaded_before_the_first_answer() -> None:
    code = f"{START_NIMACTL}; main(['mcp', '--socket', '/nowhere']); print(*sys.modules)"
    asked = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}\n'
    ran = subprocess.run([sys.executable, "-IS", "-c", code], input=asked, capture_output=True)
    loaded = set(ran.stdout.decode().splitlines()[-1].split())
    assert "nimad.ctl.mcp_server" in loaded
    assert not loaded & {"argparse", "socket", "asyncio", "numpy", "datetime", "nimad.ctl.client"}


# --- what no client should send -------------------------------------------------------------------


def spoilt_lines(count: int) -> Iterator[bytes]:
    """Messages with bytes changed or cut, and values of the wrong kind; the same each time."""
    rng = random.Random(7)
    whole = [
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        for method, params in [
            ("initialize", {"protocolVersion": "2025-11-25"}),
            ("server/discover", {"_meta": MODERN}),
            ("tools/list", {"_meta": MODERN, "cursor": "x"}),
            ("tools/call", {"name": "memory_search", "arguments": {"query": "x", "limit": 3}}),
            ("notifications/cancelled", {"requestId": 1}),
        ]
    ]
    values = ["null", "true", "[]", "{}", "-1", "1e400", "NaN", '"\\ud800"', "[" * 3000, "9" * 5000]
    for number in range(count):
        line = bytearray(rng.choice(whole))
        match number % 4:
            case 0:
                for _ in range(rng.randint(1, 8)):
                    line[rng.randrange(len(line))] = rng.randrange(256)
            case 1:
                del line[rng.randrange(len(line)) :]
            case 2:
                begin = line.index(b":", rng.randrange(len(line) // 2)) + 1
                line[begin : begin + rng.randint(0, 9)] = rng.choice(values).encode()
            case 3:
                line = bytearray(rng.choice(values).encode())
        yield bytes(line).replace(b"\n", b" ")


@pytest.mark.parametrize(
    "count", [400, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_whatever_comes_in_json_rpc_goes_out(tmp_path: Path, count: int) -> None:
    sent = b"\n".join([*spoilt_lines(count), b"x" * (5 << 20), b""])
    last = b'{"jsonrpc": "2.0", "id": "last", "method": "ping"}\n'
    found = {"results": [], "degraded": []}
    with FakeDaemon(tmp_path / "s", query=found) as daemon:
        command = [*NIMACTL, "mcp", "--socket", str(daemon.path)]
        ran = subprocess.run(command, input=sent + last, capture_output=True, timeout=120)
    assert ran.returncode == 0 and not ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    for answer in answers:
        assert answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
        assert answer.get("id", 0) is not None
        if "error" in answer:
            assert isinstance(answer["error"]["code"], int) and answer["error"]["message"]
    assert {"jsonrpc": "2.0", "id": "last", "result": {}} in answers


# --- figures --------------------------------------------------------------------------------------

BARE = (
    "import json, sys\n"
    "for line in sys.stdin:\n"
    '    answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {}}\n'
    "    print(json.dumps(answer), flush=True)"
)


def first_reply(command: list[str]) -> float:
    """Time from the start of a process to its first answer [seconds]."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}\n')
    process.stdin.flush()
    process.stdout.readline()
    took = time.perf_counter() - began
    process.stdin.close()
    process.wait()
    process.stdout.close()
    return took


@pytest.mark.slow
@pytest.mark.alone
def test_the_first_answer_comes_soon_and_little_is_held(daemon: DaemonProcess) -> None:
    """Against the smallest server that there is: at most 4 times its start, and 12 MB."""
    bridge = [*NIMACTL, "mcp", "--socket", str(daemon.socket)]
    pairs = [
        (first_reply(bridge), first_reply([sys.executable, "-I", "-S", "-c", BARE]))
        for _ in range(15)
    ]
    ratio = min(ours for ours, _ in pairs) / min(bare for _, bare in pairs)
    with Bridge("--socket", str(daemon.socket)) as one:
        one.tool("memory_store", content="Maya plays the cello", when="yesterday")
        one.tool("memory_search", query="what did Maya play yesterday?", after="last year")
        rollup = Path(f"/proc/{one.process.pid}/smaps_rollup").read_text()
    (pss,) = re.findall(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    print(f"first reply {ratio:.2f} times a bare one, {int(pss) / 1000:.1f} MB PSS")
    assert ratio < 4
    assert int(pss) * 1024 < 12_000_000


@pytest.mark.slow
@pytest.mark.alone
def test_it_leaves_within_200_ms(tmp_path: Path) -> None:
    """Once in thirty times at least: other programs run here too."""

    def leave(calls: int) -> float:
        with Bridge("--socket", str(daemon.path)) as bridge:
            for _ in range(calls):
                bridge.request("tools/call", name="memory_status")
            bridge.ask("ping")
            assert bridge.process.stdin is not None
            began = time.monotonic()
            bridge.process.stdin.close()
            bridge.process.wait(PATIENCE)
            return time.monotonic() - began

    with FakeDaemon(tmp_path / "s", status=FakeDaemon.HANG) as daemon:
        assert any(leave(0) < 0.2 for _ in range(30))
        assert any(leave(3) < 0.2 for _ in range(30))


@pytest.mark.slow
def test_fifty_bridges_on_one_daemon(make_daemon: Callable[..., DaemonProcess]) -> None:
    """More than the connections that it takes, twice: whoever is refused asks again."""
    daemon = make_daemon(config="server.max_clients: 20\n").start()
    daemon.call("remember", text="Maya plays the cello")
    bridges = [Bridge("--socket", str(daemon.socket)) for _ in range(50)]
    try:
        for _ in range(2):
            for bridge in bridges:
                bridge.request("tools/call", name="memory_search", arguments={"query": "cello"})
            for bridge in bridges:
                found = bridge.receive(60)["result"]
                assert not found["isError"], found
                assert found["structuredContent"]["memories"][0]["id"] == 1
    finally:
        for bridge in bridges:
            bridge.__exit__(None, None, None)


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    program = shutil.which("nimactl", path=f"{Path(sys.executable).parent}:{os.defpath}")
    assert program is not None
    asked = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
    ran = subprocess.run([program, "mcp"], input=asked, capture_output=True, timeout=PATIENCE)
    assert json.loads(ran.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}
