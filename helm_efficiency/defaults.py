"""Where things are unless the user says otherwise. Imports nothing heavy: every command's help shows these."""

from pathlib import Path

DEFAULT_STORE = Path("prod_env/efficiency.sqlite")
"""The coefficient store, beside HELM's own files."""

DEFAULT_ARCHITECTURES = Path("prod_env/architectures.yaml")
"""The user's own architectures."""
