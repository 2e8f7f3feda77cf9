"""A short talk of two, laps of a runner, questions about them, and questions without an answer."""

from __future__ import annotations

CHAT = [
    ("Anna", "I adopted a grey kitten from the shelter."),
    ("Ben", "That is wonderful, how old is it?"),
    ("Anna", "Nine weeks. The vet says it is healthy."),
    ("Ben", "I am training for the marathon in Hamburg."),
    ("Anna", "My sister teaches the violin to children."),
    ("Ben", "The bakery on the corner closed after forty years."),
    ("Anna", "We are flying to Lisbon to see the old trams."),
    ("Ben", "My bicycle was stolen near the station."),
]
ASKED = [
    ("Which pet did Anna adopt?", 0),
    ("Where did Ben's bicycle disappear?", 7),
    ("What does Anna's sister teach?", 4),
    ("Which city is Ben running in?", 3),
]
STRANGE = [
    "How is Quentin's zeppelin licence going?",
    "What is the capital of Norway?",
    "tell me about quantum physics",
    "What did Ottilie say about the xylophone?",
]
LAPS = [f"Lap {n} along the river." for n in range(30)]
"""A day before each other, the first one today."""
DAYS_ASKED = [
    ("What did we do yesterday?", {1}),
    ("What happened last Friday?", {4}),
    ("What happened 3 days ago?", {3}),
    ("What happened last week?", set(range(2, 9))),
]
"""With the laps that answer them on Tuesday 5 March 2024."""
