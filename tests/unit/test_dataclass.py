"""nimad.dataclass does what dataclasses.dataclass does: each class is made by both and compared."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

from nimad.dataclass import dataclass

OPTIONS = [
    {"frozen": frozen, "slots": slots, "eq": eq}
    for frozen, slots, eq in itertools.product((False, True), repeat=3)
]


def made_by(decorator: Callable[..., Any], **options: bool) -> tuple[type, type]:
    """Two classes, the second derived from the first, with every kind of field."""

    @decorator(**options)
    class Part:
        name: str
        numbers: list[int] = dataclasses.field(default_factory=list)
        size: int = dataclasses.field(default=3, repr=False)
        note: str = dataclasses.field(default="", compare=False)
        kind: ClassVar[str] = "part"

        def twice(self) -> int:
            return self.size * 2

    @decorator(**options)
    class Whole(Part):
        """A whole."""

        made: dict[str, int] = dataclasses.field(default_factory=dict, init=False)
        size: int = 7
        last: Any = None

    return Part, Whole


@pytest.fixture(params=OPTIONS, ids=str)
def both(request: pytest.FixtureRequest) -> list[tuple[type, type]]:
    return [made_by(each, **request.param) for each in (dataclass, dataclasses.dataclass)]


def outcome(action: Callable[[], Any]) -> Any:
    """What an action gives, or the class of its error."""
    try:
        return action()
    except Exception as error:
        return type(error), isinstance(error, dataclasses.FrozenInstanceError)


def shown(cls: type, *args: Any, **more: Any) -> str:
    return repr(cls(*args, **more))


GIVEN = [
    (("a",), {}),
    (("a", [1], 2, "n"), {}),
    (("a",), {"note": "other"}),
    (("a",), {"size": 9, "numbers": [2]}),
    ((), {"name": "b"}),
    ((), {}),
    (("a", [], 1, "", 5, 6, 7), {}),
    (("a",), {"unknown": 1}),
]


@pytest.mark.parametrize("place", [0, 1], ids=["base", "derived"])
def test_what_is_made_compared_and_shown_is_the_same(
    both: list[tuple[type, type]], place: int
) -> None:
    def all_of(cls: type) -> list[Any]:
        seen = [outcome(partial(shown, cls, *args, **more)) for args, more in GIVEN]
        made = [cls(*args, **more) for args, more in GIVEN[:5]]
        seen += [one == other for one in made for other in made]
        seen += [made[0] == object(), cls("a").twice()]
        seen += [outcome(lambda: hash(cls("a", ())) == hash(cls("a", (), note="x")))]
        seen += [outcome(lambda: hash(made[1]) is None)]
        seen += [dataclasses.asdict(made[1]), dataclasses.replace(made[1], name="z").name]
        seen += [(f.name, f.type, f.init, f.repr, f.compare) for f in dataclasses.fields(cls)]
        seen += [cls.__match_args__, hasattr(cls("a"), "__dict__")]
        seen += [outcome(lambda: setattr(made[0], "name", "new")), made[0].name]
        seen += [outcome(lambda: setattr(made[0], "unknown", 1)) is None]
        seen += [outcome(lambda: delattr(made[0], "name")), outcome(lambda: made[0].name)]
        return seen

    mine, theirs = (all_of(pair[place]) for pair in both)
    assert mine == theirs


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("slots", [False, True])
def test_what_a_class_does_itself_stays(frozen: bool, slots: bool) -> None:
    @dataclass(frozen=frozen, slots=slots)
    class Own:
        """Told."""

        number: int
        seen: list[int] = dataclasses.field(default_factory=list)

        def __post_init__(self) -> None:
            self.seen.append(self.number)

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 5

    assert (repr(Own(1)), hash(Own(1)), Own(1).seen, Own.__doc__) == ("own", 5, [1], "Told.")
    assert Own(1) == Own(1) != Own(2)


@dataclass(frozen=True, slots=True)
class Kept:
    name: str
    size: int = 2


def test_a_frozen_class_with_slots_is_copied_and_pickled() -> None:
    first = Kept("a", 5)
    assert copy.deepcopy(first) == copy.copy(first) == pickle.loads(pickle.dumps(first)) == first


def test_an_object_that_holds_itself_is_shown() -> None:
    @dataclass
    class Ring:
        inner: list[Any]

    ring = Ring([])
    ring.inner.append(ring)
    assert repr(ring).endswith("Ring(inner=[...])")
