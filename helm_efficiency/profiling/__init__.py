"""Measure local models and endpoints; this package runs on a bare machine with torch and transformers."""
