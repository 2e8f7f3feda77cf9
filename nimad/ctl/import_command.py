"""`nimactl import`: a JSON Lines file goes in, batch by batch; what went in is always told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from nimad import human
from nimad.ctl.arguments import (
    Commands,
    add_command,
    add_time_zone,
    number,
    open_input,
    shown_path,
)
from nimad.ctl.client import Client
from nimad.ctl.screen import Progress, Screen
from nimad.dataclass import dataclass
from nimad.errors import (
    BadRecord,
    InputUnusable,
    Interrupted,
    NimadError,
    RemoteError,
    UsageError,
)
from nimad.human import size
from nimad.limits import (
    BATCH_BYTES,
    MAX_IMPORT,
    MAX_NODES,
    MAX_PAYLOAD,
    MAX_RECORD,
    MAX_RECORD_FILE,
    count_nodes,
    refuse_twice,
)
from nimad.times import name_to_hand_over, sentences

FORMS = {
    b"PK\x03\x04": "a zip that is cut short, or holds nothing that is known",
    b"\x1f\x8b": "packed by gzip",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"SQLite format 3\0": "a database of SQLite",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"[": "a list of JSON",
}
"""What files begin with that are given by mistake, and what they are."""
BATCH_NODES = MAX_NODES - 100
"""Number of values in a batch; each counts as many bytes as it may have there [values]."""
LINE_BYTES = MAX_RECORD_FILE
"""Length of the longest line: of a memory, some of whose characters may be escaped [bytes]."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = add_command(
        commands,
        "import",
        run_import,
        "store the memories of a JSON Lines file, or what another tool remembers",
        "One memory a line, in the fields that `nimactl export` writes; text is the only one that"
        " must be there. The memories get new ids. A line that cannot be taken stops the import;"
        " the lines before it are stored. What another tool remembers is recognised, and only what"
        " is new or changed there comes in; docs/import.md tells what is read of each.",
    )
    parser.add_argument(
        "file",
        metavar="PATH",
        help="the file, or a directory of another tool; - reads standard input",
    )
    other = parser.add_argument_group("of what another tool remembers")
    other.add_argument(
        "--from",
        dest="source",
        metavar="KIND",
        help="which it is, such as openclaw (docs/import.md has them all); default: what it looks"
        " like",
    )
    other.add_argument(
        "--name",
        metavar="NAME",
        help="its name in nimad, by which it is known again; default: by kind and path",
    )
    other.add_argument("--agent", metavar="NAME", help="the agent that the memories belong to")
    other.add_argument(
        "--mask",
        action="store_true",
        help="mask keys, tokens, private keys and card numbers in texts",
    )
    other.add_argument(
        "--verify",
        action="store_true",
        help="compare it with what is stored, and fail when they differ; nothing is stored",
    )
    other.add_argument(
        "--dry-run", action="store_true", help="tell what would come in; nothing is stored"
    )
    parser.add_argument(
        "--namespace", metavar="NAME", help="for lines that name none; default: default"
    )
    add_time_zone(parser)
    parser.add_argument(
        "--from-line",
        metavar="N",
        type=number(1, 10**12),
        default=1,
        help="start at this line: go on where an import stopped",
    )


def run_import(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl import`."""
    from nimad.ctl.exchange import import_all, is_whole_export
    from nimad.ctl.import_sources import import_source, is_foreign  # --help needs no importers

    if not args.source and args.from_line == 1 and is_whole_export(args.file):
        return import_all(args, client, screen)
    if args.source or (args.file != "-" and is_foreign(Path(args.file))):
        return import_source(args, client, screen)
    for option in ("name", "agent", "mask", "dry_run", "verify"):
        if getattr(args, option):
            detail = f"--{option.replace('_', '-')} is for what another tool remembers"
            raise UsageError(
                detail=f"{detail}; {args.file} looks like none: --from KIND says which."
            )
    with open_input(args.file) as stream, Progress(screen.progress) as progress:
        client.call("ping")  # so that a daemon that is not there is no half-done import
        work = _Import(args, client, stream, progress)
        try:
            work.run()
        except (NimadError, KeyboardInterrupt) as stopped:
            progress.close()
            error = Interrupted() if isinstance(stopped, KeyboardInterrupt) else stopped
            more = {"imported": work.imported, "next_line": work.next_line, "unsure": work.unsure}
            if not screen.json:
                if work.unsure:
                    first, last = work.unsure
                    screen.note(f"whether lines {first} to {last} were stored is not known.")
                if work.imported:
                    screen.note(
                        f"{work.count()} stored; go on with:"
                        f" nimactl import {work.argument} --from-line {work.next_line}"
                    )
            return screen.fail(error, **more)
    told = f"imported nothing: there is no memory in {work.name}"
    if work.imported:
        ids = f"{work.first_id} to {work.last_id}" if work.imported > 1 else f"{work.first_id}"
        told = f"imported {work.count()} as {ids}"
    result = {
        "imported": work.imported,
        "first_id": work.first_id or None,
        "last_id": work.last_id or None,
        **({"times": dict(work.times)} if work.times else {}),
    }
    zone = name_to_hand_over() or "this machine's zone"
    return screen.answer(result, told, *sentences(work.times, zone))


class _Import:
    """One import: `imported` memories are stored, `next_line` is where to go on."""

    def __init__(
        self, args: argparse.Namespace, client: Client, stream: BinaryIO, progress: Progress
    ) -> None:
        self._client = client
        self._stream = stream
        self._progress = progress
        self._namespace = args.namespace
        self._bytes = 0  # of an ordinary file: how far it is can be told
        with contextlib.suppress(OSError):
            status = os.fstat(stream.fileno())
            self._bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.argument = args.file
        self.name = "stdin" if args.file == "-" else shown_path(args.file)
        self.next_line: int = args.from_line
        self.imported = 0
        self.first_id = self.last_id = 0
        self.times: Counter[str] = Counter()
        """How times were read, see nimad.times."""
        self.unsure: tuple[int, int] | None = None
        """Lines that were sent and not acknowledged."""

    def run(self) -> None:
        """Import everything; raises what stopped it, with the fields above true."""
        batches = LineReader(self._stream, self.name, self.next_line).batches()
        for batch in _read_ahead(batches) if self._bytes else batches:  # a pipe may wait for ever
            try:
                self._send(batch.memories, batch.numbers)
            except RemoteError as error:
                if error.code == "parse":
                    where = f"{self.name}:{batch.numbers[0]}-{batch.numbers[-1]}"
                    raise BadRecord(where=where, detail=error.message) from error
                # which memory is meant: the daemon counts without blank lines
                said = error.message.removeprefix(self.name)
                found = re.match(r":(\d+): (?:a memory: )?(.*)", said, re.DOTALL)
                index = int(found[1]) - batch.numbers[0] if found else -1
                if error.code != "bad_record" or not found or not 0 <= index < len(batch.numbers):
                    raise
                if index:
                    self._send(batch.memories[:index], batch.numbers[:index])
                where = f"{self.name}:{batch.numbers[index]}"
                raise BadRecord(where=where, detail=found[2]) from error

    def count(self) -> str:
        """`1 memory`, `4,112 memories`."""
        return human.count(self.imported, "memory")

    def _send(self, memories: list[bytes], numbers: list[int]) -> None:
        self.unsure = numbers[0], numbers[-1]
        where = f"{self.name}:{numbers[0]}"
        wishes = {"where": where, "namespace": self._namespace, "time_zone": name_to_hand_over()}
        written = memories[0]
        large = len(written) > MAX_PAYLOAD or count_nodes(written) > BATCH_NODES
        try:
            if len(memories) == 1 and large:  # no frame holds it: it goes as a file
                with open(os.memfd_create("memory", os.MFD_CLOEXEC), "wb") as file:  # noqa: PTH123
                    file.write(written)
                    file.flush()
                    size = len(written)
                    reply = self._client.call("import", file.fileno(), size=size, **wishes)
            else:
                reply = self._client.call("import", memories=json_list(memories), **wishes)
        except RemoteError:
            self.unsure = None
            raise
        self.unsure = None
        ids = reply["ids"]
        self.imported += len(ids)
        self.times.update(reply.get("times", {}))
        self.first_id = self.first_id or ids[0]
        self.last_id = ids[-1]
        self.next_line = numbers[-1] + 1
        share = ""
        if self._bytes:
            with contextlib.suppress(OSError):
                share = f"  {human.share(self._stream.tell(), self._bytes)}"
        self._progress.show(f"imported {self.count()}{share}")


def json_list(values: list[bytes]) -> bytes:
    """Values that are JSON already as a list of them."""
    return b"[%s]" % b",".join(values)


def _read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same, each read while the one before is stored."""
    with ThreadPoolExecutor(1) as pool:
        due = pool.submit(next, batches, None)
        while batch := due.result():
            due = pool.submit(next, batches, None)
            yield batch


# --- the lines ------------------------------------------------------------------------------------


@dataclass
class Batch:
    """Memories as JSON, a large one as it was written, and the lines they stand on, which are not
    always consecutive: blank ones count."""

    memories: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    bytes: int = 0


class LineReader:
    """Reads memories from a binary stream; `name` stands in errors, `first` is the first line.
    Holds one batch and one line at a time, however long the file is."""

    def __init__(self, stream: BinaryIO, name: str, first: int = 1) -> None:
        self._stream = stream
        self._name = name
        self._first = first
        self.number = 0
        """The line that was read last, from 1."""

    def batches(self) -> Iterator[Batch]:
        """The batches, in the order of the lines.  Before BadRecord is raised for a line, what
        stands before it was yielded, so that the lines before the bad one can be imported."""
        batch = Batch()
        try:
            for memory, length in self._records():
                full = len(batch.memories) == MAX_IMPORT or batch.bytes + length >= BATCH_BYTES
                if batch.memories and full:  # an empty batch takes any
                    yield batch
                    batch = Batch()
                batch.memories.append(memory)
                batch.numbers.append(self.number)
                batch.bytes += length + 1
        except BadRecord:
            if batch.memories:
                yield batch
            raise
        if batch.memories:
            yield batch

    def _records(self) -> Iterator[tuple[bytes, int]]:
        while line := self._read():
            self.number += 1
            if self.number < self._first:
                while line and not line.endswith(b"\n"):  # the rest of a line of any length
                    line = self._read()
                continue
            if len(line) > LINE_BYTES:
                self._refuse(f"the line is longer than {size(LINE_BYTES)}")
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if form := next((FORMS[begin] for begin in FORMS if line.startswith(begin)), None):
                    self._refuse(f"the file is {form}, not memories as JSON, one a line")
            if len(line) > MAX_RECORD and b'"blobs":{' in line:
                yield line.strip(), BATCH_BYTES
            elif line.strip():
                yield self._record(line)

    def _read(self) -> bytes:
        try:
            return self._stream.readline(LINE_BYTES + 1)
        except OSError as error:
            raise InputUnusable(path=self._name, detail=error.strerror) from error

    def _record(self, line: bytes) -> tuple[bytes, int]:
        try:
            memory = json.loads(
                line.decode(),
                parse_constant=lambda name: self._refuse(f"{name} is not JSON"),
                object_pairs_hook=self._object,
            )
            packed = json.dumps(memory, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            encoded = packed.encode()
        except json.JSONDecodeError as error:
            self._refuse(f"it is not JSON ({error.msg} at character {error.pos + 1})")
        except UnicodeDecodeError as error:
            self._refuse(f"byte {error.start + 1} is not UTF-8")
        except UnicodeEncodeError:
            self._refuse("a text in it is not Unicode (a lone surrogate)")
        except RecursionError:
            self._refuse("it is nested too deeply")
        except ValueError:
            self._refuse("a number in it is too large")
        if not isinstance(memory, dict):
            self._refuse("it is not a JSON object")
        if len(encoded) > MAX_RECORD:
            self._refuse(f"the memory has {size(len(encoded))}; at most {size(MAX_RECORD)} fit")
        return encoded, max(len(encoded), (count_nodes(encoded) + 1) * BATCH_BYTES // BATCH_NODES)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        try:
            return refuse_twice(pairs)
        except ValueError as error:
            self._refuse(str(error))

    def _refuse(self, detail: str) -> NoReturn:
        raise BadRecord(where=f"{self._name}:{self.number}", detail=detail) from None
