"""The first page: how nimad is, what it holds, and what that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nimad.client.client import Client
from nimad.human import count, share, size, span
from nimad.web.charts import bar, columns
from nimad.web.exchange import Page, Request, link_to
from nimad.web.html import Child, Html, tag
from nimad.web.layout import bar_row, facts, moment, note, panel
from nimad.web.time_pages import over_time

MOST_VERBS = 8
"""Number of verbs whose time is shown [verbs]."""
GRAPHS = (
    ("Growth", "memories", "memories"),
    ("Answer time", "median_ms", "median of a day's queries in ms"),
)
"""What is drawn day by day: title, field of the history, what it counts."""
DISK_PARTS = {
    "records": "memories",
    "words": "index of words",
    "blocks": "index of meaning",
    "dense": "hypervectors",
    "graph": "graph",
    "columns": "columns",
    "snapshots": "backups of sources",
    "aside": "damaged, set aside",
    "log": "migration.log",
}


def show_status(request: Request, daemon: Client) -> Page:
    """How nimad is, and what it holds."""
    status = daemon.call("status", history=True)
    if status.get("unread"):
        return Page("Status", _health(status))
    figures = []
    links = {"memories": "feed", "turns": None, "relations": None, "sources": "sources"}
    for name, path in links.items():
        if name in status:
            label = tag("a", name, href=path) if path else name
            figures.append(tag("div", tag("b", count(status[name])), tag("span", label)))
    content: list[Child] = [_health(status), tag("div", figures, class_="figures")]
    content.append(over_time(daemon, whole=False))
    if status.get("bound"):
        return Page("Status", [*content, _namespaces(status)])
    content.append(_days(status.get("history") or []))
    families = daemon.call("metrics")["families"]
    samples = {family["name"]: family["samples"] for family in families}
    backup = samples["nimad_last_backup_timestamp_seconds"][0][-1]
    content.append(tag("div", _parts(status, backup), _disk(status), class_="two"))
    answers = _answers(samples["nimad_request_duration_seconds"])
    content.append(tag("div", _namespaces(status), answers, class_="two"))
    return Page("Status", content)


def _health(status: Mapping[str, Any]) -> list[Html]:
    """Whether anything needs a person."""
    found = [
        note([tag("b", f"{part} is out of service. "), reason], "bad")
        for part, reason in (status.get("degraded") or {}).items()
    ]
    found += [
        note([tag("b", f"{work} is not finished. "), reason], "warn")
        for work, reason in (status.get("waiting") or {}).items()
    ]
    found += [note(text, "warn") for text in status.get("clock", {}).get("notes", ())]
    up = span(status["uptime_seconds"])
    return found or [note(["All parts are in service, up for ", up, "."], "good")]


def _days(history: Sequence[Mapping[str, Any]]) -> Html | None:
    """How it grew, and how long answers took, day by day; None before there are two."""
    if len(history) < 2:
        return None
    ends = tag("div", [tag("span", history[place]["day"]) for place in (0, -1)], class_="axis")
    shown = []
    for title, field, unit in GRAPHS:
        days = [(day["day"], round(day[field] or 0, 1), None) for day in history]
        most = max(number for _, number, _ in days)
        told = tag("p", f"{unit}, up to {most:,}", class_="dim")
        shown.append(panel(title, told, columns(days, f"{title}, day by day"), ends))
    return tag("div", shown, class_="two")


def _parts(status: Mapping[str, Any], backup: float) -> Html:
    embedder, blocks, graph = status["embedder"], status["blocks"], status["graph"]
    backlog = blocks.get("backlog", 0)
    done, total = embedder.get("done", 0), embedder.get("total", 0)
    rows: dict[str, Child] = {
        "meaning": f"{embedder['name']}, {embedder['dims']} dimensions",
        "encoded": f"{count(done)} of {count(total)}" if done != total or backlog else "all",
        "graph": "off" if graph["engine"] == "none" else graph["engine"],
        "memory": f"{size(status['memory']['pss_bytes'])} used,"
        f" {size(status['memory']['available_bytes'])} available",
        "written": f"{size(status['written_bytes'])} since the start"
        if status.get("written_bytes")
        else None,
        "last backup": moment(int(backup * 1000)) if backup else "none is known",
        "requests": f"{count(status['requests'])}, {count(status['clients'], 'client')} now",
        "version": f"nimad {status['version']}, process {status['pid']}",
        "socket": status["socket"],
    }
    progress = None
    if done != total:
        progress = bar(done / total, f"{share(done, total)} encoded with {embedder['wanted']}")
    return panel("Parts", progress, facts(rows))


def _answers(samples: Sequence[tuple[str, Mapping[str, str], float]]) -> Html:
    """How long the verbs that are asked most took, in the mean, since the start."""
    sums = {labels["method"]: value for end, labels, value in samples if end == "_sum"}
    counts = {labels["method"]: int(value) for end, labels, value in samples if end == "_count"}
    often = sorted(counts, key=lambda verb: -counts[verb])[:MOST_VERBS]
    means = {verb: sums[verb] / counts[verb] for verb in often if counts[verb]}
    longest = max(means.values(), default=0.0)
    rows = [
        bar_row(f"{verb} ({count(counts[verb])})", mean, longest, f"{1000 * mean:.1f} ms")
        for verb, mean in means.items()
    ]
    return panel("Answers, and their mean time", tag("ul", rows, class_="bars"))


def _disk(status: Mapping[str, Any]) -> Html:
    disk = status["disk"]
    total = disk["total"]
    taken = {name: disk.get(name, 0) for name in DISK_PARTS}
    rows = [
        bar_row(about, taken[name], total, size(taken[name]))
        for name, about in DISK_PARTS.items()
        if taken[name]
    ]
    free = tag("p", f"{size(total)} taken, {size(disk['free'])} free", class_="dim")
    return panel("Disk", free, tag("ul", rows, class_="bars"))


def _namespaces(status: Mapping[str, Any]) -> Html:
    spaces = status.get("namespaces") or {}
    most = max(spaces.values(), default=0)
    rows = [
        bar_row(tag("bdi", name), number, most, count(number), link_to("feed", namespace=name))
        for name, number in spaces.items()
    ]
    if not rows:
        hint = tag("code", 'nimactl remember "The kettle is fixed."')
        return panel("Namespaces", tag("p", "Nothing is remembered yet. ", hint, class_="empty"))
    return panel("Namespaces", tag("ul", rows, class_="bars"))
