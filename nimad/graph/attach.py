"""Opening the graph's file: is it ours, of this version, and does its log fit into the pool?"""

from __future__ import annotations

import logging

from nimad.errors import GraphFailed, GraphMemory, NimadError
from nimad.graph.engine import Engine, GraphLimits
from nimad.graph.files import GraphFiles
from nimad.graph.tables import VERSION, Meta, read_meta

log = logging.getLogger(__name__)

LARGER_POOL = 8
"""Reading a log back may need so many times the pool that writing it did: it comes in one piece."""


def attach(files: GraphFiles, name: str, limits: GraphLimits) -> tuple[Engine, Meta]:
    """The open file and its position.

    A file whose log does not fit into the pool is opened with a larger one, until the next time.
    Raises GraphFailed when it is damaged, or not of this engine and version; GraphMemory when even
    that is too little; Busy; EngineUnsupported.
    """
    try:
        return _attach(files, name, limits)
    except GraphMemory as error:
        log.warning("%s It is opened with %d times the pool.", error.message, LARGER_POOL)
        pool = LARGER_POOL * limits.buffer_pool_bytes
        return _attach(files, name, GraphLimits(pool, limits.max_db_size_bytes))


def _attach(files: GraphFiles, name: str, limits: GraphLimits) -> tuple[Engine, Meta]:
    engine = Engine(files.main, name, limits)
    try:
        meta = read_meta(engine)
    except GraphMemory:
        engine.close()
        raise
    except NimadError as error:
        engine.close()
        detail = f"{files.main} is no graph of nimad's ({error.fields['detail']})"
        raise GraphFailed(detail=detail) from error
    if meta is None or (meta.version, meta.engine) != (VERSION, name):
        engine.close()
        raise GraphFailed(detail=f"{files.main} is of another version of nimad")
    return engine, meta
