"""Former home of the HELM plugin, kept so that run entries and scripts with its name continue to work."""
