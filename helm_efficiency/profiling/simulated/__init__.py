"""Profiles of models that nobody timed: kernel times that others measured, summed by AIConfigurator."""
