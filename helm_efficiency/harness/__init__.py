"""Readers, one per evaluation harness: request records in, efficiency stats out."""
