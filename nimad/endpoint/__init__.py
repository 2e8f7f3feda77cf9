"""nimad-embedder: asks an endpoint on the network for vectors, in a process of its own."""
