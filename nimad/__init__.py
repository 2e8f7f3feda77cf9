"""nimad: on-device memory for AI agents.

Two arrows; everything else serves them:

    request → serve (frames, access, verb) → store → recall (words + blocks + columns) → memories
    source  → reader → batch → records + words (one commit) → embed → blocks → verify

The records (SQLite) are the one truth; words, blocks, graph, hypervectors and columns are
projections of it that can be made anew.  docs/architecture.md tells which package lives on which
layer; imports only go down.
"""

__version__ = "0.1.0"
