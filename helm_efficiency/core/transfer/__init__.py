"""Predict the runtime of models that were not measured, from their architecture and a stack's profiles."""
