"""Which namespaces a user may reach: rules of the configuration, and what a bound user is bound to.

Names are compared as they are written; one that ends in a star stands for all that begin so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nimad.dataclass import dataclass

DEFAULT = "default"
"""The namespace of a memory that names none."""
LONGEST = 1000
"""Length of the longest name [characters]."""


@dataclass(slots=True, frozen=True)
class Namespaces:
    """Names of namespaces, and beginnings of names that end in a star."""

    names: tuple[str, ...]

    def __contains__(self, namespace: object) -> bool:
        text = str(namespace)
        return any(
            text.startswith(name[:-1]) if name.endswith("*") else text == name
            for name in self.names
        )

    @property
    def home(self) -> str:
        """Where a memory goes that names no namespace: the first name that is a whole one."""
        return next((name for name in self.names if not name.endswith("*")), DEFAULT)


@dataclass(slots=True, frozen=True)
class Rule:
    """What one user, or the members of one group, may read, and read and write."""

    user: str = ""
    group: str = ""
    read: tuple[str, ...] = ()
    control: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Bounds:
    """What a bound user may reach by reading and by control verbs."""

    read: Namespaces
    control: Namespaces

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Bounds:
        """All that some rules give together; who may control may read."""
        chosen = list(rules)
        control = tuple(dict.fromkeys(name for rule in chosen for name in rule.control))
        read = tuple(dict.fromkeys(name for rule in chosen for name in rule.read))
        return cls(Namespaces((*control, *read)), Namespaces(control))


DIRECTIONS = ("both", "push", "pull")
"""What a namespace is shared for: to give its memories to the fleet, to take those of others."""
SYNC_GROUP = "nimad-sync"
"""The group of the helper process that talks to a fleet's hub."""


def with_sync(rules: tuple[Rule, ...], shared: Iterable[str]) -> tuple[Rule, ...]:
    """The rules, and one that binds nimad-sync to the shared namespaces, where there are any."""
    names = tuple(shared)
    return (*rules, Rule(group=SYNC_GROUP, control=names)) if names else rules


def read_rules(value: Any) -> tuple[Rule, ...]:
    """The rules of the configuration; ValueError("must be ...") says which one is wrong."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of rules")
    rules: list[Rule] = []
    for given in value:
        if isinstance(given, Rule):
            rules.append(given)
            continue
        if not isinstance(given, dict) or not given.keys() <= {"user", "group", "read", "control"}:
            raise ValueError("must hold rules of user or group, read, control")
        user, group = (str(given.get(key) or "").strip() for key in ("user", "group"))
        if bool(user) == bool(group):
            raise ValueError("must name a user or a group in each rule, and not both")
        read, control = _names(given.get("read")), _names(given.get("control"))
        if not read and not control:
            raise ValueError("must give each rule something to read or to control")
        rules.append(Rule(user, group, read, control))
    return tuple(rules)


def _names(given: Any) -> tuple[str, ...]:
    found = [] if given is None else given if isinstance(given, list) else [given]
    for name in found:
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST:
            raise ValueError("must hold names of namespaces")
        if "*" in name[:-1]:
            raise ValueError("may have a star only at the end of a name")
    return tuple(found)
