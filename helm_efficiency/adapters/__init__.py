"""Adapters: one record for each request, from the logs of any evaluation harness. Imports no HELM."""
