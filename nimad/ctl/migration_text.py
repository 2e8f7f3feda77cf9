"""Migrations as text: how far each source is, what a dry run found, how a comparison ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from nimad.ctl.screen import BOLD, DIM, GREEN, RED, YELLOW, Screen, bar
from nimad.ctl.terminal_text import one_line, safe, shorten, wrap
from nimad.human import clock, count, share, size, took
from nimad.model import COUNTED_STAGES, STATES_AT_REST, State, progress_of

COLOURS = {
    State.VERIFIED: GREEN,
    State.FAILED: RED,
    State.PAUSED: YELLOW,
    State.ROLLED_BACK: YELLOW,
}
QUARANTINE_LINES = 5
"""Number of reasons shown for rows that were not taken over; --json has more [lines]."""
KINDS = (
    ("memories", "memory"),
    ("relations", "relation"),
    ("turns", "turn"),
    ("hypervectors", "hypervector"),
)


def stage_line(
    source: dict[str, Any], *, idle: bool, because: str | None = None
) -> tuple[str, float, str]:
    """The state, the whole's share that is done, and one line with a bar for the terminal."""
    fraction = progress_of(source)
    parts = [one_line(source["name"]), _state(source), bar(fraction), share(fraction, 1)]
    if source.get("rows_per_second"):
        parts.append(f"{source['rows_per_second']:,.0f}/s")
    if source.get("eta_seconds") is not None:
        parts.append(f"{clock(source['eta_seconds'])} left")
    if _waits(source) and not idle:
        parts.append(f"(waits: {one_line(because)})" if because else "(waits for an idle moment)")
    return source["state"], fraction, "  ".join(parts)


def _waits(source: dict[str, Any]) -> bool:
    """Whether it moves on in idle moments only."""
    return source.get("strategy") in ("incremental", "lazy") and not source.get("now")


def brief(source: dict[str, Any]) -> str:
    """The same without a bar, as a line of migration.log."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    eta = source.get("eta_seconds")
    left = "unknown" if eta is None else f"{eta:.0f}s"
    name = one_line(source["name"])
    done = f"{100 * progress_of(source):.1f}% complete, ETA: {left}"
    return f"[{stamp}] [INFO] {name}: {_state(source)} ({done})"


def overview(screen: Screen, result: dict[str, Any]) -> Iterator[str]:
    """The lines of `nimactl migrate --status`, safe to print."""
    if not result["sources"]:
        yield "Nothing was migrated yet: nimactl migrate PATH takes over a legacy store."
    for place, source in enumerate(result["sources"]):
        if place:
            yield ""
        yield from _source(screen, source)
    moving = [source for source in result["sources"] if source["state"] not in STATES_AT_REST]
    if moving and result.get("because") and any(_waits(source) for source in moving):
        name = f" {one_line(moving[0]['name'])}" if len(moving) == 1 else ""
        yield f"not idle: {one_line(result['because'])}"
        yield f"nimactl migrate --now{name} does not wait"
    if moving and result.get("free_memory_bytes"):
        yield f"{size(result['free_memory_bytes'])} of memory free"


def _source(screen: Screen, source: dict[str, Any]) -> Iterator[str]:
    state, fraction = source["state"], progress_of(source)
    name = screen.style(one_line(source["name"]), BOLD)
    coloured = screen.style(_state(source), COLOURS.get(state, BOLD))
    yield f"{name}  {coloured}  {bar(fraction)} {share(fraction, 1)}"
    yield shorten(
        f"  from {source['path']} ({source.get('strategy') or source['kind']})", screen.width
    )
    if state == State.ROLLED_BACK:
        return
    done = [f"{stage} {source[stage]:,}" for stage in COUNTED_STAGES]
    yield f"  {count(source['total'], 'memory')}: {', '.join(done)}"
    yield f"  {count(source['relations'], 'relation')}, {count(source['turns'], 'turn')}"
    if state not in STATES_AT_REST:
        why = source.get("batch_reason")
        parts = [f"batches of {source['batch_size']:,}{f' ({one_line(why)})' if why else ''}"]
        if source.get("rows_per_second"):
            parts.append(f"{source['rows_per_second']:,.0f} rows a second")
        if source.get("eta_seconds") is not None:
            parts.append(f"{clock(source['eta_seconds'])} left")
        yield f"  {', '.join(parts)}"
    if state == State.LAZY:
        made = f"{source['encoded']:,} of {source['copied']:,} encoded"
        yield f"  lazy: {made}; all are found by their words, and encoded when a query finds them"
    yield from (f"  {text}" for text in _since(source))
    if number := source["quarantined"]:
        rows = f"{count(number, 'row')} quarantined: not taken over, or damaged"
        yield screen.style(f"  {rows}", YELLOW)
        shown = (source.get("quarantine") or [])[:QUARANTINE_LINES]
        for row in shown:
            yield from _wrapped(screen, f"{row['kind']} {row['key']}: {row['reason']}", "    ", DIM)
        if number > len(shown):
            yield f"    and {number - len(shown):,} more"
    if source.get("error"):
        yield from _wrapped(screen, f"stopped: {source['error']}", "  ", RED)
    if state in (State.PAUSED, State.FAILED):
        yield f"  nimactl migrate --resume {one_line(source['name'])} goes on"


def _state(source: dict[str, Any]) -> str:
    return one_line(source["state"]).replace("_", " ")


def _since(found: dict[str, Any]) -> Iterator[str]:
    """What became of rows after they were taken over, here and in the source."""
    if number := found.get("forgotten"):
        yield f"{count(number, 'memory')} forgotten here on request"
    changed, removed = found.get("changed", 0), found.get("removed", 0)
    if changed or removed:
        yield (
            f"{count(changed + removed, 'row')} changed or deleted in the source since;"
            " what was taken over first is kept"
        )


def _wrapped(screen: Screen, text: str, indent: str, colour: str) -> Iterator[str]:
    room = None if screen.width is None else max(screen.width - len(indent), 20)
    for line in wrap(safe(text), room):
        yield indent + screen.style(line, colour)


def attached(screen: Screen, result: dict[str, Any], *, last: bool = True) -> None:
    """What `nimactl migrate PATH` says when nimad has taken the copy."""
    name, total = one_line(result["name"]), count(result["total"], "memory")
    if result["new"]:
        screen.line(f"nimad takes over {total} as {screen.style(name, BOLD)}.")
    else:
        screen.line(f"{screen.style(name, BOLD)} is known already ({total}).")
    show_notes(screen, result["report"])
    if last:
        screen.line("nimactl migrate --status --watch shows how far it is.")


def show_notes(screen: Screen, report: dict[str, Any]) -> None:
    """What its owner should know of a source, one paragraph each."""
    for note in report.get("notes") or []:
        screen.paragraph(note, "  ")


def forecast(screen: Screen, result: dict[str, Any]) -> None:
    """What `--dry-run` says: what there is, what it will take, what will not come over."""
    report = result["report"]
    known = "new" if result["new"] else "known already"
    name = screen.style(one_line(result["name"]), BOLD)
    schema = f", schema {report['schema']}" if report["schema"] else ""
    screen.line(f"{name} ({known}{schema}); nothing was written")
    rows: dict[str, str] = {}
    layers = ", ".join(f"{number:,} {one_line(name)}" for name, number in report["layers"].items())
    rows["memories"] = f"{report['memories']:,}" + (f" ({layers})" if layers else "")
    if report["already"]:
        rows["here already"] = f"{report['already']:,}"
    dangling = f" ({report['dangling']:,} more lead nowhere)" if report["dangling"] else ""
    rows["relations"] = f"{report['relations']:,}{dangling}"
    rows["turns"] = f"{report['turns']:,}"
    if vectors := report.get("vectors"):
        rows["hypervectors"] = f"{vectors:,} of {report['dimension']:,} dimensions"
    rows["text"] = size(report["text_bytes"])
    rows["batches"] = f"{report['batches']:,} of {report['batch_size']:,}"
    rows["time"] = f"about {max(1, round(report['estimate_seconds'])):,} s without a pause"
    backup = f"{size(report['backup_bytes'])} of it the backup"
    free = f"{size(report['free_bytes'])} are free"
    verdict = "" if report.get("fits", True) else ": it will not fit"
    rows["disk"] = f"about {size(report['estimate_bytes'])}, {backup}; {free}{verdict}"
    for label, text in rows.items():
        screen.line(f"  {label:<14}{text}")
    show_notes(screen, report)
    if report["refusals"]:
        screen.line(screen.style("  will not come over:", YELLOW))
        for row in report["refusals"]:
            screen.paragraph(f"{row['kind']} {row['key']}: {row['reason']}", "    ")


def comparison(screen: Screen, result: dict[str, Any]) -> None:
    """What `--verify` found: identical, or a table of what is not."""
    name = screen.style(one_line(result["name"]), BOLD)
    taken = f"compared in {took(result['took_ms'])}"
    if result["ok"]:
        same = [count(result[kind]["identical"], thing) for kind, thing in _kinds(result)]
        verdict = screen.style("identical with its source", GREEN)
        screen.line(f"{name} is {verdict}: {', '.join(same)}; {taken}")
    else:
        screen.line(f"{name} {screen.style('differs from its source', RED)}; {taken}")
        heads = ("expected", "found", "identical", "differing", "missing", "added")
        screen.line("  " + " " * 12 + "".join(f"{head:>11}" for head in heads))
        for kind, _ in _kinds(result):
            cells = "".join(f"{result[kind].get(head, 0):>11,}" for head in heads)
            screen.line(f"  {kind:<12}{cells}")
        if missing := result.get("vectors_missing"):
            screen.line(f"  {count(missing, 'memory')} without a vector: nimactl rebuild blocks")
    if waiting := result.get("vectors_waiting"):
        screen.line(f"{count(waiting, 'memory')} of a lazy source not encoded yet: not compared")
    for text in _since(result):
        screen.line(text)
    if number := result.get("quarantined"):
        screen.line(f"{count(number, 'row')} quarantined (nimactl migrate --status tells why)")
    for found in result["differences"]:
        what = f"{found['kind']} {found['id']}: {found['field']}: {found['detail']}"
        screen.paragraph(what, "  ")


def _kinds(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The kinds of rows that were compared; most sources have no hypervectors."""
    found = [(kind, thing) for kind, thing in KINDS if kind in result]
    return [each for each in found if each[0] != "hypervectors" or result[each[0]]["expected"]]
