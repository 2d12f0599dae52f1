"""Fit runtime coefficients to measurements, with intervals and held-out errors."""
