"""The teacher of distill_static.py, the texts made up for it, and the vectors fitted to it."""

from __future__ import annotations

import random
from itertools import accumulate, groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional

from nimad.embed.wordpiece import WordPiece

SENTENCES = Path(__file__).with_name("distill_sentences.txt")
CLS, SEP = 101, 102
FIRST_TOKEN = 999
"""Below are [PAD], [UNK] and their kind, and the unused ones."""
FIRST_WORD = 1996
"""From here the vocabulary is ordered by frequency; below are single characters, by code point."""
TEXTS, EPOCHS, BATCH, RATE = 100_000, 2, 512, 2e-3
ALONE_SHARE = 0.5


class Teacher:
    """The transformer: 6 layers, 384 dimensions, 12 heads; the mean of its last states."""

    def __init__(self, model: Path) -> None:
        self.weights = load_file(str(model / "model.safetensors"))
        self.inputs = self._normal(
            self.weights["embeddings.word_embeddings.weight"]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
            + self.weights["embeddings.position_embeddings.weight"][1],
            "embeddings.LayerNorm",
        )
        """What enters the first layer for each token in the first place after [CLS]."""

    def embed(self, texts: list[list[int]]) -> torch.Tensor:
        """float32[n, 384], not at length 1; texts of one length go together, so none is padded."""
        result = torch.zeros(len(texts), 384)
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        for _, group in groupby(order, key=lambda i: len(texts[i])):
            same = list(group)
            for start in range(0, len(same), 256):
                part = same[start : start + 256]
                ids = torch.tensor([[CLS, *texts[i], SEP] for i in part])
                with torch.no_grad():
                    result[part] = self._states(ids).mean(1)
        return result

    def _states(self, ids: torch.Tensor) -> torch.Tensor:
        rows, length = ids.shape
        states = self.weights["embeddings.word_embeddings.weight"][ids]
        states = states + self.weights["embeddings.position_embeddings.weight"][:length]
        states = states + self.weights["embeddings.token_type_embeddings.weight"][0]
        states = self._normal(states, "embeddings.LayerNorm")
        for number in range(6):
            layer = f"encoder.layer.{number}"
            query, key, value = (
                self._linear(states, f"{layer}.attention.self.{part}")
                .view(rows, length, 12, 32)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            heads = torch.softmax(query @ key.transpose(2, 3) / 32**0.5, -1) @ value
            mixed = heads.transpose(1, 2).reshape(rows, length, 384)
            states = states + self._linear(mixed, f"{layer}.attention.output.dense")
            states = self._normal(states, f"{layer}.attention.output.LayerNorm")
            wide = functional.gelu(self._linear(states, f"{layer}.intermediate.dense"))
            states = states + self._linear(wide, f"{layer}.output.dense")
            states = self._normal(states, f"{layer}.output.LayerNorm")
        return states

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _normal(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, (384,), weight, bias, 1e-12)


class TextMaker:
    """Makes up texts, as token ids.  `random.Random` is the same in every Python."""

    def __init__(self, tokens: list[str], cutter: WordPiece) -> None:
        words = range(FIRST_WORD, len(tokens))
        self.heads = [i for i in words if not tokens[i].startswith("##")]
        self.tails = [i for i in words if tokens[i].startswith("##")]
        self.by_rank = list(accumulate((n + 20) ** -0.5 for n in range(len(self.heads))))
        self.chance = random.Random(7)
        lines = SENTENCES.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("#")]
        self.sentences = [[cutter.ids(part) for part in line.split("*")] for line in kept]

    def word(self) -> list[int]:
        """Half: any word; a quarter: by rank; a fifth: a word with endings; else one character."""
        kind, pick = self.chance.random(), self.chance.choice
        if kind < 0.5:
            return [pick(self.heads)]
        if kind < 0.77:
            return self.chance.choices(self.heads, cum_weights=self.by_rank)
        if kind < 0.97:
            tails = 2 if self.chance.random() < 0.3 else 1
            return [pick(self.heads), *(pick(self.tails) for _ in range(tails))]
        return [self.chance.randrange(FIRST_TOKEN, FIRST_WORD)]

    def sentence(self) -> list[int]:
        """One of our own sentences, its gaps filled."""
        first, *others = self.chance.choice(self.sentences)
        return first + [i for part in others for i in (*self.word(), *part)]

    def text(self) -> list[int]:
        """A sentence, or two, or 1 to 12 words without any order."""
        if self.chance.random() < 0.5:
            two = self.chance.random() < 0.3
            return self.sentence() + (self.sentence() if two else [])
        return [i for _ in range(self.chance.randint(1, 12)) for i in self.word()]


def frequencies(tokens: list[str]) -> NDArray[np.float64]:
    """How often each token may be used: Zipf's law of its rank; characters get a constant."""
    ranks = np.arange(len(tokens)) - FIRST_WORD + 1.0
    guess: NDArray[np.float64] = 1.0 / (np.maximum(ranks, 1.0) + 2.7)
    guess /= guess[FIRST_WORD:].sum()
    for i in range(FIRST_WORD):
        guess[i] = 1e-4 if tokens[i].removeprefix("##").isalnum() else 2e-3
    return guess


def token_vectors(teacher: Teacher, tokens: list[str], cutter: WordPiece) -> NDArray[np.float64]:
    """float64[tokens, 384]: steps 1 to 3 of the description in distill_static.py."""
    alone = functional.normalize(teacher.embed([[i] for i in range(len(tokens))]), dim=1)
    both = alone + functional.normalize(teacher.inputs, dim=1)
    weights = np.maximum(np.log(0.05 / frequencies(tokens)), 0.0)
    start = both * torch.tensor(weights, dtype=torch.float32)[:, None]
    start /= start[FIRST_WORD:].norm(dim=1).mean()
    maker = TextMaker(tokens, cutter)
    texts = [maker.text() for _ in range(TEXTS)]
    fitted = fit(start, texts, functional.normalize(teacher.embed(texts), dim=1))
    lengths = fitted.norm(dim=1, keepdim=True)
    mixed: NDArray[np.float64] = (fitted + ALONE_SHARE * lengths * alone).numpy().astype(np.float64)
    return mixed


def fit(start: torch.Tensor, texts: list[list[int]], wanted: torch.Tensor) -> torch.Tensor:
    """Move token vectors until their sums point where the teacher points."""
    vectors = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([vectors], lr=RATE, betas=(0.9, 0.99))
    order, batches = list(range(len(texts))), len(texts) // BATCH
    for step in range(EPOCHS * batches):
        if step % batches == 0:
            random.Random(step).shuffle(order)
        part = order[step % batches * BATCH :][:BATCH]
        ids = torch.tensor([i for n in part for i in texts[n]])
        starts = torch.tensor([0, *accumulate(len(texts[n]) for n in part[:-1])])
        sums = functional.embedding_bag(ids, vectors, starts, mode="sum")
        loss = 1 - (functional.normalize(sums, dim=1) * wanted[part]).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - step / (EPOCHS * batches))
        adam.step()
        if (step + 1) % batches == 0:
            print(f"fit: {1 - loss.item():.3f} is the cosine with the teacher", flush=True)
    return vectors.detach()
