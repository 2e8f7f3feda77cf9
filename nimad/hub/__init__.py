"""The hub of a fleet: tables in a PostgreSQL with pgvector, what boards ask there, nimad-hub."""
