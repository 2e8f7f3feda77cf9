"""What each kind's source becomes, field by field, its traps left out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nimad.importers.clean import cleaned
from nimad.importers.items import Item, Linked
from nimad.importers.registry import IMPORTERS
from nimad.importers.secrets import mask
from nimad.model import MAX_TEXT, Memory
from tests.importers.sources import MADE

READ: dict[str, list[tuple[str, str, str | None]]] = {
    "openclaw": [
        ("note", "Anna lives in Berlin", "self"),
        ("note", "Anna plays chess", "self"),
        ("note", "Anna plays chess", "self"),
        ("note", "She builds lanterns\nby hand.", "self"),
        ("note", "```\ncode - stays\n- together\n```", "self"),
        ("note", "Lives in Bremen", "self"),
        ("note", "Met Bert at the station.", "self"),
        ("note", "The kettle was bought in 2019.", "self"),
        ("note", "Anna likes it salty", "self"),
        ("input", "Is it done?", "anna"),
        ("input", "Where is the lantern?", "Carla"),
        ("contemplation", "In the shed, I believe.", "self"),
        ("output", "It hangs in the shed.", "self"),
    ],
    "claude-code": [
        ("note", "Use tabs", None),
        ("note", "The lantern is built with make.", None),
        ("input", "How is the lantern built?", "anna"),
        ("output", "With make.", "self"),
    ],
    "server-memory": [
        ("note", "Anna (person)", None),
        ("note", "Anna: likes tea", None),
        ("note", "Acme (company)", None),
        ("note", "Anna works at Acme", None),
        ("note", "Acme employs Anna", None),
        ("note", "Anna knows nobody", None),
    ],
    "claude-ai": [
        ("note", "Anna builds lanterns", "Claude"),
        ("note", "She drinks tea", "Claude"),
        ("note", "The lantern is of brass.", "Claude"),
        ("note", "A lantern", None),
        ("input", "Where is the kettle?", "anna"),
        ("output", "On the shelf.", "Claude"),
        ("input", "a long text that was pasted", "anna"),
        ("output", "I have read it.", "Claude"),
        ("input", 'Flat, [of] "]}"', "anna"),
    ],
    "chatgpt": [
        ("input", "Where is the lamp?", "anna"),
        ("output", "In the cellar.", "ChatGPT"),
        ("input", "round and round", "anna"),
    ],
    "mcp-memory-service": [
        ("note", "Anna likes tea", None),
        ("note", "The kettle is blue", None),
        ("note", "undated", None),
    ],
    "mem0": [("note", "Anna lives in Rome", "anna"), ("note", "Anna plays chess", "anna")],
    "claude-mem": [
        ("output", "an old one", "claude-mem"),
        ("output", "The wick\nIt burns.\n- of cotton", "claude-mem"),
        ("output", "request: Light it\nlearned: It burns", "claude-mem"),
        ("input", "Light the lantern", "anna"),
    ],
    "markdown": [
        ("note", "She plays chess #games (since 2020)", None),
        ("note", "Anna works at Acme", None),
        ("note", "call her", None),
        ("note", "[00:01] a time is no category", None),
        ("note", "[a link](https://example.org)", None),
        ("note", "See her friend.", None),
        ("note", "Rain all day.", None),
        ("note", "Acme builds lanterns. #123 #work/lamps", None),
    ],
}
"""(layer, text, who) of each item, in the order of the source."""

FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "openclaw": {
        "Anna lives in Berlin": {"importance": 0.8, "extra": {"heading": "Anna"}},
        "Anna likes it salty": {"agent": "cook", "namespace": "agent.cook"},
        "Is it done?": {"agent": "cook", "namespace": "agent.cook"},
        "Lives in Bremen": {"timestamp": "2026-03-01T12:00:00"},
        "Met Bert at the station.": {"timestamp": "2026-03-04T14:30:00"},
        "The kettle was bought in 2019.": {"timestamp": None},
        "Where is the lantern?": {
            "session": "s1",
            "turn": "m1",
            "agent": "main",
            "namespace": "default",
        },
        "It hangs in the shed.": {"session": "s1", "turn": "m1", "agent": "main"},
    },
    "claude-code": {
        "The lantern is built with make.": {"tags": ("project:-home-anna-lantern",)},
        "With make.": {"turn": "u1", "where": "/home/anna/lantern", "session": "session-1"},
    },
    "server-memory": {"Anna: likes tea": {"timestamp": None, "tags": ("person",)}},
    "claude-ai": {
        "Where is the kettle?": {"session": "c1", "extra": {"title": "The kettle"}},
        "I have read it.": {"timestamp": None, "extra": {"time": "no date"}, "turn": "m4"},
        "The lantern is of brass.": {"tags": ("project:p1",)},
    },
    "chatgpt": {"In the cellar.": {"turn": "n2", "session": "g1"}},
    "mcp-memory-service": {
        "Anna likes tea": {"tags": ("tea", "home", "note"), "session": "c1"},
        "undated": {"timestamp": None},
    },
    "mem0": {"Anna lives in Rome": {"timestamp": "2026-04-01T17:00:00", "extra": {"role": "user"}}},
    "claude-mem": {
        "The wick\nIt burns.\n- of cotton": {
            "session": "s1",
            "tags": ("feature", "lamps", "project:lantern"),
            "extra": {"files_read": ["a.py"]},
        },
    },
    "markdown": {
        "She plays chess #games (since 2020)": {
            "tags": ("people", "berlin", "games", "fact"),
            "timestamp": "2026-02-03T10:00:00",
        },
        "Rain all day.": {"timestamp": "2026-03-04T12:00:00"},
    },
}
"""By text: some fields that matter; a time is Berlin's."""


@pytest.mark.parametrize("kind", sorted(IMPORTERS))
def test_these_items_are_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("USER", "anna")
    events = list(IMPORTERS[kind].read(MADE[kind].write(tmp_path)))
    found = [cleaned(e.memory, masked=False)[0] for e in events if isinstance(e, Item)]
    assert [(m.layer, m.text, m.who) for m in found] == READ[kind]
    for memory in found:
        for name, wanted in FIELDS[kind].get(memory.text, {}).items():
            given = getattr(memory, name)
            if name == "timestamp" and wanted is not None:
                moment = datetime.fromisoformat(wanted).replace(tzinfo=ZoneInfo("Europe/Berlin"))
                wanted = int(moment.timestamp() * 1000)
            if name == "extra":
                given = {about: (given or {}).get(about) for about in wanted}
            assert given == wanted, (memory.text, name)
    assert any(isinstance(event, Linked) for event in events) == IMPORTERS[kind].links


# --- secrets, and what does not fit ---------------------------------------------------------------

SECRETS = {
    "key": [
        "sk-ant-api03-abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "AIza" + "b" * 35,
        "xoxb-1234567890-abcdef",
        "hf_" + "c" * 34,
        "glpat-" + "d" * 20,
        "123456789:AA" + "e" * 33,
    ],
    "token": [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w",
        "user:geheim123",
        "0123456789abcdef0123",
    ],
    "private": [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\nn0=\n-----END OPENSSH PRIVATE KEY-----"
    ],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
}
AROUND = {"user:geheim123": "see https://{}@host/x", "0123456789abcdef0123": "api_key = '{}'"}
HARMLESS = [
    "4111 1111 1111 1112 is no card, nor is 1111 1111 1111 1111",
    "call +49 30 1234567890 at 2026-05-08T10:00:00, order 1234567890123",
    "the token is what the tokenizer gives; sk-learn and task-1 are none",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b of main",
    "-----BEGIN CERTIFICATE----- is public",
]


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_secrets_are_masked(kind: str) -> None:
    for secret in SECRETS[kind]:
        text = f"it is {AROUND.get(secret, '{}').format(secret)} and that is all"
        masked, found = mask(text)
        assert found == 1 and secret not in masked, masked
        assert f"[masked {kind}]" in masked and masked.endswith("and that is all")


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert mask(text) == (text, 0)


def test_what_does_not_fit_is_cut_and_said() -> None:
    memory = Memory("a\x00b\x1b[31m\ud800c" + "x" * MAX_TEXT, who=" ", tags=("t", "", "t"))
    made, _, cut = cleaned(memory, masked=False)
    assert made.text.startswith("ab[31mcx") and len(made.text) == MAX_TEXT
    assert "fit" in cut and made.who is None and made.tags == ("t",)
    secret = Memory("x", extra={"a": ["sk-" + "y" * 30], "b": float("inf")})
    made, found, _ = cleaned(secret, masked=True)
    assert (made.extra, found) == ({"a": ["[masked key]"], "b": None}, 1)
