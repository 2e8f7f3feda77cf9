"""The connection of nimactl's commands; see nimad.client."""

from nimad.client.connection import Connection as Client

__all__ = ["Client"]
