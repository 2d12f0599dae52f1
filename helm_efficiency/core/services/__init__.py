"""Estimate the denoised runtime of a service from its recorded latencies."""
