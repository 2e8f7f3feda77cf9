"""Who may do what: the peer of a Unix socket and the groups it belongs to."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from nimad.dataclass import dataclass
from nimad.errors import NamespaceDenied, NotPermitted, OwnerOnly
from nimad.namespaces import Bounds, Rule

log = logging.getLogger(__name__)

CACHE_SECONDS = 60.0
"""Lifetime of an entry read from the user database [seconds]."""
SO_PEERGROUPS = 59  # <asm-generic/socket.h>; Python has no name for it
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True)
class Peer:
    """The process at the other end as it was when it connected; `groups` are its own (gids)."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


def peer_of(connection: socket.socket) -> Peer:
    """Who connected, by the kernel (SO_PEERCRED, SO_PEERGROUPS; unix(7), socket(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        listed = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:  # more than 256 groups, or a kernel before 4.13: the user database decides
        listed = b""
    groups = struct.unpack(f"{len(listed) // 4}I", listed)
    return Peer(pid, uid, gid, frozenset(groups) | {gid})


class Access:
    """Tells who may use the reading and the control verbs.

    root and the daemon's own user always may.  Others need the group: as the kernel saw their
    process (so SupplementaryGroups= and newgrp count) or as the user database has them.  The
    control group may read, too.  A group that does not exist has no members; that is logged once.
    Whom a rule names is bound to its namespaces, whatever groups it is in.  Thread-safe.
    """

    def __init__(
        self,
        read_group: str,
        control_group: str,
        owner: int | None = None,
        rules: Sequence[Rule] = (),
    ) -> None:
        self._owner = os.geteuid() if owner is None else owner
        self.trusted = frozenset({0, self._owner})
        """Users who may do everything: root and the daemon's own."""
        self._lock = threading.Lock()
        self._missing: set[str] = set()
        self.configure(read_group, control_group, rules)

    def configure(self, read_group: str, control_group: str, rules: Sequence[Rule] = ()) -> None:
        """Take other groups and rules from now on; an empty read group lets everyone read."""
        with self._lock:
            self._read, self._control, self._rules = read_group, control_group, tuple(rules)
            self._bounds: dict[Peer, tuple[float, Bounds | None]] = {}
            self._members: dict[tuple[int, int], tuple[float, frozenset[int]]] = {}
            self._gids: dict[str, tuple[float, int | None]] = {}

    def check(self, peer: Peer, access: str, verb: str) -> None:
        """Return when the peer may; else raise NotPermitted with the group to join, OwnerOnly, or
        NamespaceDenied.  May read the user database, once a minute for each user."""
        if peer.uid in self.trusted:
            return
        if (bounds := self.bounds(peer)) is not None:
            if not getattr(bounds, access).names:
                raise NamespaceDenied(uid=peer.uid, verb=verb, detail="it may only read")
            return
        if access == "read" and not self._read:
            return
        wanted = [self._control] if access == "control" else [self._read, self._control]
        gids = [gid for gid in map(self._gid, wanted) if gid is not None]
        if any(gid in peer.groups for gid in gids):
            return
        if gids and not self._groups_of(peer).isdisjoint(gids):
            return
        if self._gid(wanted[0]) is None:
            raise OwnerOnly(uid=peer.uid, verb=verb, key=f"access.{access}_group")
        raise NotPermitted(uid=peer.uid, verb=verb, group=wanted[0])

    def bounds(self, peer: Peer) -> Bounds | None:
        """The namespaces that a peer is bound to; None: it is not bound to any."""
        if peer.uid in self.trusted or not self._rules:
            return None
        peer = replace(peer, pid=0)
        with self._lock:
            when, found = self._bounds.get(peer, (float("-inf"), None))
            rules = self._rules
        if time.monotonic() - when > CACHE_SECONDS:
            groups = self._groups_of(peer) | peer.groups
            mine = [
                rule
                for rule in rules
                if (rule.user and _uid(rule.user) == peer.uid)
                or (rule.group and self._gid(rule.group) in groups)
            ]
            found = Bounds.of(mine) if mine else None
            with self._lock:
                if len(self._bounds) > 1000:
                    self._bounds.clear()
                if rules is self._rules:
                    self._bounds[peer] = (time.monotonic(), found)
        return found

    def _groups_of(self, peer: Peer) -> frozenset[int]:
        """The groups of a user as the user database has them."""
        key = (peer.uid, peer.gid)
        with self._lock:
            when, groups = self._members.get(key, (float("-inf"), frozenset()))
        if time.monotonic() - when > CACHE_SECONDS:
            try:
                groups = frozenset(os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid))
            except (KeyError, OSError):  # a user that exists only as a number
                groups = frozenset({peer.gid})
            with self._lock:
                if len(self._members) > 1000:
                    self._members.clear()
                self._members[key] = (time.monotonic(), groups)
        return groups

    def is_known(self, peer: Peer) -> bool:
        """Whether `check` needs no look into the user database, which may be slow."""
        if peer.uid in self.trusted or not (self._read or self._rules):
            return True
        fresh = time.monotonic() - CACHE_SECONDS
        if self._rules:
            with self._lock:
                when, bounds = self._bounds.get(replace(peer, pid=0), (float("-inf"), None))
            if when <= fresh or bounds is not None:
                return when > fresh
        with self._lock:
            found = [self._gids.get(name) for name in {self._read, self._control} - {""}]
            members = self._members.get((peer.uid, peer.gid))
        if not all(each and each[0] > fresh for each in found):
            return False
        belongs = any(each and each[1] in peer.groups for each in found)
        return belongs or (members is not None and members[0] > fresh)

    def _gid(self, name: str) -> int | None:
        """The id of a group; None when there is none of that name."""
        if not name:
            return None
        with self._lock:
            when, gid = self._gids.get(name, (float("-inf"), None))
        if time.monotonic() - when > CACHE_SECONDS:
            try:
                gid = grp.getgrnam(name).gr_gid
            except KeyError:
                gid = None
                if name not in self._missing:
                    self._missing.add(name)
                    message = "there is no group %s: only root and user %d may use what needs it"
                    log.warning(message, name, self._owner)
            with self._lock:
                self._gids[name] = (time.monotonic(), gid)
        return gid


def _uid(user: str) -> int | None:
    """The id of a user, by name or number; None when there is none of that name."""
    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
