"""All verbs of docs/protocol.md, on one store and its migrations."""

from __future__ import annotations

from nimad.core.fleet import Fleet
from nimad.core.store import MemoryStore
from nimad.migrate.manager import MigrationManager
from nimad.serve.access import Access
from nimad.serve.audit_verbs import AuditVerbs
from nimad.serve.browse_verbs import BrowseVerbs
from nimad.serve.document_verbs import DocumentVerbs
from nimad.serve.exchange_verbs import ExchangeVerbs
from nimad.serve.fleet_verbs import FleetVerbs
from nimad.serve.graph_verb import graph_verb
from nimad.serve.hypervector_verbs import HypervectorVerbs
from nimad.serve.import_verbs import ImportVerbs
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.metrics_verb import metrics_verb
from nimad.serve.migration_verbs import migration_verbs
from nimad.serve.query_verb import QueryVerb
from nimad.serve.reflection_verbs import ReflectionVerbs
from nimad.serve.service_verbs import ServiceVerbs, Traffic
from nimad.serve.verbs import Verb


def verbs(
    store: MemoryStore, migrations: MigrationManager, traffic: Traffic, access: Access | None = None
) -> list[Verb]:
    """What the server serves; each topic has its file.  `access` is asked by verbs that only
    sometimes need more than their own right; None grants it."""
    fleet = Fleet(store)
    return [
        *ServiceVerbs(store, traffic, fleet).all(),
        *FleetVerbs(store, fleet).all(),
        *QueryVerb(store).all(),
        *MemoryVerbs(store).all(),
        *ExchangeVerbs(store).all(),
        *ImportVerbs(store).all(),
        *BrowseVerbs(store).all(),
        *DocumentVerbs(store).all(),
        *HypervectorVerbs(store, access).all(),
        *ReflectionVerbs(store).all(),
        *AuditVerbs(store).all(),
        metrics_verb(store, traffic),
        graph_verb(store, access),
        *migration_verbs(migrations),
    ]
