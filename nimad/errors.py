"""The one exception tree: each failure has a class, a stable code, an exit code and a next step.

The docstring of a class is its message template; keyword arguments fill it.  `code` is the stable
name programs may match on, `exit` is what nimactl and nimad exit with (after sysexits.h), `wire`
the JSON-RPC error number, `hint` what to do next.  Numbers are never reused.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class NimadError(Exception):
    """Something inside nimad went wrong: {detail}"""

    code: ClassVar[str] = "internal"
    exit: ClassVar[int] = 70
    wire: ClassVar[int] = -32603
    hint: ClassVar[str] = "This is a bug. `journalctl -u nimad` has the details; please report it."

    def __init_subclass__(cls, *, code: str, exit: int, wire: int) -> None:
        cls.code, cls.exit, cls.wire = code, exit, wire

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

    @property
    def sentences(self) -> str:
        """What happened, and what to do next, as whole sentences."""
        end = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{end} {self.next_step}".rstrip()

    def to_wire(self) -> dict[str, Any]:
        """The JSON-RPC error object: {"code", "message", "data": {"code", "exit", "hint"}}."""
        data = {"code": self.code, "exit": self.exit, "hint": self.next_step}
        return {"code": self.wire, "message": self.message, "data": data}


# --- the request itself -------------------------------------------------------------------------


class UsageError(NimadError, code="usage", exit=64, wire=-32602):
    """{detail}"""

    hint = "See `nimactl --help`."


class ParseError(NimadError, code="parse", exit=76, wire=-32700):
    """The frame is not one JSON object on one line: {detail}"""

    hint = "Send one UTF-8 JSON object per line."


class InvalidRequest(NimadError, code="invalid_request", exit=76, wire=-32600):
    """The frame is not a JSON-RPC 2.0 request: {detail}"""

    hint = 'Send {{"jsonrpc": "2.0", "id": 1, "method": "...", "params": {{...}}}}.'


class UnknownMethod(NimadError, code="unknown_method", exit=76, wire=-32601):
    """There is no method named {method}."""

    hint = "nimactl and nimad may be of different versions: see `nimactl status`."


class FrameTooLarge(NimadError, code="frame_too_large", exit=76, wire=-32001):
    """A frame of more than {limit} bytes was sent; the connection was closed."""

    hint = "Split the request: `nimactl import` does so by itself."


class ReplyTooLarge(NimadError, code="reply_too_large", exit=76, wire=-32002):
    """The answer would not fit in one frame of {limit} bytes."""

    hint = "Ask for less at a time (limit); `offset` gets a memory in pieces."


class NotPermitted(NimadError, code="not_permitted", exit=77, wire=-32003):
    """User {uid} may not {verb}."""

    hint = "Join the group {group}: sudo usermod -aG {group} $USER, then log in again."


class OwnerOnly(NimadError, code="owner_only", exit=77, wire=-32006):
    """User {uid} may not {verb}: only root and the user who runs nimad may."""

    hint = "Use sudo, or name a group that exists here in {key} (nimad.yaml)."


class NamespaceDenied(NimadError, code="namespace_denied", exit=77, wire=-32009):
    """User {uid} may not {verb}: {detail}"""

    hint = "access.namespaces in nimad.yaml says what each user may reach."


class Busy(NimadError, code="busy", exit=75, wire=-32004):
    """nimad is busy: {detail}"""

    hint = "Try again in a moment."


class QueryTooLong(NimadError, code="query_too_long", exit=75, wire=-32008):
    """The query took more than {limit} seconds and was given up."""

    hint = "Ask with fewer words, with a filter, or for fewer results (-k); see recall.seconds."


class NotFound(NimadError, code="not_found", exit=1, wire=-32005):
    """There is no {kind} {id}."""

    hint = (
        "`nimactl query` finds memories, `nimactl goal list` goals, `nimactl dream list`"
        " suggestions; `nimactl migrate --status` names the sources."
    )


class NoHypervector(NimadError, code="no_hypervector", exit=1, wire=-32007):
    """Memory {id} has no dense hypervector."""

    hint = (
        "Only memories of checkpoints and sparse stores have one, once they are converted"
        " (`nimactl migrate --status`); `nimactl similar {id}` compares by meaning."
    )


# --- the daemon and its state -------------------------------------------------------------------


class DaemonAbsent(NimadError, code="daemon_absent", exit=69, wire=-32010):
    """No nimad answers on {socket}: {detail}"""

    hint = "Start it: sudo systemctl start nimad (or `nimad --foreground`); --socket names another."


class StateBusy(NimadError, code="state_busy", exit=75, wire=-32011):
    """Another nimad (process {pid}) already owns {state}."""

    hint = "Use that one, stop it first, or give --state another directory."


class StateTooNew(NimadError, code="state_too_new", exit=78, wire=-32012):
    """{path} was written by a newer nimad (schema {found}; this one knows up to {known})."""

    hint = "Install that newer nimad again; the memories are untouched."


class StateUnusable(NimadError, code="state_unusable", exit=73, wire=-32013):
    """The state directory {state} cannot be used: {detail}"""

    hint = "Give --state a directory that this user owns and may write."


class RecordsDamaged(NimadError, code="records_damaged", exit=65, wire=-32014):
    """The records in {path} are damaged: {detail}"""

    hint = (
        "Stop nimad, move its state directory away, and restore a backup (docs/backup.md);"
        " `sqlite3 {path} .recover` prints what can still be read."
    )


class WordsDamaged(RecordsDamaged, code="words_damaged", exit=75, wire=-32051):
    """The words index in {path} is damaged: {detail}"""

    hint = "The memories are whole. nimad makes it anew by itself; `nimactl rebuild words` at once."


class DiskFull(NimadError, code="disk_full", exit=74, wire=-32015):
    """The disk is full: {detail}"""

    hint = "Free some space; nothing was half written and the work goes on by itself."


class DiskFailed(NimadError, code="disk_failed", exit=71, wire=-32049):
    """The disk cannot be read or written: {detail}"""

    hint = (
        "See `dmesg`: the card or disk may be dying. Copy the state directory while it can be read,"
        " or restore a backup on another one (docs/backup.md)."
    )


class DiskReadOnly(DiskFailed, code="disk_read_only", exit=71, wire=-32050):
    """The disk is read-only: {detail}"""

    hint = "See `dmesg`: often a failing card. Once mounted read-write, nimad goes on by itself."


class ConfigError(NimadError, code="config", exit=78, wire=-32016):
    """{path}: {detail}"""

    hint = "nimad.yaml(5) lists every key."


class EngineUnsupported(NimadError, code="engine_unsupported", exit=78, wire=-32017):
    """The graph engine {engine} cannot run here: {detail}"""

    hint = "Set graph.engine: ladybug in nimad.yaml."


class GraphFailed(NimadError, code="graph_failed", exit=70, wire=-32018):
    """The graph could not do that: {detail}"""

    hint = "The memories are safe in the records; `nimactl rebuild graph` makes the graph anew."


class GraphMemory(GraphFailed, code="graph_memory", exit=70, wire=-32048):
    """The graph ran out of memory: {detail}"""

    hint = "The memories are safe in the records; graph.buffer_pool_mb may give the graph more."


class CypherRefused(NimadError, code="cypher_refused", exit=64, wire=-32052):
    """The graph cannot be asked that: {detail}"""

    hint = "The graph is only read; docs/graph.md has its tables and ten questions."


class CypherTooMuch(NimadError, code="cypher_too_much", exit=75, wire=-32053):
    """The question took more {what} than it may ({limit})."""

    hint = "Ask for less (WHERE, LIMIT, count(*)), or give it more time: --timeout."


class Degraded(NimadError, code="degraded", exit=75, wire=-32019):
    """That needs the {part}, which is out of service: {detail}"""

    hint = "`nimactl doctor` tells why; `nimactl rebuild {part}` makes it anew."


class SocketBusy(NimadError, code="socket_busy", exit=75, wire=-32023):
    """Another program already listens on {socket}."""

    hint = "Stop it first, or give --socket another path."


class SocketUnusable(NimadError, code="socket_unusable", exit=73, wire=-32024):
    """The socket {socket} cannot be made: {detail}"""

    hint = "Give --socket a path in a directory that this user may write to."


class NoAnswer(NimadError, code="no_answer", exit=75, wire=-32025):
    """nimad on {socket} did not answer within {seconds} seconds."""

    hint = "It may be busy, and may still do what was asked: look, then try again (--timeout)."


# --- files --------------------------------------------------------------------------------------


class FormatCorrupt(NimadError, code="format_corrupt", exit=65, wire=-32020):
    """{path} is damaged: {detail}"""

    hint = "It was set aside; `nimactl rebuild blocks` makes it anew from the records."


class FormatTooNew(NimadError, code="format_too_new", exit=65, wire=-32021):
    """{path} has format version {found}; this nimad reads {oldest} to {newest}."""

    hint = "Install the nimad that wrote it, or run `nimactl rebuild blocks`."


class FormatTooOld(NimadError, code="format_too_old", exit=65, wire=-32022):
    """{path} has format version {found}; this nimad reads {oldest} to {newest}."""

    hint = "Run `nimactl rebuild blocks`."


class TableDamaged(FormatCorrupt, code="table_damaged", exit=65, wire=-32026):
    """{path} is damaged: {detail}"""

    hint = "It belongs to the package: install nimad again, or set embedder: hash in nimad.yaml."


class EmbedderMissing(NimadError, code="embedder_missing", exit=78, wire=-32060):
    """The embedder {name} cannot be used: {detail}"""

    hint = "For minilm install the package nimad-minilm; or set embedder: static in nimad.yaml."


# --- legacy sources -----------------------------------------------------------------------------


class SourceMissing(NimadError, code="source_missing", exit=66, wire=-32030):
    """There is no file {path}."""

    hint = "Give the path of a legacy store or its directory, such as ~/.nima/memory."


class SourceUnreadable(NimadError, code="source_unreadable", exit=77, wire=-32031):
    """{path} cannot be read: {detail}"""

    hint = "Run nimactl as the user who owns the file: it reads the file itself, nimad never does."


class SourceNotRecognised(NimadError, code="source_not_recognised", exit=65, wire=-32032):
    """{path} is not a NIMA store: {detail}"""

    hint = (
        "nimad migrates what nima-core wrote: graph.sqlite (schemas 1 and 3), checkpoints (.pt),"
        " sparse memories (.pkl, .json), and directories with any of them."
    )


class SourceCorrupt(NimadError, code="source_corrupt", exit=65, wire=-32033):
    """{path} is damaged: {detail}"""

    hint = (
        "Nothing of it was taken over. Restore it from a backup; a database may be mended with"
        " `sqlite3 FILE .recover`."
    )


class SourceTooLarge(SourceCorrupt, code="source_too_large", exit=65, wire=-32056):
    """{path} is refused: {detail}."""

    hint = (
        "Nothing of it was taken over. If it is healthy, migrate its files one by one, or on a"
        " machine with more memory."
    )


class SourceChanged(NimadError, code="source_changed", exit=75, wire=-32034):
    """{path} kept changing while it was copied: {detail}"""

    hint = "Stop the program that writes to it, or try again."


class MigrationFailed(NimadError, code="migration_failed", exit=65, wire=-32035):
    """The migration of {name} stopped: {detail}"""

    hint = "`nimactl migrate --status` tells where; --resume {name} goes on from there."


class VerifyFailed(NimadError, code="verify_failed", exit=65, wire=-32036):
    """{name}: {differences} rows differ from the source."""

    hint = "`nimactl --json migrate --verify {name}` lists them; --rollback {name} undoes it."


class SourceUnsupported(NimadError, code="source_unsupported", exit=65, wire=-32037):
    """{path} is {what}, which this version of nimad cannot take over yet."""

    hint = (
        "Keep the file: nothing was changed. nimad migrates graph.sqlite (schemas 1 and 3),"
        " checkpoints of PyTorch 1.6 and later (.pt), and sparse memories (.pkl, .json)."
    )


class SourceUnsafe(NimadError, code="source_unsafe", exit=65, wire=-32044):
    """{path} is refused: it {detail}."""

    hint = "Nothing of it was run and nothing taken over. Find out where the file comes from."


class SourceAltered(NimadError, code="source_altered", exit=65, wire=-32045):
    """{path} is not the file that its checksum was made of: {detail}"""

    hint = "Nothing of it was taken over. Restore the file, or its checksum, from a backup."


class ScratchUnusable(NimadError, code="scratch_unusable", exit=73, wire=-32038):
    """No copy of the source can be made in {path}: {detail}"""

    hint = "Set TMPDIR to a directory that you may write to, on a disk with free space."


class MigrationPaused(NimadError, code="migration_paused", exit=75, wire=-32039):
    """The migration of {name} is paused."""

    hint = "`nimactl migrate --resume {name}` goes on with it."


# --- the fleet ----------------------------------------------------------------------------------


class NotShared(NimadError, code="not_shared", exit=77, wire=-32080):
    """The namespace {namespace} is not shared for {direction}."""

    hint = "`sync.namespaces` in /etc/nimad/nimad.yaml says what is shared; docs/fleet.md has more."


class FleetQuota(NimadError, code="fleet_quota", exit=75, wire=-32081):
    """What other boards share would be more than {memories} memories or {mb} MiB."""

    hint = (
        "Raise sync.max_memories or sync.max_mb, or share fewer namespaces; what is here is kept."
    )


class HubUnusable(NimadError, code="hub", exit=69, wire=-32082):
    """The hub cannot be used: {detail}"""

    hint = "This board goes on without it; nimad-sync tries again by itself."


# --- backups ------------------------------------------------------------------------------------


class BackupDamaged(NimadError, code="backup_damaged", exit=65, wire=-32061):
    """{path} is not a backup of nimad as it was written: {detail}"""

    hint = "Nothing of it is used. `nimactl backup --verify FILE` tells which backups are whole."


class BackupTooNew(FormatTooNew, code="backup_too_new", exit=65, wire=-32062):
    """{path} has format version {found}; this nimad reads {oldest} to {newest}."""

    hint = "Install the nimad that wrote it, or a newer one."


class StateNotEmpty(NimadError, code="state_not_empty", exit=73, wire=-32063):
    """There are memories in {state} already, and a restore replaces none."""

    hint = "Stop nimad and move that directory away, or restore beside it: --into DIR."


# --- what nimactl reads and writes --------------------------------------------------------------


class BadRecord(NimadError, code="bad_record", exit=65, wire=-32040):
    """{where}: {detail}"""

    hint = "Mend that line and go on from it; what was imported before it is kept."


class InputUnusable(NimadError, code="input_unusable", exit=66, wire=-32041):
    """{path} cannot be read: {detail}"""

    hint = "Give the name of a file that this user may read, or - for standard input."


class OutputUnusable(NimadError, code="output_unusable", exit=73, wire=-32042):
    """{path} cannot be written: {detail}"""

    hint = "Give a path in a directory that this user may write to."


class Interrupted(NimadError, code="interrupted", exit=130, wire=-32099):
    """Stopped by the user."""

    hint = "What was acknowledged is kept; a migration goes on in the daemon."


class RemoteError(NimadError, code="remote", exit=70, wire=-32098):
    """{detail}"""

    # An error the daemon sent; code, exit and hint are the daemon's own.
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
