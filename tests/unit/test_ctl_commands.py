"""nimactl's commands about memories and the daemon: what they send, print and exit with."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nimad.ctl import start
from nimad.ctl.main import build, main, with_zone
from nimad.errors import NotFound, UsageError
from nimad.model import LAYERS
from nimad.zone_name import local_name
from tests.fake_daemon import FakeDaemon, memory


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "s") as daemon:
        yield daemon


@pytest.fixture(params=[main, start.main], ids=["parser", "plain forms without it"])
def run(
    daemon: FakeDaemon,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Run:
    monkeypatch.setenv("NIMAD_SOCKET", str(daemon.path))
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*args: str) -> Ran:
        code = request.param(args)
        return Ran(code, *capsys.readouterr())

    return run


# --- query ----------------------------------------------------------------------------------------


def answers(*memories: dict[str, Any], degraded: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"results": list(memories), "took_ms": 4.2, "degraded": list(degraded)}


def test_query_shows_ids_who_and_scores(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["query"] = answers(
        memory(17, score=0.834), memory(4, "Two\nlines", who=None, score=0.5, tags=["home"])
    )
    ran = run("query", "Where", "are", "the tomatoes?")
    assert ran.code == 0
    assert daemon.sent("query") == [{"text": "Where are the tomatoes?", "time_zone": local_name()}]
    first, text, blank, second, *lines = ran.out.splitlines()
    assert first.startswith("17  Maya, ") and first.endswith("ago, input  score 0.83")
    assert text == "    The tomatoes moved." and blank == ""
    assert second.startswith(" 4  ") and "#home" in second
    assert lines == ["    Two", "    lines"]


def test_query_sends_what_was_asked(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["query"] = answers()
    run(
        *("query", "x", "-k", "3", "--mode", "words", "--who", "Maya", "--where", "home"),
        *("--layer", "input", "--namespace", "n", "--tag", "a", "--tag", "b"),
        *("--after", "2023-05-08T00:00Z", "--before", "1683554160000", "--explain"),
    )
    assert daemon.sent("query") == [
        {
            "text": "x",
            "k": 3,
            "mode": "words",
            "who": "Maya",
            "where": "home",
            "layer": "input",
            "namespace": "n",
            "tags": ["a", "b"],
            "after": 1_683_504_000_000,
            "before": 1_683_554_160_000,
            "explain": True,
            "time_zone": local_name(),
        }
    ]


def test_origins_and_agents_are_asked_for_and_what_is_untrusted_is_told(
    daemon: FakeDaemon, run: Run
) -> None:
    daemon.answers["query"] = answers(memory(1, score=0.5, origin="untrusted"))
    ran = run("query", "x", "--origin", "owner", "--origin", "untrusted", "--agent", "main")
    (sent,) = daemon.sent("query")
    assert (sent["origin"], sent["agent"]) == (["owner", "untrusted"], "main")
    assert ", untrusted" in ran.out.splitlines()[0]
    assert run("query", "x", "--origin", "me").code == 64
    daemon.answers["export"] = {"memories": [], "next": None}
    run("export", "--origin", "any", "--agent", "main")
    assert daemon.sent("export") == [{"origin": ["any"], "agent": "main"}]


def test_a_bound_user_is_told_of_its_namespaces(daemon: FakeDaemon, run: Run) -> None:
    told = {"version": "0.1.0", "pid": 7, "uptime_seconds": 60.0, "socket": "s", "degraded": {}}
    told |= {"bound": True, "memories": 3, "turns": 1, "relations": 1}
    daemon.answers["status"] = {**told, "namespaces": {"anna": 2, "home": 1}}
    ran = run("status")
    assert ran.code == 0 and "anna: 2 memories\nhome: 1 memory\n" in ran.out


def test_query_without_an_answer_says_so(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["query"] = answers()
    assert run("query", "x") == Ran(0, "Nothing relevant was found.\n", "")


def test_query_explains_its_scores(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["query"] = answers(memory(score=1.0, parts={"semantic": 0.7, "recency": 0.05}))
    assert "semantic 0.700  recency 0.050" in run("query", "x", "--explain").out


def test_query_explains_its_time(daemon: FakeDaemon, run: Run) -> None:
    spent = {"words_ms": 1.25, "blocks_ms": 0.3}
    daemon.answers["query"] = answers(memory(score=1.0)) | {"took_ms": 1.75, "timings": spent}
    assert "1.75 ms: words 1.25  blocks 0.30" in run("query", "x", "--explain").out


def test_query_names_what_could_not_help(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["query"] = answers(memory(score=1.0), degraded=("blocks",))
    assert run("query", "x").err.startswith("nimactl: answered without blocks.")


@pytest.mark.parametrize("place", ["before", "after"])
def test_json_is_the_daemons_result(daemon: FakeDaemon, run: Run, place: str) -> None:
    result = answers(memory(score=0.834, text="ä \x1b[31m \x9b \ud83c"), degraded=("graph",))
    daemon.answers["query"] = json.loads(json.dumps(result))
    ran = run("--json", "query", "x") if place == "before" else run("query", "x", "--json")
    assert json.loads(ran.out) == result
    assert ran.out.count("\n") == 1 and "ä" in ran.out
    assert "\x1b" not in ran.out and "\x9b" not in ran.out
    assert ran.err == ""


def test_nothing_a_memory_holds_reaches_the_terminal_raw(daemon: FakeDaemon, run: Run) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    daemon.answers["query"] = answers(
        memory(text=evil, who=evil, where=evil, tags=[evil], namespace=evil, layer=evil, score=1)
    )
    daemon.answers["get"] = {"memory": memory(text=evil, extra={evil: evil}, summary=evil)}
    for ran in (run("query", "x"), run("get", "17")):
        assert not set("\x1b\x07\x9b\u202e") & set(ran.out)
        assert "\\x1b]0;owned\\x07" in ran.out


def test_text_is_wrapped_to_the_columns(
    daemon: FakeDaemon, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["query"] = answers(memory(text="word " * 100, score=1))
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("query", "x").out.splitlines()
    assert len(lines) > 10 and max(map(len, lines[1:])) <= 40


# --- get, related, remember, forget ---------------------------------------------------------------


def test_get_shows_everything(daemon: FakeDaemon, run: Run) -> None:
    extra = {"created_at": "2026-11-21", "list": [1]}
    daemon.answers["get"] = {"memory": memory(extra=extra, session="s1", summary="Short")}
    out = run("get", "17").out
    for part in ("The tomatoes", "0.4", "s1", "Short", "graph, row 12", "created_at", "[1]"):
        assert part in out
    assert "2023-05-08" in out


def test_get_of_what_is_not_there(daemon: FakeDaemon, run: Run) -> None:
    def get(params: dict[str, Any]) -> Any:
        raise NotFound(kind="memory", id=params["id"])

    daemon.answers["get"] = get
    ran = run("get", "99")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("nimactl: There is no memory 99. `nimactl query` finds memories")
    ran = run("get", "99", "--json")
    error = json.loads(ran.err)["error"]
    assert (error["code"], error["exit"]) == ("not_found", 1)


def test_related_shows_how(daemon: FakeDaemon, run: Run) -> None:
    way = {"relation": "caused_by", "weight": 0.5}
    daemon.answers["related"] = answers(
        memory(18, **way, direction="out", distance=1),
        memory(19, **way, direction="in", distance=2),
        memory(18, relation="same_turn", weight=None, direction="out", distance=1),
    )
    out = run("related", "17", "--depth", "2", "-k", "5").out
    assert daemon.sent("related") == [{"id": 17, "depth": 2, "limit": 5}]
    assert out.count("18  -> caused_by 0.50, -> same_turn  Maya") == 1
    assert "19  <- caused_by 0.50" in out and "2 steps away" in out


def test_similar_shows_the_nearest(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["similar"] = answers(memory(18, score=0.71))
    out = run("similar", "17", "-k", "5").out
    assert daemon.sent("similar") == [{"id": 17, "k": 5}]
    assert "18" in out and "Maya" in out


def test_related_to_nothing(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["related"] = answers()
    assert run("related", "17").out == "Nothing is connected with 17.\n"


def asked(*rows: list[Any], **more: Any) -> dict[str, Any]:
    columns = ["relation", "count"]
    return {"columns": columns, "rows": [*rows], "more": False, "behind": 0, **more}


def test_graph_shows_a_table(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["graph"] = asked(["triggered", 312], [None, 7], [{"id": 1}, 0.5])
    ran = run("graph", "MATCH (m) RETURN m")
    assert daemon.sent("graph") == [{"cypher": "MATCH (m) RETURN m"}]
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "relation   count",
        "triggered    312",
        "               7",
        '{"id": 1}    0.5',
    ]


def test_graph_sends_what_was_asked(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["graph"] = asked()
    run(
        *("graph", "RETURN $a", "--param", "a=[1, 2]", "--param", "b=two words"),
        *("--param", 'c="3"', "--limit", "5", "--fresh", "--timeout", "10"),
    )
    assert daemon.sent("graph") == [
        {
            "cypher": "RETURN $a",
            "parameters": {"a": [1, 2], "b": "two words", "c": "3"},
            "limit": 5,
            "fresh": True,
            "seconds": 8.0,
        }
    ]
    ran = run("graph", "RETURN 1", "--param", "nothing")
    assert ran.code == 64 and "NAME=VALUE" in ran.err


def test_graph_says_what_it_does_not_know(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["graph"] = asked(["a\x1b[2J", 1], more=True, behind=1234)
    ran = run("graph", "RETURN 1")
    assert "first 1 rows" in ran.err and "1,234 changes" in ran.err and "--fresh" in ran.err
    assert "\x1b" not in ran.out
    assert json.loads(run("graph", "RETURN 1", "--json").out)["behind"] == 1234


def test_graph_reads_a_question(
    daemon: FakeDaemon, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["graph"] = asked()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"RETURN 1\n")))
    run("graph", "-")
    assert daemon.sent("graph") == [{"cypher": "RETURN 1"}]


def test_remember_prints_the_id(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["remember"] = {"id": 17}
    options = ("--who", "Maya", "--where", "home", "--when", "2023-05-08T14:36Z", "--tag", "a")
    more = ("--importance", "0.5", "--layer", "note", "--namespace", "n")
    assert run("remember", "The", "key", *options, *more) == Ran(0, "remembered as 17\n", "")
    assert daemon.sent("remember") == [
        {
            "text": "The key",
            "who": "Maya",
            "where": "home",
            "timestamp": 1_683_556_560_000,
            "importance": 0.5,
            "layer": "note",
            "tags": ["a"],
            "namespace": "n",
        }
    ]
    assert run("remember", "x", "--json").out == '{"id":17}\n'


def receipt(**more: Any) -> dict[str, Any]:
    made = {"forgotten": [17], "missing": [], "purged": False, "dry_run": False}
    return {**made, "removed": {"records": 1, "relations": 2, "turns": 0, "snapshots": 0}, **more}


def test_forget_gives_a_receipt(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["forget"] = receipt()
    assert run("forget", "17") == Ran(0, "forgot 17\nwith 2 relations\n", "")
    assert daemon.sent("forget") == [{"ids": [17]}]


def test_forget_of_some_that_are_missing(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["forget"] = receipt(missing=[18, 19], dry_run=True)
    ran = run("forget", "17", "18", "19", "--purge", "--dry-run")
    assert daemon.sent("forget") == [{"ids": [17, 18, 19], "purge": True, "dry_run": True}]
    assert ran.code == 1
    assert "would forget 17" in ran.out and "there is no memory 18, 19" in ran.out


def test_forget_tells_what_of_a_purge_is_not_finished(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["forget"] = receipt(purged=True, unfinished={"snapshots": "The disk is full"})
    ran = run("forget", "17", "--purge")
    assert ran.code == 0 and "purged 17" in ran.out
    assert "the purge of snapshots is tried again by itself: The disk is full" in ran.out


# --- status, rebuild, doctor ----------------------------------------------------------------------

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 812,
    "uptime_seconds": 11_000.0,
    "state_dir": "/var/lib/nimad",
    "socket": "/run/nimad/nimad.sock",
    "memories": 4112,
    "turns": 1346,
    "relations": 4038,
    "namespaces": {"default": 4112},
    "sequence": 12,
    "embedder": {"name": "static", "revision": "r", "dims": 256},
    "blocks": {"rows": 4112, "hot": 0, "segments": 1, "tombstones": 0, "backlog": 0},
    "graph": {"engine": "ladybug", "watermark": 12, "behind": 0},
    "disk": {
        "records": 2_300_000,
        "words": 500_000,
        "blocks": 1_400_000,
        "graph": 900_000,
        "snapshots": 3_100_000,
        "aside": 0,
        "log": 3000,
        "total": 7_703_000,
        "free": 80_000_000_000,
    },
    "memory": {"pss_bytes": 80_000_000, "available_bytes": 20_000_000_000},
    "written_bytes": 10_700_000,
    "degraded": {},
    "sources": 1,
    "clients": 1,
    "requests": 17,
}


def test_status_tells_the_share_of_each_part(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["status"] = STATUS
    out = run("status").out
    assert "nimad 0.1.0, up for 3 hours" in out
    assert "7.7 MB in /var/lib/nimad, 80 GB free" in out
    assert "written     11 MB since the start" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["records", "1.8", "MB", "23", "%"] in [row[:5] for row in rows]
    assert ["words", "500", "kB", "6", "%"] in [row[:5] for row in rows]
    assert ["log", "3.0", "kB", "<1", "%"] in [row[:5] for row in rows]
    assert "aside" not in out, "what takes nothing is not shown"
    assert json.loads(run("status", "--json").out) == STATUS


def test_status_puts_what_is_broken_first(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["status"] = {**STATUS, "degraded": {"graph": "it is damaged"}}
    assert "graph is out of service\n  it is damaged" in run("status").out


def test_status_tells_what_is_not_finished(daemon: FakeDaemon, run: Run) -> None:
    why = "traces of 2 memories are still to be removed"
    daemon.answers["status"] = {**STATUS, "waiting": {"purge": why}}
    assert f"purge is not finished\n  {why}" in run("status").out


def test_status_tells_of_another_version(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["status"] = {**STATUS, "version": "9.9"}
    assert "restart nimad" in run("status").out


def test_rebuild(daemon: FakeDaemon, run: Run) -> None:
    daemon.answers["rebuild"] = {"rebuilt": {"blocks": {"rows": 4112, "seconds": 1.23}}}
    assert run("rebuild", "blocks").out == "rebuilt blocks: 4,112 memories in 1.2 s\n"
    run("rebuild")
    assert daemon.sent("rebuild") == [{"part": "blocks"}, {"part": "all"}]


def finding(severity: str) -> dict[str, str]:
    return {"part": "blocks", "what": "a is damaged", "fix": "rebuild it", "severity": severity}


def test_doctor_looks_at_openclaws_configuration_too(
    daemon: FakeDaemon, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "openclaw.json"
    monkeypatch.setenv("OPENCLAW_CONFIG_PATH", str(path))
    daemon.answers["doctor"] = {"problems": [], "checked": {"memories": 5}, "took_ms": 12.0}
    path.write_text("{plugins: {entries: {nimad: {}}}}")
    ran = run("doctor")
    assert ran.code == 1
    assert "openclaw config set plugins.entries.nimad.hooks.allowConversationAccess" in ran.out
    path.write_text("{")
    ran = run("doctor")
    assert ran.code == 0 and "is neither JSON nor JSON5" in ran.out


@pytest.mark.parametrize(
    ("severities", "code", "verdict"),
    [([], 0, "all well"), (["note"], 0, "all well"), (["error", "note"], 1, "1 problem")],
)
def test_doctor(
    daemon: FakeDaemon, run: Run, severities: list[str], code: int, verdict: str
) -> None:
    problems = [finding(severity) for severity in severities]
    daemon.answers["doctor"] = {"problems": problems, "checked": {"memories": 5}, "took_ms": 12.0}
    ran = run("doctor")
    assert ran.code == code
    assert f"{verdict} (5 memories checked in 12 ms)" in ran.out
    assert ran.out.count("Fix: rebuild it") == len(problems)
    assert run("doctor", "--json").code == code


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "nimactl needs a command. See `nimactl --help`."),
        (("qurey", "x"), "There is no command qurey; did you mean query? See `nimactl --help`."),
        (("query",), "required: TEXT. See `nimactl query --help`."),
        (("query", " "), "the text is empty."),
        (("query", "x", "--mod", "words"), "Unrecognized arguments: --mod words"),
        (("query", "x", "-k", "0"), "'0' is not a number from 1 to 1000"),
        (("query", "x", "--after", "soon"), "--after must be a date"),
        (("get", "abc"), "'abc' is not the id of a memory"),
        (("remember", "x", "--importance", "2"), "'2' is not a number from 0 to 1"),
        (("status", "--timeout", "-1"), "'-1' is not a positive number of seconds"),
        (("migrate",), "migrate needs the PATH of a legacy store, or --status."),
        (("migrate", "--status", "--wait"), "--wait means something only with PATH."),
        (("migrate", "x", "--watch"), "--watch means something only with --status."),
        (("migrate", "x", "--yes"), "--yes means something only with --rollback."),
        (("migrate", "x", "--verify", "y"), "not allowed with argument"),
        (
            ("dream", "accept", "1", "--dry-run"),
            "--dry-run means something only with `nimactl dream`.",
        ),
        (("dream", "-k", "3"), "-k means something only with `nimactl dream list`."),
        (("dream", "reject", "x"), "'x' is not the number of a suggestion"),
        (("goal", "list", "--due", "2190"), "--due means something only with `nimactl goal add`."),
        (("goal", "list", "sea"), "goal list takes no text and no id. See `nimactl goal --help`."),
        (("goal", "add"), "the text is empty. See `nimactl goal --help`."),
        (("get", "9" * 5000), "is not the id of a memory"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_64(
    daemon: FakeDaemon, run: Run, args: tuple[str, ...], message: str
) -> None:
    ran = run(*args)
    assert (ran.code, ran.out) == (64, "")
    assert ran.err.startswith("nimactl: ") and message in ran.err
    assert ran.err.count("\n") == 1
    assert daemon.calls == []


def test_usage_errors_are_json_for_programs(run: Run) -> None:
    error = json.loads(run("--json", "query").err)["error"]
    assert (error["code"], error["exit"]) == ("usage", 64)


def test_no_daemon_is_exit_69(run: Run, tmp_path: Path) -> None:
    ran = run("status", "--socket", str(tmp_path / "none"))
    assert ran.code == 69
    assert f"No nimad answers on {tmp_path / 'none'}: there is no such socket. Start it" in ran.err


def test_a_bug_is_one_line_too(
    daemon: FakeDaemon, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["status"] = {"version": "0.1.0"}
    ran = run("status")
    assert ran.code == 70 and ran.err.count("\n") == 1 and "NIMAD_DEBUG=1" in ran.err
    monkeypatch.setenv("NIMAD_DEBUG", "1")
    with pytest.raises(KeyError):
        run("status")


def test_the_layers_in_the_help_are_those_there_are(run: Run) -> None:
    for command in ("query", "remember"):
        shown = " ".join(run(command, "--help").out.split())
        assert all(layer in shown for layer in LAYERS)


def test_version(run: Run) -> None:
    assert run("--version").out == "nimactl 0.1.0\n"


WITH_ZONE = {
    "remember": ["x"],
    "query": ["x"],
    "redate": ["2024-05-08", "1"],
    "complete": ["--what", "x", "--ask", "who"],
    "import": ["x"],
    "audit": [],
}


@pytest.mark.parametrize("zone", ["-05:00", "-12:00", "+05:30", "Europe/Berlin"])
@pytest.mark.parametrize("command", WITH_ZONE)
def test_an_offset_west_of_greenwich_is_no_option(command: str, zone: str) -> None:
    given = [command, "--time-zone", zone, *WITH_ZONE[command]]
    assert build(given).parse_args(with_zone(given)).time_zone == zone
    for plain in (["remember", "--", "--time-zone"], ["query", "--time-zone", "-k"]):
        assert with_zone(plain) == plain


def test_an_empty_word_is_no_path() -> None:
    """`nimactl migrate "$STORE"` without a STORE would take the current directory."""
    (commands,) = build()._subparsers._group_actions  # type: ignore[union-attr]
    first = {"fleet": ["join"]}  # what stands before it
    found = [
        [name, *first.get(name, ()), *action.option_strings[:1], ""]
        for name, command in commands.choices.items()  # type: ignore[union-attr]
        for action in command._actions
        if re.search(r"\b(?:FILE|PATH|DIR(ECTORY)?)\b", str(action.metavar))
        and action.dest != "socket"
    ]
    assert len(found) > 10
    for words in found:
        with pytest.raises(UsageError, match="the path is empty"):
            build(words).parse_args(words)
