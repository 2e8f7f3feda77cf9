"""Packs the best passages into a budget of tokens, for prompts.

Best first.  A passage that does not fit whole gives up its neighbours, then the rest of its turn,
then its lesser hits; one whose best hit does not fit is left out, and the next is tried.  Only a
best hit that is larger than the whole budget is cut, at the end of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nimad import prompt
from nimad.dataclass import dataclass
from nimad.model import Memory
from nimad.patterns import lazy_pattern
from nimad.recall.context import Passage

CUT = " …"
"""Ends a memory that was cut."""
_SENTENCE = lazy_pattern(r"[.!?…]['\"”’)]*(?=\s)|[。！？]|\n")
_SPACE = lazy_pattern(r"\s")


@dataclass(slots=True)
class Packed:
    """A passage as far as it fits.

    Attributes:
        memories: of the passage, in the order of time.
        tokens: of their lines (`nimad.prompt`).
        cut: what is left of the best hit's text where it was cut; else None.
    """

    passage: Passage
    memories: list[Memory]
    tokens: int
    cut: str | None = None


def unpacked(passages: Sequence[Passage]) -> list[Packed]:
    """Everything, where no budget is set; tokens are not counted."""
    return [Packed(passage, passage.memories, 0) for passage in passages]


def pack(passages: Sequence[Passage], budget: int, count: Callable[[str], int]) -> list[Packed]:
    """The best passages in `budget` tokens, best first; `count` estimates the tokens of a text."""
    room = budget
    made: list[Packed] = []
    for place, passage in enumerate(passages):
        for memories in _smaller(passage):
            tokens = sum(_cost(memory, memory.text, count) for memory in memories)
            if tokens <= room:
                made.append(Packed(passage, memories, tokens))
                room -= tokens
                break
        else:
            if place == 0 and (cut := _cut(passage, budget, count)) is not None:
                made.append(cut)
                room -= cut.tokens
    return made


def _smaller(passage: Passage) -> Iterator[list[Memory]]:
    """The passage whole, then with less and less around its best hit."""
    hits = [hit.memory.id for hit in passage.hits]
    sizes = set[int]()
    for kept in (
        passage.memories,
        passage.kept([*passage.turn.values(), *hits]),
        passage.kept([passage.hit.memory.id, *passage.turn.values()]),
        passage.kept(hits),
        [passage.hit.memory],
    ):
        if len(kept) not in sizes:
            sizes.add(len(kept))
            yield kept


def _cut(passage: Passage, budget: int, count: Callable[[str], int]) -> Packed | None:
    """The best hit up to the last sentence that fits, or the last word; None when none does."""
    memory = passage.hit.memory
    for ends in (_SENTENCE, _SPACE):
        places = [found.end() for found in ends.finditer(memory.text)]
        low, high = 0, len(places)
        while low < high:  # a longer text never has fewer tokens, so halving finds the longest
            middle = (low + high + 1) // 2
            text = memory.text[: places[middle - 1]].rstrip() + CUT
            if _cost(memory, text, count) <= budget:
                low = middle
            else:
                high = middle - 1
        if low:
            text = memory.text[: places[low - 1]].rstrip() + CUT
            return Packed(passage, [memory], _cost(memory, text, count), text)
    return None


def _cost(memory: Memory, text: str, count: Callable[[str], int]) -> int:
    """Tokens of a memory's line with this text."""
    return count(prompt.line(text, memory.who, memory.layer, memory.timestamp))
