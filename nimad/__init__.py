"""nimad: on-device memory for AI agents.

Two arrows; everything else serves them:

    request → protocol → server → handlers → recall → (words + blocks + graph) → ranked memories
    source  → reader → batch → records+words (one commit) → embed → blocks → graph → verify

The records (SQLite) are the one truth; words, blocks and graph are projections of it that can
be rebuilt.  docs/architecture.md tells which package lives on which layer; imports only go down.
"""

__version__ = "0.1.0"
