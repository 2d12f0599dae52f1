"""Compute idealized, denoised and cost-aware values of requests from their records and the coefficients."""
