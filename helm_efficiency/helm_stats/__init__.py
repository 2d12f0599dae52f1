"""Write efficiency as HELM's stats, without importing HELM."""
