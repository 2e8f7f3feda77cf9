"""Write a sample legacy store: half a year of a household agent, in nima-core's own schema 1.

    python packaging/make_sample.py OUT.sqlite

The conversations are in packaging/sample/household.txt, the weekly log, the harvest and the remarks
below; all of it was written for this project.  The same input gives the same rows.  It has the
oddities of real stores in small: a NULL who, an emoji, an edge to a memory that is not there.
Standard library only.

Good first questions:

    nimactl query "What did Maya plant on the balcony?"     strawberries and radishes
    nimactl query "What is Pilar allergic to?"              penicillin
    nimactl query "Where is the spare key?"                 with Pilar, not under the pot
"""

from __future__ import annotations

import json
import sqlite3
import sys
import zlib
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

STORY = Path(__file__).with_name("sample") / "household.txt"
AGENT = "Wren"

SCHEMA = """
CREATE TABLE memory_nodes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL,
  layer TEXT NOT NULL CHECK(layer IN ('input','contemplation','output','legacy_vsa')),
  text TEXT NOT NULL, summary TEXT NOT NULL, who TEXT DEFAULT '', affect_json TEXT DEFAULT '{}',
  session_key TEXT DEFAULT '', conversation_id TEXT DEFAULT '', turn_id TEXT DEFAULT '',
  fe_score REAL DEFAULT 0.5, created_at TEXT DEFAULT (datetime('now')));
CREATE TABLE memory_edges (
  id INTEGER PRIMARY KEY AUTOINCREMENT, source_id INTEGER NOT NULL, target_id INTEGER NOT NULL,
  relation TEXT NOT NULL, weight REAL DEFAULT 1.0,
  FOREIGN KEY (source_id) REFERENCES memory_nodes(id),
  FOREIGN KEY (target_id) REFERENCES memory_nodes(id));
CREATE TABLE memory_turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT, turn_id TEXT UNIQUE NOT NULL, input_node_id INTEGER,
  contemplation_node_id INTEGER, output_node_id INTEGER, timestamp INTEGER NOT NULL,
  affect_json TEXT DEFAULT '{}');
CREATE VIRTUAL TABLE memory_fts USING fts5(
  text, summary, who, layer, content=memory_nodes, content_rowid=id);
CREATE TRIGGER memory_nodes_ai AFTER INSERT ON memory_nodes BEGIN
  INSERT INTO memory_fts(rowid, text, summary, who, layer)
  VALUES (new.id, new.text, new.summary, new.who, new.layer); END;
CREATE INDEX idx_nodes_timestamp ON memory_nodes(timestamp);
CREATE INDEX idx_nodes_turn ON memory_nodes(turn_id);
CREATE INDEX idx_edges_source ON memory_edges(source_id);
"""

# Sundays from 8 February: greenhouse low and high [degrees], rain barrel [%], seen, advice.
WEEKS = [
    (-1.5, 9.0, 40, "Snowdrops are out along the shed.", "Leave the fleece on until Thursday."),
    (-3.0, 8.5, 40, "The barrel has a lid of ice.", "Do not break the ice, tip the barrel."),
    (0.5, 13.0, 55, "The hazel flowers and the bees know it.", "Air the greenhouse at noon."),
    (1.0, 11.5, 70, "Two panes are missing since the storm.", "Tape foil over the gap."),
    (1.0, 15.0, 72, "Crocuses in the lawn, mostly purple.", "No mowing for three weeks."),
    (2.5, 17.5, 68, "The sweet peas stand four fingers high.", "Pinch them above the third leaf."),
    (3.0, 16.0, 80, "A wren sings on the woodpile. A namesake.", "Leave the woodpile alone."),
    (2.0, 19.0, 76, "The new panes are in and putty is drying.", "No rain expected till Tuesday."),
    (4.5, 21.0, 64, "The pear tree is about to open.", "Two frosty nights are still possible."),
    (5.0, 22.5, 51, "Radish leaves show in the green boxes.", "Thin them to three centimetres."),
    (4.0, 20.0, 49, "The pear tree is white from top to bottom.", "Pilar should open the hives."),
    (6.5, 24.0, 38, "Slugs, nine of them, now on the compost.", "Copper tape before the rain."),
    (7.0, 23.0, 60, "Copper tape is on and it seems to work.", "Check the corner by the drain."),
    (6.0, 26.0, 45, "The first swallow over the roof.", "Keep the shed window open for it."),
    (8.5, 27.5, 33, "The net curtain holds off the blackbird.", "Water strawberries from below."),
    (9.0, 29.0, 62, "Tomatoes are planted, basil in between.", "Tie them to the strings by June."),
    (10.5, 31.0, 47, "Aphids on the beans, ladybirds on the aphids.", "Wait, it balances itself."),
    (
        11.0,
        30.0,
        41,
        "The first courgette flower, a male one.",
        "Fruit comes with the female ones.",
    ),
    (12.5, 33.0, 25, "The family is away and the door is wedged.", "Three cans this evening."),
    (15.0, 41.0, 12, "It was the hottest week so far.", "Limewash on the southern panes."),
    (14.0, 36.0, 35, "Thunder on Tuesday, and nothing broke.", "Empty the gutter strainer."),
    (13.0, 34.0, 58, "Blue tits in the box by the chimney.", "Do not lean the ladder there."),
    (13.5, 35.0, 44, "Yellow leaves at the foot of the tomatoes.", "Water the soil, not the leaf."),
    (14.5, 33.5, 30, "The blight has not come back.", "Keep the lower leaves off."),
    (13.0, 32.0, 66, "One lemon, as large as a pea.", "Shelter it from the west wind."),
    (14.0, 34.5, 52, "The wasps have found the pears.", "A bottle with juice, at the far end."),
]

# Day, what, grams, where it grew, what became of it.
HARVEST = [
    ("2026-04-12", "rhubarb", 900, "the bed by the wall", "went into a crumble"),
    ("2026-05-01", "radishes", 250, "the green boxes", "were eaten with salt before supper"),
    ("2026-05-09", "lettuce", 400, "the cold frame", "went to Pilar in exchange for eggs"),
    ("2026-05-23", "spinach", 650, "the bed by the wall", "is frozen in three bags"),
    ("2026-06-01", "strawberries", 300, "the balcony", "did not reach the kitchen"),
    ("2026-06-06", "elderflowers", 180, "the lane", "became eleven bottles of syrup"),
    ("2026-06-12", "peas", 520, "the northern fence", "were shelled by Aurel while he sang"),
    ("2026-06-22", "redcurrants", 2100, "the bush by the gate", "became jelly, fourteen jars"),
    ("2026-06-28", "broad beans", 1300, "the northern fence", "are drying on the attic floor"),
    ("2026-07-03", "cherries", 3400, "Pilar's tree", "were stoned with a hair grip"),
    ("2026-07-06", "courgettes", 1750, "the compost heap", "became soup, and then soup again"),
    ("2026-07-10", "gooseberries", 1200, "the bush by the gate", "went into the market jam"),
    ("2026-07-13", "garlic", 800, "the bed by the wall", "hangs in a plait above the stove"),
    ("2026-07-19", "tomatoes", 640, "the greenhouse", "were the first of the year, on bread"),
    ("2026-07-22", "potatoes", 5200, "the old bathtub", "are in the cellar, in the dark"),
    ("2026-07-30", "plums", 2600, "the tree by the road", "will be Aurel's dumplings"),
]

# Said in passing, without a reply: day and time, who, what.
REMARKS = [
    ("2026-02-11 12:00", "Kofi", "I don't eat meat, but I make an exception for Aurel's sausage."),
    ("2026-02-20 21:15", "Maya", "The thermos with the dent belongs to my sister Renata."),
    ("2026-03-04 07:20", "Ines", "Wednesday is swimming, and the goggles are in the blue bag."),
    ("2026-03-18 13:05", "Tomas", "The workshop fuse is the third from the left, sixteen ampere."),
    ("2026-03-31 18:50", "Aurel", "My reading glasses are always where I read last."),
    ("2026-04-09 08:10", "Pilar", "I have not been able to whistle since my tooth was pulled."),
    ("2026-04-18 15:30", "Maya", "My bicycle lock opens with the year the house was built."),
    ("2026-04-21 17:45", "Ines", "Jonas has a tortoise, her name is Turbo."),
    (
        "2026-05-07 20:00",
        "Tomas",
        "The table saw blade has forty-eight teeth, change it in autumn.",
    ),
    (
        "2026-05-14 19:25",
        "Kofi",
        "I am in Ghana with my mother from the first to the tenth of June.",
    ),
    (
        "2026-05-21 09:35",
        "Aurel",
        "The radio is on 97.3 in the morning, that is where the waltzes are.",
    ),
    ("2026-06-03 16:40", "Maya", "The chimney sweep comes on the second Tuesday of September."),
    (
        "2026-06-10 20:50",
        "Tomas",
        "Ferry tickets are in the glove box, in the road atlas, page forty.",
    ),
    (
        "2026-06-29 08:00",
        "Pilar",
        "I press the honey out of the comb on the last Saturday of July.",
    ),
    ("2026-07-09 14:15", "Ines", "I can hold my breath for fifty-one seconds now."),
    (
        "2026-07-15 07:05",
        "Maya",
        "My sister Renata arrives on the ninth of August by the noon train.",
    ),
    (
        "2026-07-25 22:10",
        "Aurel",
        "If I wake at night I sit in the chair and it takes me back to sleep.",
    ),
    ("2026-07-28 18:30", "Ines", "I want to learn the oboe next, but don't tell Mrs Lindqvist 🎶"),
]

CARRIED_OVER = [
    "Carried over from the first notebook: the house was built in 1924 and has thirteen stairs.",
    "Carried over from the first notebook: the water main is behind the third cellar shelf.",
    "Carried over from the first notebook: the cat next door is called Minister and bites.",
]


@dataclass
class Node:
    """One row of memory_nodes to be."""

    moment: datetime
    layer: str
    text: str
    who: str | None
    topic: str
    turn: str


def parse_story(lines: list[str]) -> list[Node]:
    """The conversations: each turn takes a minute and a half, its thought and answer seconds."""
    nodes: list[Node] = []
    moment, topic, turn = datetime.min, "", ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("== "):
            _, day, time, topic = line.split()
            moment = at(f"{day} {time}")
        elif line.startswith("~ "):
            after = moment + timedelta(seconds=4)
            nodes.append(Node(after, "contemplation", line[2:], "self", topic, turn))
        elif line.startswith("= "):
            nodes.append(
                Node(moment + timedelta(seconds=9), "output", line[2:], AGENT, topic, turn)
            )
        else:
            who, text = line.split(": ", 1)
            moment += timedelta(seconds=90)
            turn = name_turn(moment)
            nodes.append(Node(moment, "input", text, who, topic, turn))
    return nodes


def weekly_log() -> list[Node]:
    """What the sensors showed on Sundays, what was seen, and the advice."""
    nodes = []
    for number, (low, high, barrel, seen, advice) in enumerate(WEEKS):
        moment = at("2026-02-08 19:00") + timedelta(weeks=number)
        week = moment.isocalendar().week
        shown = (
            f"Week {week}: the greenhouse went from {low} to {high} degrees, "
            f"the rain barrel is at {barrel} percent."
        )
        told = f"For the week after {moment:%d %B}: {advice[0].lower()}{advice[1:]}"
        nodes += exchange(moment, "garden-log", "sensors", (shown, seen, told))
    return nodes


def harvest() -> list[Node]:
    """What was picked, where, and what became of it."""
    nodes = []
    total = 0
    for day, what, grams, where, fate in HARVEST:
        total += grams
        nodes += exchange(
            at(f"{day} 18:00"),
            "harvest",
            "Maya",
            (
                f"We picked {grams} grams of {what} from {where}.",
                f"The {what} {fate}.",
                f"{grams} grams of {what} are in the book; {total / 1000:.1f} kilograms this year.",
            ),
        )
    return nodes


def exchange(moment: datetime, topic: str, who: str, texts: tuple[str, str, str]) -> list[Node]:
    """One turn: what was said, what the agent thought, what it answered."""
    turn = name_turn(moment)
    layers = (("input", who, 0), ("contemplation", "self", 4), ("output", AGENT, 9))
    return [
        Node(moment + timedelta(seconds=later), layer, text, speaker, topic, turn)
        for (layer, speaker, later), text in zip(layers, texts, strict=True)
    ]


def all_nodes() -> list[Node]:
    """Every row in the order of time; within a turn the order of speech."""
    nodes = parse_story(STORY.read_text(encoding="utf-8").splitlines())
    nodes += weekly_log() + harvest()
    nodes += [Node(at(when), "input", text, who, "remarks", "") for when, who, text in REMARKS]
    for number, text in enumerate(CARRIED_OVER):
        before = at("2026-02-01 12:00") + timedelta(minutes=number)
        nodes.append(Node(before, "legacy_vsa", text, "", "notebook", ""))
    unsigned = "Somebody rang at the door and had gone before anybody opened."
    nodes.append(Node(at("2026-05-04 13:37"), "input", unsigned, None, "remarks", ""))
    return sorted(nodes, key=lambda node: node.moment)


def at(text: str) -> datetime:
    """A day and a time, UTC."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def name_turn(moment: datetime) -> str:
    """A turn's name as nima-core makes them: the time and eight hexadecimal digits."""
    stamp = milliseconds(moment)
    return f"turn_{stamp}_{zlib.crc32(str(stamp).encode()):08x}"


def share(text: str, salt: str) -> float:
    """A number in [0, 1] that is the same for the same text."""
    return round(zlib.crc32(f"{salt}:{text}".encode()) / 0xFFFFFFFF, 4)


def affect(node: Node) -> str | None:
    """Made-up feelings, the same every time; none where nobody is known."""
    if node.who is None:
        return None
    names = ("SEEKING", "CARE", "PLAY", "FEAR")
    return json.dumps({name: round(share(node.text, name), 2) for name in names})


def write(path: Path) -> dict[str, int]:
    """Make the store; how many rows of each kind it holds."""
    path.unlink(missing_ok=True)
    nodes = all_nodes()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        with connection:
            connection.executemany(
                f"INSERT INTO memory_nodes VALUES ({', '.join('?' * 12)})",
                [row(key, node) for key, node in enumerate(nodes, 1)],
            )
            edges, turns = link(connection, nodes)
    return {"memories": len(nodes), "edges": edges, "turns": turns}


def row(key: int, node: Node) -> tuple[object, ...]:
    """The columns of memory_nodes."""
    score = None if node.who is None else share(node.text, "importance")
    return (
        *(key, milliseconds(node.moment), node.layer, node.text, node.text[:80], node.who),
        *(affect(node), f"agent:main:{node.topic}", node.topic, node.turn, score),
        node.moment.strftime("%Y-%m-%d %H:%M:%S"),
    )


def link(connection: sqlite3.Connection, nodes: list[Node]) -> tuple[int, int]:
    """Turns, the edges within each, and one edge to a memory that is not there."""
    members: dict[str, list[int]] = {}
    for key, node in enumerate(nodes, 1):
        if node.turn:
            members.setdefault(node.turn, []).append(key)
    edges = [(len(nodes) - 3, 99_999, "dangling", 1.0)]
    for heard, thought, said in members.values():
        edges += [
            (heard, thought, "triggered", 1.0),
            (thought, said, "produced", 1.0),
            (said, heard, "responded_to", 1.0),
        ]
    connection.executemany(
        "INSERT INTO memory_edges (source_id, target_id, relation, weight) VALUES (?, ?, ?, ?)",
        edges,
    )
    connection.executemany(
        "INSERT INTO memory_turns (turn_id, input_node_id, contemplation_node_id, output_node_id,"
        " timestamp, affect_json) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (turn, *keys, milliseconds(nodes[keys[0] - 1].moment), affect(nodes[keys[0] - 1]))
            for turn, keys in members.items()
        ],
    )
    return len(edges), len(members)


def main(arguments: list[str]) -> int:
    """Write the store named on the command line and say what is in it."""
    if len(arguments) != 1:
        print("usage: make_sample.py OUT.sqlite", file=sys.stderr)
        return 64
    path = Path(arguments[0])
    made = write(path)
    size = path.stat().st_size / 1024
    counts = ", ".join(f"{number} {kind}" for kind, number in made.items())
    print(f"{path}: {counts}; {size:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
