"""Every constant of the ranking, with its reason; docs/recall.md has the ablations.

`make bench-recall` measures what each of them is worth on any labelled dialogues.
"""

from __future__ import annotations

from nimad.dataclass import dataclass
from nimad.embed.base import Embedder

GROWS = 100_000
"""Size of a store from which on more candidates are compared [rows]."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights in use; a bench makes others.

    Attributes:
        semantic: share of the semantic side; the lexical one gets the rest.
        dense: factor of that share for a question in a script that is cut into pairs of characters,
            of which vectors know fewer words; and of the cosine that makes a memory near, for what
            is about one thing there has less.
        named: factor of that share for a question that names a subject: what is left without the
            name is shorter, and compares worse.
        inner: factor of the rarity of a pair of ideographs whose characters the pairs beside it
            hold as well (`nimad.recall.lexical`): a long name would outweigh every other word.
        alike: factor of the rarity of what stands in place of a word that no memory holds: the word
            with another ending, or parts of a German compound (`nimad.recall.lexical`).
        subject: for memories of a subject that the query names: a name says who, and little about
            what, so it is taken out of what is embedded, and must count elsewhere.
        word_before, word_after: what a turn takes of the lexical scores of its neighbours, because
            an answer often repeats nothing of its question.
        word_beyond: the same, of those two turns away.
        meaning_before, meaning_after: how much of its neighbours' vectors is in a turn's; None:
            as the embedder has it.
        date: a part of a date counts like a word that is as rare.
        on_date: for memories whose time is the date that a query names, every part of it: as for a
            subject, what meaning knows of a date would outweigh it.
        literal: for memories that hold an identifier or a path of the query to the letter, in the
            measure of its rarity: vectors know nothing of such.
        instruction: for what a user told an agent to do always: it shares few words with what it is
            for.  Never for what others said, or what was read somewhere.
        layer: for what the user told, or the agent answered, where the query tells which is meant.
        k1, b: of BM25, the usual values.  Where texts of a few words stand beside long ones, b
            grows to 1, for length then tells who wrote, not how much is said.
        asks: taken off a memory that ends as a question: it asks what is wanted, it does not say.
            Not off what a user tells an agent: most of that ends so.
        importance, recency: small: they order what is otherwise alike, they never lift the
            irrelevant.
        unseen: memories that a store is taken to have besides, without any word of the question:
            in a store of a few, every word is in half of them, and would seem worthless.
        exact_rows: memories of the largest store whose rows are all scored by meaning; of a larger
            one, candidates are.
        candidates: how many of the best by words and subject are candidates in a store of up to
            GROWS rows; see `compared`.
        nearest: how many of the nearest are; where no word was met, as many as of the others.
            Both are at least twice what is asked for.  Of the best ten in 100,000 and 1,000,000
            memories of made-up talk at least 99.5 % are those of scoring every row (`whole_path`).
        furthest: how many of those that lie opposite are, for the low end of a store's cosines,
            by which the semantic side is measured: most of what differs comes of it.
        near: where between the usual cosine of a store and its best a memory must lie to be shown
            that has no word in common with the question; less where an embedder's `near` is less.
    """

    semantic: float = 0.6
    dense: float = 0.8
    named: float = 0.92
    inner: float = 0.3
    alike: float = 0.5
    subject: float = 0.3
    word_before: float = 0.5
    word_after: float = 0.4
    word_beyond: float = 0.3
    meaning_before: float | None = None
    meaning_after: float | None = None
    date: float = 1.0
    on_date: float = 0.3
    literal: float = 0.2
    layer: float = 0.2
    instruction: float = 0.1
    k1: float = 1.2
    b: float = 0.75
    asks: float = 0.08
    importance: float = 0.02
    recency: float = 0.005
    unseen: int = 10
    exact_rows: int = 20_000
    candidates: int = 500
    nearest: int = 32
    furthest: int = 16
    near: float = 0.5

    def compared(self, rows: int) -> int:
        """How many of the best by words are candidates: 500 of 100,000 rows, 706 of a million.
        Of 1,000,000 memories with 500, .992 of the ten best are those of scoring every row, with
        700 .995; of 100,000 .996 with 500, .997 with 700."""
        return int(self.candidates * max(1.0, rows / GROWS) ** 0.15)

    def shares_of(self, embedder: Embedder) -> tuple[float, float]:
        """Shares of the vectors before and after, for an embedder."""
        before, after = embedder.neighbour_shares
        return (
            before if self.meaning_before is None else self.meaning_before,
            after if self.meaning_after is None else self.meaning_after,
        )


DEFAULT = Weights()
