"""The profiled-coefficient store: profiles and fits in one sqlite file, as JSON values (never pickle)."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlitedict import SqliteDict

from helm_efficiency.core.fitting import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import StoreError, UnknownDeploymentError

SCHEMA_VERSION = 1
DEFAULT_STORE = Path("prod_env/efficiency.sqlite")


class Store:
    """Profiles and fits by deployment and stack name.

    One profile and one fit are kept for each pair; putting another replaces it.
    """

    def __init__(self, path: Path | str = DEFAULT_STORE, *, create: bool = True) -> None:
        """Open a store, or make one.

        Raises:
            StoreError: The file is not a store, is damaged, is of a newer schema, or is missing and `create` is false.
        """
        self.path = Path(path)
        if not self.path.exists():
            if not create:
                raise StoreError(
                    f"No store at {self.path}. Make one with: helm-efficiency import … --store {self.path}"
                )
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._table("meta") as meta:
                meta["schema_version"] = SCHEMA_VERSION
        self._check()

    def _check(self) -> None:
        try:
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
            try:
                row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
                version = json.loads(row[0])
            finally:
                connection.close()
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise StoreError(f"{self.path} is not a helm-efficiency store ({error}). It was left as it was.") from error
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema {version}, this version reads up to {SCHEMA_VERSION}. Upgrade helm-efficiency."
            )

    @contextmanager
    def _table(self, name: str) -> Iterator[Any]:
        with SqliteDict(
            str(self.path), tablename=name, encode=json.dumps, decode=json.loads, autocommit=False
        ) as table:
            yield table
            table.commit()

    def put_profile(self, profile: Profile) -> None:
        """Keep a profile, in place of an earlier one of the same deployment and stack name."""
        with self._table("profiles") as table:
            table[_key(profile.deployment, profile.stack.name)] = profile.to_dict()

    def put_fit(self, fit: Fit) -> None:
        """Keep a fit, in place of an earlier one of the same deployment and stack name."""
        with self._table("fits") as table:
            table[_key(fit.deployment, fit.stack.name)] = fit.to_dict()

    def profiles(self, *, deployment: str | None = None, stack: str | None = None) -> list[Profile]:
        """Profiles of a deployment, on a stack, or all, sorted by both."""
        with self._table("profiles") as table:
            return [
                Profile.from_dict(value) for key, value in sorted(table.items()) if _matches(key, deployment, stack)
            ]

    def fits(self, *, deployment: str | None = None, stack: str | None = None) -> list[Fit]:
        """Fits of a deployment, on a stack, or all, sorted by both."""
        with self._table("fits") as table:
            return [Fit.from_dict(value) for key, value in sorted(table.items()) if _matches(key, deployment, stack)]

    def fit(self, deployment: str, stack: str | None = None) -> Fit:
        """The one fit of a deployment on a stack.

        Raises:
            UnknownDeploymentError: There is none, or there are several and `stack` is not given.
        """
        found = self.fits(deployment=deployment, stack=stack)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(fit.stack.name for fit in found)
            raise UnknownDeploymentError(
                f"{deployment!r} has coefficients on several stacks: {names}. Name one with --stack."
            )
        names = ", ".join(sorted({fit.stack.name for fit in self.fits()})) or "none"
        on = f" on stack {stack!r}" if stack else ""
        raise UnknownDeploymentError(
            f"No coefficients for deployment {deployment!r}{on} in {self.path}. Known stacks: {names}. "
            "Measure one with: helm-efficiency profile …"
        )


def _key(deployment: str, stack: str) -> str:
    return f"{deployment}\t{stack}"


def _matches(key: str, deployment: str | None, stack: str | None) -> bool:
    its_deployment, its_stack = key.split("\t")
    return deployment in (None, its_deployment) and stack in (None, its_stack)
