"""`retrieval.resonator` of the legacy guides: the same objects as `nimad.cognition.resonator`."""

from nimad.cognition.resonator import (
    Codebook,
    CodebookBuilder,
    ResonatorNetwork,
    ResonatorResult,
    SchemaSlotPredictor,
)

__all__ = [
    "Codebook",
    "CodebookBuilder",
    "ResonatorNetwork",
    "ResonatorResult",
    "SchemaSlotPredictor",
]
