"""The version of this package, apart from its public face, which nothing inside the package may import."""

__version__ = "0.1.0"
