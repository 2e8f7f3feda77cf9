"""Every configuration key: its default, unit, check, and what the manual says of it.

The one source of config/nimad.yaml and nimad.yaml(5), which packaging/make_config.py writes.
"""

from __future__ import annotations

from typing import Any

from nimad.checks import Check, choice, flag, integer, number
from nimad.dataclass import dataclass
from nimad.namespaces import DIRECTIONS, LONGEST, read_rules
from nimad.selection import read_rules as read_selections


@dataclass(frozen=True)
class Key:
    """One configuration key: its default, what it must be, and how the manual describes it."""

    default: Any
    check: Check
    about: str
    unit: str = ""
    live: bool = True
    """False when only a restart applies a new value, and not SIGHUP."""


def _choice(*names: str) -> Check:
    one = choice(*names)

    def check(value: Any) -> Any:
        if value is False and "none" in names:  # yaml reads an unquoted `off` or `no` as false
            return "none"
        return one(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _shared(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"must name namespaces, each with {', '.join(DIRECTIONS)}")
    for name, direction in value.items():
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST:
            raise ValueError("must hold names of namespaces")
        if direction not in DIRECTIONS:
            raise ValueError(f"must share {name[:60]!r} for one of {', '.join(DIRECTIONS)}")
    return dict(value)


EMBEDDERS = ("static", "hash", "minilm", "http")
"""Names of the embedders, the default first; `nimad.embed.registry` knows their classes."""

ENGINES = ("ladybug", "kuzu")
"""Names of the graph engines, the default first: each is its Python package too."""

KEYS: dict[str, Key] = {
    "log_level": Key(
        "info", _choice("debug", "info", "warning", "error"), "How much goes to the journal."
    ),
    "embedder": Key(
        "static",
        _choice(*EMBEDDERS),
        "What turns text into vectors: static (distilled, shipped with the package), minilm (a "
        "transformer, in the package nimad-minilm), hash (no model at all) or http (an endpoint, "
        "asked by nimad-embedder). After a change and a reload the memories are encoded again in "
        "idle time, while the old vectors serve.",
    ),
    "minilm.threads": Key(
        1,
        integer(1, 16),
        "Threads that the transformer of embedder minilm works with.",
        "threads",
        live=False,
    ),
    "http.url": Key(
        "",
        _text,
        "The OpenAI-compatible endpoint for embedder http, such as "
        "http://127.0.0.1:11434/v1/embeddings; nimad-embedder asks it, never the daemon itself.",
    ),
    "http.model": Key("", _text, "The model that the endpoint is asked for."),
    "http.dims": Key(
        384,
        integer(8, 512),
        "Dimensions of a vector; longer ones are cut to this number, which is right for "
        "models that were trained for it.",
        "dimensions",
    ),
    "http.batch": Key(32, integer(1, 2048), "Texts in one request to the endpoint.", "texts"),
    "http.max_chars": Key(
        8000, integer(100, 1_000_000), "Longer texts are cut off here.", "characters"
    ),
    "http.timeout": Key(
        30.0,
        number(0.5, 600),
        "What a request may take, retries included; a single text is given 3 at most.",
        "seconds",
    ),
    "http.key_file": Key(
        "",
        _text,
        "A file with the endpoint's key, for a nimad-embedder without systemd; its unit takes "
        "/etc/credstore/nimad-embedder.key.",
    ),
    "http.socket": Key(
        "/run/nimad-embedder.sock", _text, "Where nimad-embedder listens and nimad finds it."
    ),
    "graph.engine": Key(
        ENGINES[0],
        _choice(*ENGINES, "none"),
        "The graph database: ladybug, kuzu (4 KiB pages only: not on a Raspberry Pi 5), or none.",
        live=False,
    ),
    "graph.buffer_pool_mb": Key(
        0,
        integer(0, 65536),
        "Most memory the graph database may use for its pages; 0 sizes it to the board "
        "(1/32 of the RAM, 64 to 256).",
        "MiB",
        live=False,
    ),
    "graph.max_db_size_mb": Key(
        4096,
        integer(64, 1 << 20),
        "Address space the graph database reserves; also the largest it can grow.",
        "MiB",
        live=False,
    ),
    "blocks.flush_rows": Key(
        2000,
        integer(100, 100_000),
        "Number of new memories kept in the records before they become a segment of the index.",
        "memories",
    ),
    "blocks.merge_segments": Key(
        8,
        integer(2, 64),
        "When there are more segments than this, the small ones are merged in idle time.",
        "segments",
    ),
    "migration.strategy": Key(
        "incremental",
        _choice("incremental", "full", "lazy"),
        "How sources move on when `nimactl migrate` does not say: incremental (in idle time, what "
        "was accessed first), full (at once), or lazy (as incremental, but vectors are made only "
        "for memories that a query finds by their words).",
    ),
    "migration.batch_size": Key(
        0,
        integer(0, 100_000),
        "Rows in a batch; 0 lets the batches follow free memory and time.",
        "rows",
    ),
    "migration.min_batch": Key(50, integer(1, 100_000), "Smallest automatic batch.", "rows"),
    "migration.max_batch": Key(1000, integer(1, 100_000), "Largest automatic batch.", "rows"),
    "migration.batch_seconds": Key(
        2.0, number(0.1, 60), "What an automatic batch should take.", "seconds"
    ),
    "migration.reserve_mb": Key(
        128, integer(16, 65536), "Memory that a batch must leave free for everything else.", "MiB"
    ),
    "migration.idle_seconds": Key(
        3.0, number(0, 3600), "Without a request for so long, the daemon counts as idle.", "seconds"
    ),
    "migration.max_pressure": Key(
        40.0,
        number(0, 100),
        "Not idle while something waits for a processor more of the time than this; 0: not looked "
        "at.",
        "percent",
    ),
    "migration.max_load": Key(
        0.7,
        number(0, 1000),
        "Not idle above this load average per processor, without the daemon's own work; for "
        "kernels that do not tell pressure (/proc/pressure). 0: not looked at.",
    ),
    "migration.max_temperature": Key(
        75.0,
        number(0, 150),
        "Not idle while the processor is hotter than this, or slowed down by heat or too little "
        "voltage; 0: not looked at.",
        "degrees Celsius",
    ),
    "migration.min_battery": Key(
        30.0,
        number(0, 100),
        "Not idle while the battery is in use and holds less than this; 0: not looked at.",
        "percent",
    ),
    "openclaw.config": Key(
        "",
        _text,
        "An OpenClaw JSON file. When its plugin nima-memory has database.backend ladybugdb and"
        " database.auto_migrate true, the store database.path (default"
        " ~/.nima/memory/graph.sqlite) is taken over once, at start. nimad must be able to read"
        " both files; the packaged unit hides home directories from it.",
        live=False,
    ),
    "recall.results": Key(10, integer(1, 1000), "Results of a query that does not say how many."),
    "recall.strictness": Key(
        0.5,
        number(0, 1),
        "How much of a question must be met before anything is shown: at 0 all that is nearest, at"
        " 1 nothing but a memory that is the question. docs/recall.md has the curves.",
    ),
    "recall.seconds": Key(
        5.0,
        number(0.1, 600),
        "What a query may take; one that takes longer is given up.",
        "seconds",
    ),
    "dream.idle": Key(
        False,
        flag,
        "Whether `nimactl dream` runs by itself in idle moments: it looks for pairs of memories "
        "that should be one, or be linked, and only suggests (`nimactl dream list`).",
    ),
    "retention": Key(
        (),
        read_selections,
        "Rules of what is forgotten by itself, once a day in an idle moment; none by default. A"
        ' list of texts such as "layer=contemplation and before=90d"; `nimactl forget --where TEXT'
        " --dry-run` tells what one names. Goals and documents are never forgotten by a rule."
        " docs/operations.md has the fields.",
    ),
    "server.max_clients": Key(
        64,
        integer(1, 4096),
        "Connections at the same time. For one more, the longest idle one of the user who has most "
        "is closed.",
        live=False,
    ),
    "server.max_clients_per_user": Key(
        16,
        integer(1, 4096),
        "Connections of one user at the same time; for one more, the user's longest idle one is "
        "closed. root and the daemon's own user may have all.",
        live=False,
    ),
    "server.threads": Key(
        2,
        integer(1, 64),
        "Reading requests answered at the same time; others have threads of their own.",
        "threads",
        live=False,
    ),
    "server.idle_timeout": Key(
        600.0,
        number(1, 86400),
        "A connection without a complete request for so long is closed.",
        "seconds",
        live=False,
    ),
    "server.drain_seconds": Key(
        10.0,
        number(0, 600),
        "On stop, requests under way may take so long to finish.",
        "seconds",
        live=False,
    ),
    "access.read_group": Key(
        "nimad",
        _text,
        "Members may query; root, the daemon's own user and the control group always may. "
        '"" lets everyone who reaches the socket.',
    ),
    "access.control_group": Key(
        "nimad",
        _text,
        "Members may remember, forget and migrate; root and the daemon's own user always may. "
        "Where it is another one than read_group, everyone may connect, and nimad turns away who "
        "is in neither; under systemd that needs SocketMode=0666 (systemctl edit nimad.socket).",
    ),
    "access.namespaces": Key(
        (),
        read_rules,
        "Binds users to namespaces: a list of rules, each with a user or a group, what they may "
        "read and what they may control (read and write). A bound user reaches nothing else, in no "
        "verb; whoever no rule names is as before, and root and the daemon's own user are never "
        "bound. A name that ends in a star stands for all that begin so. While there are rules "
        "everyone may connect, as above; docs/security.md has examples.",
    ),
    "sync.url": Key(
        "",
        _text,
        "The fleet's hub, such as postgresql://board@hub.example/nimad: nimad-sync connects to it, "
        "never the daemon itself. The server's certificate is verified unless sslmode says "
        "otherwise; the password comes from a file (sync.passfile). Empty: no fleet.",
    ),
    "sync.namespaces": Key(
        {},
        _shared,
        "What is shared with the fleet, by namespace: both, push (give only) or pull (take only). "
        "Nothing of other namespaces leaves the board.",
    ),
    "sync.name": Key("", _text, "This board's name in the fleet; default: its host name."),
    "sync.passfile": Key(
        "",
        _text,
        "A file with the hub's password, as PostgreSQL has them "
        "(host:port:database:user:password), for a nimad-sync without systemd; its unit takes "
        "/etc/credstore/nimad-sync.pass.",
    ),
    "sync.socket": Key(
        "/run/nimad-sync/nimad-sync.sock",
        _text,
        "Where nimad-sync listens and nimad finds it, for `nimactl query --fleet`.",
    ),
    "sync.seconds": Key(
        60.0,
        number(0.1, 86400),
        "How often nimad-sync looks for what is new on this board. The hub tells of what is new "
        "there, and is asked every ten times as long.",
        "seconds",
    ),
    "sync.kilobytes_per_second": Key(
        0, integer(0, 1 << 20), "Most that nimad-sync sends and receives; 0: no limit.", "kB/s"
    ),
    "sync.metered": Key(
        True,
        flag,
        "Whether nimad-sync may use a metered connection (as NetworkManager tells).",
    ),
    "sync.max_memories": Key(
        100_000,
        integer(0, 10_000_000),
        "Most memories and notes of forgotten ones that are kept of other boards.",
    ),
    "sync.max_mb": Key(
        256,
        integer(1, 1 << 20),
        "Most that memories of other boards may take in the records.",
        "MiB",
    ),
}
