"""Read the run folders and request caches that HELM writes, without importing HELM."""
