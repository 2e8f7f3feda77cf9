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
VISIT = "Coffee with the neighbours."
VISITS_ASKED = [
    ("What happened on 5 March 2024?", "Was war am 5. März 2024?"),
    ("What happened on 14 February 2024?", "2024-02-14"),
    ("What happened on 25 January 2024?", "Was geschah am 25.1.2024?"),
    ("What was on 5 January 2024?", "coffee 2024-01-05"),
    ("Where was I on 16 December 2023?", "¿Qué pasó el 16 de diciembre de 2023?"),
    ("What did we do on November 26, 2023?", "neighbours on 26 November 2023"),
]
"""By the days of six visits, the first one on Tuesday 5 March 2024, the others 20 days before."""
