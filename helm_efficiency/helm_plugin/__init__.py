"""The HELM plugin: the only package that imports HELM."""
