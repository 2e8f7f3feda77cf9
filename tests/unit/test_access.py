"""Who may do what: root, the owner, members of the groups, and nobody else."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import socket

import pytest

from nimad import namespaces
from nimad.errors import NotPermitted, OwnerOnly
from nimad.serve import access
from nimad.serve.access import Access, Peer, peer_of

OWNER = 4242
STRANGER = Peer(1, 54321, 54321)
NO_SUCH_GROUP = "no-such-group-here"


@pytest.fixture
def group() -> grp.struct_group:
    """Some group of this machine."""
    return grp.getgrall()[-1]


def may(rules: Access, peer: Peer, kind: str) -> bool:
    try:
        rules.check(peer, kind, "query")
    except (NotPermitted, OwnerOnly):
        return False
    return True


def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == {*os.getgroups(), os.getegid()}


@pytest.mark.parametrize("kind", ["read", "control"])
@pytest.mark.parametrize("uid", [0, OWNER])
def test_root_and_the_owner_always_may(uid: int, kind: str) -> None:
    rules = Access(NO_SUCH_GROUP, "", owner=OWNER)
    assert may(rules, Peer(1, uid, 54321), kind)
    assert may(rules, Peer(1, uid, 54321), kind)


def test_a_process_in_the_group_may(group: grp.struct_group) -> None:
    rules = Access(group.gr_name, group.gr_name, owner=OWNER)
    member = Peer(1, 54321, 54321, frozenset({54321, group.gr_gid}))
    assert may(rules, member, "read") and may(rules, member, "control")
    assert not may(rules, STRANGER, "read") and not may(rules, STRANGER, "control")


def test_the_user_database_counts_too() -> None:
    listed = [(g, user) for g in grp.getgrall() for user in g.gr_mem]
    known = [(g, pwd.getpwnam(user)) for g, user in listed if _exists(user)]
    if not known:
        pytest.skip("no user of this machine has a supplementary group")
    group, user = known[0]
    rules = Access(group.gr_name, group.gr_name, owner=OWNER)
    assert may(rules, Peer(1, user.pw_uid, user.pw_gid), "control")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def test_readers_may_not_control_but_controllers_may_read() -> None:
    readers, controllers = grp.getgrall()[0], grp.getgrall()[-1]
    rules = Access(readers.gr_name, controllers.gr_name, owner=OWNER)
    reader = Peer(1, 54321, 54321, frozenset({readers.gr_gid}))
    controller = Peer(1, 54321, 54321, frozenset({controllers.gr_gid}))
    assert may(rules, reader, "read") and not may(rules, reader, "control")
    assert may(rules, controller, "read") and may(rules, controller, "control")


def test_an_empty_read_group_lets_everyone_read_and_nobody_control() -> None:
    rules = Access("", "", owner=OWNER)
    assert may(rules, STRANGER, "read")
    assert not may(rules, STRANGER, "control")


def test_a_refusal_names_the_group_to_join(group: grp.struct_group) -> None:
    rules = Access(group.gr_name, group.gr_name, owner=OWNER)
    with pytest.raises(NotPermitted) as caught:
        rules.check(STRANGER, "control", "remember")
    assert "remember" in caught.value.message and group.gr_name in caught.value.next_step


def test_a_missing_group_has_no_members_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = Access(NO_SUCH_GROUP, NO_SUCH_GROUP, owner=OWNER)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(OwnerOnly) as caught:
                rules.check(STRANGER, "read", "query")
    assert "access.read_group" in caught.value.next_step
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert NO_SUCH_GROUP in caplog.text and len(caplog.records) == 1


def test_a_look_into_the_user_database_counts_for_a_minute(
    monkeypatch: pytest.MonkeyPatch, group: grp.struct_group
) -> None:
    looks = []
    real = os.getgrouplist
    user = pwd.getpwall()[-1]
    monkeypatch.setattr(os, "getgrouplist", lambda *given: looks.append(given) or real(*given))
    clock = [1000.0]
    monkeypatch.setattr(access.time, "monotonic", lambda: clock[0])
    rules = Access(NO_SUCH_GROUP, group.gr_name, owner=OWNER)
    for seconds in (0, 30, 59, 61, 62):
        clock[0] = 1000.0 + seconds
        may(rules, Peer(1, user.pw_uid, 54321), "control")
    assert len(looks) == 2


def test_new_groups_count_at_once(group: grp.struct_group) -> None:
    rules = Access(NO_SUCH_GROUP, NO_SUCH_GROUP, owner=OWNER)
    member = Peer(1, 54321, 54321, frozenset({group.gr_gid}))
    assert not may(rules, member, "read")
    rules.configure(group.gr_name, group.gr_name)
    assert may(rules, member, "read")


def test_the_helper_of_a_fleet_is_bound_to_what_is_shared(
    group: grp.struct_group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else its process may do: it is the one that the network reaches."""
    monkeypatch.setattr(namespaces, "SYNC_GROUP", group.gr_name)
    rules = Access(
        group.gr_name, group.gr_name, OWNER, namespaces.with_sync((), {"family": "push"})
    )
    bounds = rules.bounds(Peer(1, 54321, 54321, frozenset({group.gr_gid})))
    assert bounds is not None and "family" in bounds.control and "private" not in bounds.read
    assert rules.bounds(STRANGER) is None and namespaces.with_sync((), {}) == ()
