"""How efficient each model of an evaluation is, beside how capable, fairly between providers."""

__version__ = "0.1.0"
