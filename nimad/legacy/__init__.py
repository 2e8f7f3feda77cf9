"""Readers of legacy NIMA stores and their consistent snapshot; what they read is hostile (L1)."""
