"""Simulate profiles of models that nobody timed: AIConfigurator sums kernel times that others measured."""
