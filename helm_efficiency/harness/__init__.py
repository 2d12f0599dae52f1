"""Former home of the HELM plugin; kept so that run entries and scripts that name it go on working."""
