"""What a verb is: its name, who may call it, what it takes, and the function that answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import NamespaceDenied, UsageError
from nimad.namespaces import DEFAULT, Namespaces
from nimad.serve import params
from nimad.serve.access import Peer
from nimad.serve.protocol import shown


@dataclass
class Call:
    """One request on its way to a verb.

    `fds` are the descriptors that came with it, at most one; the server closes what is still in the
    list when the verb returns, so a verb that keeps one pops it.  `within` are the namespaces that
    the peer is bound to; None: all.
    """

    params: dict[str, Any]
    peer: Peer
    fds: list[int] = field(default_factory=list)
    within: Namespaces | None = None

    @property
    def home(self) -> str:
        """The namespace of a memory that names none."""
        return DEFAULT if self.within is None else self.within.home

    def check_namespace(self, namespace: str) -> None:
        """Raise NamespaceDenied for a namespace that the peer may not write to."""
        if self.within is not None and namespace not in self.within:
            detail = f"the namespace {shown(namespace)} is not its own"
            raise NamespaceDenied(uid=self.peer.uid, verb="write", detail=detail)


@dataclass(frozen=True)
class Verb:
    """A method of the protocol.

    `access` is "read" or "control".  `run` answers from a worker thread; NimadErrors go to the
    client, anything else is a bug that is logged.  `takes` are the parameters, which `run` gets
    checked and with their defaults (None: as they are); `descriptor` says of what one must come
    with the request.

    Reading verbs never queue behind writing ones, nor either behind lengthy ones (nimad.limits):
    each kind has threads of its own.  `watching` ones ask how nimad is, or give it work for idle
    hours, without using it: they do not end its idleness.  `bounded` ones keep to `Call.within`;
    the others are refused to a user that is bound to namespaces.  `shorten` makes a result that
    does not fit in a frame smaller; without it the request is refused (ReplyTooLarge).
    """

    name: str
    access: str
    run: Callable[[Call], Any]
    takes: params.Spec | None = None
    descriptor: str = ""
    watching: bool = False
    bounded: bool = False
    shorten: Callable[[Any], Any] | None = None

    def answer(self, call: Call) -> Any:
        """The result for a request; raises UsageError for what it does not take."""
        if self.takes is not None:
            call.params = params.read(self.name, self.takes, call.params)
        if self.descriptor and not call.fds:
            raise UsageError(detail=f"{self.name} needs the descriptor of {self.descriptor}")
        return self.run(call)
