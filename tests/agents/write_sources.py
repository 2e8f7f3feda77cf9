"""Writes what mcp-memory-service and mem0 keep, by their own code; run where both are installed.

    python write_sources.py DIRECTORY

Run again, it changes a memory of each, and deletes another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "MEM0_TELEMETRY": "false", "MEM0_DIR": sys.argv[1]}
os.environ["MCP_MEMORY_ALLOW_HASH_EMBEDDINGS"] = "1"  # no model is downloaded


async def service(path: Path, again: bool) -> None:
    """Memories of mcp-memory-service with its vectors, one deleted, two associated."""
    from mcp_memory_service.models.memory import Memory
    from mcp_memory_service.storage.graph import GraphStorage
    from mcp_memory_service.storage.sqlite_vec import SqliteVecMemoryStorage
    from mcp_memory_service.utils.hashing import generate_content_hash

    storage = SqliteVecMemoryStorage(str(path))
    await storage.initialize()
    texts = ["Anna likes green tea", "The kettle is blue", "Bert moved to Rome"]
    hashes = [generate_content_hash(text) for text in texts]
    if again:
        done = await storage.delete(hashes[1])
        assert done[0], done
        changed = await storage.update_memory_metadata(hashes[0], {"tags": ["tea", "changed"]})
        assert changed[0], changed
    else:
        for text, digest in zip(texts, hashes, strict=True):
            memory = Memory(text, digest, tags=["tea", "home"], memory_type="observation")
            done = await storage.store(memory)
            assert done[0], done
        await storage.delete(hashes[2])
        graph = GraphStorage(str(path))
        assert await graph.store_association(
            hashes[0], hashes[1], 0.8, ["causal"], relationship_type="causes"
        )
    storage.conn.close()


def mem0(path: Path, again: bool) -> None:
    """A history of mem0 as its Memory writes it."""
    from mem0.memory.storage import SQLiteManager

    history = SQLiteManager(str(path))
    if again:
        history.add_history("m1", "Anna lives in Rome", "Anna lives in Paris", "UPDATE")
        history.add_history("m3", "Anna plays chess", None, "DELETE", is_deleted=1)
        return
    at = {"created_at": "2026-04-01T08:00:00-07:00", "actor_id": "anna", "role": "user"}
    history.add_history("m1", None, "Anna lives in Berlin", "ADD", **at)
    history.add_history("m2", None, "Anna has a dog", "ADD", **at)
    history.add_history("m1", "Anna lives in Berlin", "Anna lives in Rome", "UPDATE", **at)
    history.add_history("m2", "Anna has a dog", None, "DELETE", is_deleted=1, **at)
    history.add_history("m3", None, "Anna plays chess", "ADD", **at)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    written = (place / "sqlite_vec.db").is_file()
    asyncio.run(service(place / "sqlite_vec.db", written))
    mem0(place / "history.db", written)
