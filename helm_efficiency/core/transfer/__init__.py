"""Predict the runtime of unmeasured models from their architecture and a stack's profiles."""
