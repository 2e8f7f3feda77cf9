"""`nimactl migrate`: takes over a legacy store, and shows or steers the migrations under way."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nimad.ctl.arguments import Commands, Parser, add_command, add_time_zone, number
from nimad.ctl.client import Client
from nimad.ctl.migration_text import comparison, overview
from nimad.ctl.screen import DIM, Screen
from nimad.ctl.terminal_text import one_line
from nimad.ctl.under_way import shown_under_way
from nimad.ctl.wait import watch
from nimad.errors import OutputUnusable, UsageError, VerifyFailed
from nimad.human import count, size
from nimad.limits import MAX_BATCH

PAGE = 500
"""Number of quarantined rows asked for at a time [rows]."""
STRATEGIES = ("full", "incremental", "lazy")
EVERY = "*"
"""Name that --status, --pause, --resume and --now have when none is given: all sources."""
GRAPH = "nima-sqlite"
"""Kind of a source whose copy is one database, not an archive of several files."""
DECLINED = 1
"""Exit code when the question of --rollback was answered with no."""
STEERING = {"pause": "paused", "resume": "goes on", "now": "goes on now, idle or not"}
"""Actions that only call their verb, and what is said of each source afterwards."""
BELONGS = {
    "strategy": "PATH",
    "batch_size": "PATH",
    "start_offset": "PATH",
    "name": "PATH",
    "dry_run": "PATH",
    "wait": "PATH",
    "follow": "PATH",
    "every": "PATH",
    "watch": "--status",
    "yes": "--rollback",
    "to": "--restore",
}
"""Options that mean something only beside another."""


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = add_command(
        commands,
        "migrate",
        run_migrate,
        "take over a legacy NIMA store, or look after such a migration",
        "nimactl copies the store as it is at one moment and hands the copy to nimad, which moves"
        " it in batch by batch; the store itself is only read. Running it again adds nothing that"
        " is there already.",
    )
    _register_actions(parser)
    taking = parser.add_argument_group("with PATH")
    taking.add_argument(
        "--strategy",
        choices=STRATEGIES,
        help="full: now, as fast as memory allows; incremental: when nothing else is to be done;"
        " lazy: the same, but memories are encoded only when a query finds them by their words",
    )
    taking.add_argument(
        "--batch-size",
        metavar="N",
        type=number(1, MAX_BATCH),
        help="rows at a time; by default the batches follow free memory",
    )
    taking.add_argument(
        "--start-offset", metavar="N", type=number(0, 2**53), help="leave the first N rows out"
    )
    taking.add_argument(
        "--name", metavar="NAME", help="the name of the source; default by its file"
    )
    taking.add_argument(
        "--dry-run", action="store_true", help="only report what there is; nothing is written"
    )
    taking.add_argument(
        "--wait", action="store_true", help="follow it until all is verified; Ctrl-C leaves it be"
    )
    taking.add_argument(
        "--follow",
        action="store_true",
        help="keep handing over what the store gets, until Ctrl-C or SIGTERM",
    )
    taking.add_argument(
        "--every",
        metavar="SECONDS",
        type=number(1, 86_400),
        help="with --follow: between two looks at the store (30)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="with --status: show it anew each second until done"
    )
    parser.add_argument(
        "--to", metavar="FILE", help="with --restore: write there; a directory for several files"
    )
    add_time_zone(parser)
    parser.add_argument("--yes", action="store_true", help="with --rollback: do not ask")


def _register_actions(parser: Parser) -> None:
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        help="what nima-core left: graph.sqlite (schema 1 or 3), a PyTorch checkpoint (.pt), a"
        " sparse memory (.pkl, .json), or a directory with any of them",
    )
    every = {"metavar": "NAME", "nargs": "?", "const": EVERY}
    action.add_argument("--status", help="show how far the sources are", **every)  # type: ignore[arg-type]
    action.add_argument("--pause", help="stop at the next batch", **every)  # type: ignore[arg-type]
    action.add_argument("--resume", help="go on after a pause or a failure", **every)  # type: ignore[arg-type]
    action.add_argument("--now", help="do not wait for an idle moment", **every)  # type: ignore[arg-type]
    action.add_argument(
        "--verify", metavar="NAME", help="compare every row with the copy of the source"
    )
    action.add_argument(
        "--rollback", metavar="NAME", help="remove exactly what came from a source; asks first"
    )
    action.add_argument(
        "--quarantine", metavar="NAME", help="list the rows that were not taken over, and why"
    )
    action.add_argument("--retry-quarantined", metavar="NAME", help="look at those rows again")
    action.add_argument(
        "--restore", metavar="NAME", help="write the copy of the source to the new file --to"
    )
    action.add_argument(
        "--forget-backup", metavar="NAME", help="delete the copy of the source that nimad keeps"
    )


def run_migrate(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl migrate`: one action."""
    actions = {
        "status": run_status,
        "verify": run_verify,
        "rollback": run_rollback,
        "quarantine": run_quarantine,
        "retry_quarantined": run_retry,
        "restore": run_restore,
        "forget_backup": run_forget_backup,
    }
    names = ("path", *STEERING, *actions)
    chosen = next((name for name in names if getattr(args, name) is not None), None)
    if chosen is None:
        raise UsageError(detail="migrate needs the PATH of a legacy store, or --status.")
    for option, owner in BELONGS.items():
        given = getattr(args, option)
        if given is not None and given is not False and owner.strip("-").lower() != chosen:
            shown = option.replace("_", "-")
            raise UsageError(detail=f"--{shown} means something only with {owner}.")
    if chosen == "path":
        from nimad.ctl.handover import follow, take_over

        return (follow if args.follow else take_over)(args, client, screen)
    if chosen not in STEERING:
        return actions[chosen](args, client, screen)
    result = client.call(f"migrate.{chosen}", name=_name(getattr(args, chosen)))
    done = [one_line(f"{source}: {STEERING[chosen]}") for source in result["sources"]]
    return screen.answer(result, *(done or ["No migration is under way."]))


def run_status(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl migrate --status`."""
    name = _name(args.status)
    if args.watch:
        return watch(client, screen, name)
    result = client.call("migrate.status", name=name)
    return screen.answer(result, *overview(screen, result))


def run_verify(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl migrate --verify`: compare every row with the copy of the source."""
    with shown_under_way(args, screen, "migrate.verify"):
        result = client.call("migrate.verify", name=args.verify)
    if screen.json:
        screen.result(result)
    else:
        comparison(screen, result)
    if result["ok"]:
        return 0
    kinds = ("memories", "relations", "turns", "hypervectors")
    faults = ("differing", "missing", "added")
    rows = sum(result.get(kind, {}).get(fault, 0) for kind in kinds for fault in faults)
    differences = rows + int(result.get("vectors_missing", 0))
    return screen.fail(VerifyFailed(name=args.verify, differences=differences))


def run_rollback(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl migrate --rollback`; asks first, at a terminal."""
    # without a terminal, the command itself is the consent
    if not args.yes and sys.stdin is not None and sys.stdin.isatty():
        sources = client.call("migrate.status", name=args.rollback)["sources"]
        held = count(sources[0]["copied"], "memory") if sources else "the memories"
        screen.flush()
        question = f"Remove {held} that came from {one_line(args.rollback)}? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            screen.note("nothing was changed.")
            return DECLINED
    with shown_under_way(args, screen, "migrate.rollback"):
        result = client.call("migrate.rollback", name=args.rollback)
    removed = [
        count(result["removed"].get(kind, 0), thing)
        for kind, thing in (("memories", "memory"), ("relations", "relation"), ("turns", "turn"))
    ]
    told = one_line(f"rolled back {result['name']}: {', '.join(removed)} removed")
    return screen.answer(result, told)


def run_forget_backup(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl migrate --forget-backup`."""
    result = client.call("migrate.forget_backup", name=args.forget_backup)
    freed = f"{size(result['freed_bytes'])} freed; it can no longer be verified"
    return screen.answer(result, one_line(f"deleted the copy of {result['name']}: {freed}"))


def run_quarantine(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """List the rows of a source that were not taken over, all of them, with the reason."""

    name = args.quarantine
    rows: list[dict[str, Any]] = []
    while True:
        result = client.call("migrate.quarantine", name=name, offset=len(rows), limit=PAGE)
        rows += result["rows"]
        if len(rows) >= result["total"] or not result["rows"]:
            break
    told = [
        screen.style(one_line(f"{row['kind']} {row['key']}"), DIM) + f"  {one_line(row['reason'])}"
        for row in rows
    ]
    again = f"{count(len(rows), 'row')}; --retry-quarantined {one_line(name)} tries them again"
    told.append(again if rows else f"{one_line(name)}: every row was taken over whole.")
    return screen.answer({**result, "rows": rows}, *told)


def run_retry(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Have the quarantined rows of a source looked at again."""

    name = args.retry_quarantined
    result = client.call("migrate.retry_quarantined", name=name)
    told = [f"{one_line(name)}: nothing is in quarantine."]
    if result["retried"]:
        rows = count(result["retried"], "row")
        told = [f"{one_line(name)}: {rows} will be looked at again"]
        told.append("nimactl migrate --status --watch shows how far it is.")
    return screen.answer(result, *told)


def run_restore(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """Write the copy of a source that nimad keeps to a new file, or its files to a directory."""
    import tarfile

    if args.to is None:
        raise UsageError(detail="--restore needs --to FILE, a path where nothing is yet.")
    target = Path(args.to)
    part = target.with_name(f"{target.name}.part")
    try:
        if os.path.lexists(target):
            raise FileExistsError(17, "it exists; nothing is overwritten")
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputUnusable(path=target, detail=error.strerror) from error
    try:
        try:
            result = client.call("migrate.restore", fd=fd, name=args.restore)
        finally:
            os.close(fd)
        try:
            if result["kind"] == GRAPH:
                part.rename(target)
            else:
                target.mkdir(mode=0o700)
                _unpack(part, target)
                part.unlink()
        except (OSError, tarfile.TarError) as error:
            raise OutputUnusable(path=target, detail=str(error)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    name, path, where = (one_line(text) for text in (result["name"], result["path"], str(target)))
    told = f"{name} as it was at {path} is in {where} ({size(result['bytes'])}, digest compared)"
    return screen.answer({**result, "to": str(target.absolute())}, told)


def _unpack(part: Path, target: Path) -> None:
    """The archive's ordinary files, within the target; whatever else it may hold is refused."""
    import tarfile

    with tarfile.open(part) as archive:
        for member in archive:
            inside = Path(member.name)
            if not member.isfile() or inside.is_absolute() or ".." in inside.parts:
                raise OSError(
                    f"the archive has an entry that is no file of ours: {member.name[:80]!r}"
                )
            path = target / inside
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source = archive.extractfile(member)
            assert source is not None  # an ordinary file has content
            with source, path.open("xb") as file:
                while chunk := source.read(1 << 20):
                    file.write(chunk)


def _name(given: str) -> str | None:
    return None if given == EVERY else given
