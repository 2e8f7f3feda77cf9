"""The one exception tree: each failure has a class, a stable code, an exit code and a next step.

The docstring of a class is its message template; keyword arguments fill it.  `code` is the stable
name programs may match on, `exit` is what nimactl and nimad exit with (after sysexits.h), `wire`
the JSON-RPC error number, `hint` what to do next.  Numbers are never reused.
"""

from __future__ import annotations

from typing import Any, ClassVar


class NimadError(Exception):
    """Something inside nimad went wrong: {detail}"""

    code: ClassVar[str] = "internal"
    exit: ClassVar[int] = 70
    wire: ClassVar[int] = -32603
    hint: ClassVar[str] = "This is a bug. `journalctl -u nimad` has the details; please report it."

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """What happened, to what: the template of the class, filled."""
        template = " ".join((self.__doc__ or "").split())
        return template.format(**self.fields)

    @property
    def next_step(self) -> str:
        """What to do next."""
        return self.hint.format(**self.fields)

    def to_wire(self) -> dict[str, Any]:
        """The JSON-RPC error object: {"code", "message", "data": {"code", "exit", "hint"}}."""
        data = {"code": self.code, "exit": self.exit, "hint": self.next_step}
        return {"code": self.wire, "message": self.message, "data": data}


# --- the request itself -------------------------------------------------------------------------


class UsageError(NimadError):
    """{detail}"""

    code, exit, wire = "usage", 64, -32602
    hint = "See `nimactl --help`."


class ParseError(NimadError):
    """The frame is not one JSON object on one line: {detail}"""

    code, exit, wire = "parse", 76, -32700
    hint = "Send one UTF-8 JSON object per line."


class InvalidRequest(NimadError):
    """The frame is not a JSON-RPC 2.0 request: {detail}"""

    code, exit, wire = "invalid_request", 76, -32600
    hint = 'Send {{"jsonrpc": "2.0", "id": 1, "method": "...", "params": {{...}}}}.'


class UnknownMethod(NimadError):
    """There is no method named {method}."""

    code, exit, wire = "unknown_method", 76, -32601
    hint = "nimactl and nimad may be of different versions: see `nimactl status`."


class FrameTooLarge(NimadError):
    """A frame of more than {limit} bytes was sent; the connection was closed."""

    code, exit, wire = "frame_too_large", 76, -32001
    hint = "Split the request: `nimactl import` does so by itself."


class ReplyTooLarge(NimadError):
    """The answer would not fit in one frame of {limit} bytes."""

    code, exit, wire = "reply_too_large", 76, -32002
    hint = "Ask for less at a time (limit); `offset` gets a memory in pieces."


class NotPermitted(NimadError):
    """User {uid} may not {verb}."""

    code, exit, wire = "not_permitted", 77, -32003
    hint = "Join the group {group}: sudo usermod -aG {group} $USER, then log in again."


class OwnerOnly(NimadError):
    """User {uid} may not {verb}: only root and the user who runs nimad may."""

    code, exit, wire = "owner_only", 77, -32006
    hint = "Use sudo, or name a group that exists here in {key} (nimad.yaml)."


class Busy(NimadError):
    """nimad is busy: {detail}"""

    code, exit, wire = "busy", 75, -32004
    hint = "Try again in a moment."


class QueryTooLong(NimadError):
    """The query took more than {limit} seconds and was given up."""

    code, exit, wire = "query_too_long", 75, -32008
    hint = "Ask with fewer words, with a filter, or for fewer results (-k); see recall.seconds."


class NotFound(NimadError):
    """There is no {kind} {id}."""

    code, exit, wire = "not_found", 1, -32005
    hint = "`nimactl query` finds memories, `nimactl migrate --status` names the sources."


class NoHypervector(NimadError):
    """Memory {id} has no dense hypervector."""

    code, exit, wire = "no_hypervector", 1, -32007
    hint = (
        "Only memories of checkpoints and sparse stores have one, once they are converted"
        " (`nimactl migrate --status`); `nimactl similar {id}` compares by meaning."
    )


# --- the daemon and its state -------------------------------------------------------------------


class DaemonAbsent(NimadError):
    """No nimad answers on {socket}: {detail}"""

    code, exit, wire = "daemon_absent", 69, -32010
    hint = "Start it: sudo systemctl start nimad (or `nimad --foreground`); --socket names another."


class StateBusy(NimadError):
    """Another nimad (process {pid}) already owns {state}."""

    code, exit, wire = "state_busy", 75, -32011
    hint = "Use that one, stop it first, or give --state another directory."


class StateTooNew(NimadError):
    """{path} was written by a newer nimad (schema {found}; this one knows up to {known})."""

    code, exit, wire = "state_too_new", 78, -32012
    hint = "Install that newer nimad again; the memories are untouched."


class StateUnusable(NimadError):
    """The state directory {state} cannot be used: {detail}"""

    code, exit, wire = "state_unusable", 73, -32013
    hint = "Give --state a directory that this user owns and may write."


class RecordsDamaged(NimadError):
    """The records in {path} are damaged: {detail}"""

    code, exit, wire = "records_damaged", 65, -32014
    hint = (
        "Stop nimad, keep a copy of {path} and {path}-wal, and put a backup in their place;"
        " `sqlite3 COPY .recover` prints what can still be read."
    )


class WordsDamaged(RecordsDamaged):
    """The words index in {path} is damaged: {detail}"""

    code, exit, wire = "words_damaged", 75, -32051
    hint = "The memories are whole. nimad makes it anew by itself; `nimactl rebuild words` at once."


class DiskFull(NimadError):
    """The disk is full: {detail}"""

    code, exit, wire = "disk_full", 74, -32015
    hint = "Free some space; nothing was half written and the work goes on by itself."


class DiskFailed(NimadError):
    """The disk cannot be read or written: {detail}"""

    code, exit, wire = "disk_failed", 71, -32049
    hint = "See `dmesg`: the card or disk may be dying. Copy the state directory while it is read."


class DiskReadOnly(DiskFailed):
    """The disk is read-only: {detail}"""

    code, exit, wire = "disk_read_only", 71, -32050
    hint = "See `dmesg`: often a failing card. Once mounted read-write, nimad goes on by itself."


class ConfigError(NimadError):
    """{path}: {detail}"""

    code, exit, wire = "config", 78, -32016
    hint = "nimad.yaml(5) lists every key."


class EngineUnsupported(NimadError):
    """The graph engine {engine} cannot run here: {detail}"""

    code, exit, wire = "engine_unsupported", 78, -32017
    hint = "Set graph.engine: ladybug in nimad.yaml."


class GraphFailed(NimadError):
    """The graph could not do that: {detail}"""

    code, exit, wire = "graph_failed", 70, -32018
    hint = "The memories are safe in the records; `nimactl rebuild graph` makes the graph anew."


class GraphMemory(GraphFailed):
    """The graph ran out of memory: {detail}"""

    code, exit, wire = "graph_memory", 70, -32048
    hint = "The memories are safe in the records; graph.buffer_pool_mb may give the graph more."


class CypherRefused(NimadError):
    """The graph cannot be asked that: {detail}"""

    code, exit, wire = "cypher_refused", 64, -32052
    hint = "The graph is only read; docs/graph.md has its tables and ten questions."


class CypherTooMuch(NimadError):
    """The question took more {what} than it may ({limit})."""

    code, exit, wire = "cypher_too_much", 75, -32053
    hint = "Ask for less (WHERE, LIMIT, count(*)), or give it more time: --timeout."


class Degraded(NimadError):
    """That needs the {part}, which is out of service: {detail}"""

    code, exit, wire = "degraded", 75, -32019
    hint = "`nimactl doctor` tells why; `nimactl rebuild {part}` makes it anew."


class SocketBusy(NimadError):
    """Another program already listens on {socket}."""

    code, exit, wire = "socket_busy", 75, -32023
    hint = "Stop it first, or give --socket another path."


class SocketUnusable(NimadError):
    """The socket {socket} cannot be made: {detail}"""

    code, exit, wire = "socket_unusable", 73, -32024
    hint = "Give --socket a path in a directory that this user may write to."


class NoAnswer(NimadError):
    """nimad on {socket} did not answer within {seconds} seconds."""

    code, exit, wire = "no_answer", 75, -32025
    hint = "It may be busy, and may still do what was asked: look, then try again (--timeout)."


# --- files --------------------------------------------------------------------------------------


class FormatCorrupt(NimadError):
    """{path} is damaged: {detail}"""

    code, exit, wire = "format_corrupt", 65, -32020
    hint = "It was set aside; `nimactl rebuild blocks` makes it anew from the records."


class FormatTooNew(NimadError):
    """{path} has format version {found}; this nimad reads {oldest} to {newest}."""

    code, exit, wire = "format_too_new", 65, -32021
    hint = "Install the nimad that wrote it, or run `nimactl rebuild blocks`."


class FormatTooOld(NimadError):
    """{path} has format version {found}; this nimad reads {oldest} to {newest}."""

    code, exit, wire = "format_too_old", 65, -32022
    hint = "Run `nimactl rebuild blocks`."


class TableDamaged(FormatCorrupt):
    """{path} is damaged: {detail}"""

    code, exit, wire = "table_damaged", 65, -32026
    hint = "It belongs to the package: install nimad again, or set embedder: hash in nimad.yaml."


class EmbedderMissing(NimadError):
    """The embedder {name} cannot be used: {detail}"""

    code, exit, wire = "embedder_missing", 78, -32060
    hint = "For minilm install the package nimad-minilm; or set embedder: static in nimad.yaml."


# --- legacy sources -----------------------------------------------------------------------------


class SourceMissing(NimadError):
    """There is no file {path}."""

    code, exit, wire = "source_missing", 66, -32030
    hint = "Give the path of a legacy store or its directory, such as ~/.nima/memory."


class SourceUnreadable(NimadError):
    """{path} cannot be read: {detail}"""

    code, exit, wire = "source_unreadable", 77, -32031
    hint = "Run nimactl as the user who owns the file: it reads the file itself, nimad never does."


class SourceNotRecognised(NimadError):
    """{path} is not a NIMA store: {detail}"""

    code, exit, wire = "source_not_recognised", 65, -32032
    hint = (
        "nimad migrates what nima-core wrote: graph.sqlite (schemas 1 and 3), checkpoints (.pt),"
        " sparse memories (.pkl, .json), and directories with any of them."
    )


class SourceCorrupt(NimadError):
    """{path} is damaged: {detail}"""

    code, exit, wire = "source_corrupt", 65, -32033
    hint = (
        "Nothing of it was taken over. Restore it from a backup; a database may be mended with"
        " `sqlite3 FILE .recover`."
    )


class SourceTooLarge(SourceCorrupt):
    """{path} is refused: {detail}."""

    code, exit, wire = "source_too_large", 65, -32056
    hint = (
        "Nothing of it was taken over. If it is healthy, migrate its files one by one, or on a"
        " machine with more memory."
    )


class SourceChanged(NimadError):
    """{path} kept changing while it was copied: {detail}"""

    code, exit, wire = "source_changed", 75, -32034
    hint = "Stop the program that writes to it, or try again."


class MigrationFailed(NimadError):
    """The migration of {name} stopped: {detail}"""

    code, exit, wire = "migration_failed", 65, -32035
    hint = "`nimactl migrate --status` tells where; --resume {name} goes on from there."


class VerifyFailed(NimadError):
    """{name}: {differences} rows differ from the source."""

    code, exit, wire = "verify_failed", 65, -32036
    hint = "`nimactl --json migrate --verify {name}` lists them; --rollback {name} undoes it."


class SourceUnsupported(NimadError):
    """{path} is {what}, which this version of nimad cannot take over yet."""

    code, exit, wire = "source_unsupported", 65, -32037
    hint = (
        "Keep the file: nothing was changed. nimad migrates graph.sqlite (schemas 1 and 3),"
        " checkpoints of PyTorch 1.6 and later (.pt), and sparse memories (.pkl, .json)."
    )


class SourceUnsafe(NimadError):
    """{path} is refused: it {detail}."""

    code, exit, wire = "source_unsafe", 65, -32044
    hint = "Nothing of it was run and nothing taken over. Find out where the file comes from."


class SourceAltered(NimadError):
    """{path} is not the file that its checksum was made of: {detail}"""

    code, exit, wire = "source_altered", 65, -32045
    hint = "Nothing of it was taken over. Restore the file, or its checksum, from a backup."


class ScratchUnusable(NimadError):
    """No copy of the source can be made in {path}: {detail}"""

    code, exit, wire = "scratch_unusable", 73, -32038
    hint = "Set TMPDIR to a directory that you may write to, on a disk with free space."


class MigrationPaused(NimadError):
    """The migration of {name} is paused."""

    code, exit, wire = "migration_paused", 75, -32039
    hint = "`nimactl migrate --resume {name}` goes on with it."


# --- what nimactl reads and writes --------------------------------------------------------------


class BadRecord(NimadError):
    """{where}: {detail}"""

    code, exit, wire = "bad_record", 65, -32040
    hint = "Mend that line and go on from it; what was imported before it is kept."


class InputUnusable(NimadError):
    """{path} cannot be read: {detail}"""

    code, exit, wire = "input_unusable", 66, -32041
    hint = "Give the name of a file that this user may read, or - for standard input."


class OutputUnusable(NimadError):
    """{path} cannot be written: {detail}"""

    code, exit, wire = "output_unusable", 73, -32042
    hint = "Give a path in a directory that this user may write to."


class Interrupted(NimadError):
    """Stopped by the user."""

    code, exit, wire = "interrupted", 130, -32099
    hint = "What was acknowledged is kept; a migration goes on in the daemon."


class RemoteError(NimadError):
    """{detail}"""

    # An error the daemon sent; code, exit and hint are the daemon's own.
    code, exit, wire = "remote", 70, -32098
    hint = "{remote_hint}"

    @classmethod
    def from_wire(cls, error: dict[str, Any]) -> RemoteError:
        """Rebuild what `to_wire` sent, keeping the sender's code, exit and hint."""
        data = error.get("data") if isinstance(error.get("data"), dict) else {}
        assert isinstance(data, dict)
        made = cls(detail=str(error.get("message", "")), remote_hint=str(data.get("hint", "")))
        made.__dict__["code"] = str(data.get("code", "remote"))
        made.__dict__["exit"] = int(data.get("exit", 70))
        made.__dict__["wire"] = int(error.get("code", -32603))
        return made


def all_errors() -> list[type[NimadError]]:
    """Every class of the tree, for the manual's table and the tests."""
    found: list[type[NimadError]] = [NimadError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found
