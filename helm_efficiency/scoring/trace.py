"""What the numbers of a folder are traced back by: written into the metadata of its runs table."""

import json
from collections.abc import Iterable

from helm_efficiency.scoring.run import Receipt


def trace(receipts: Iterable[Receipt]) -> dict[bytes, bytes]:
    """Versions of this package that scored, and the hash of each fit that a deployment was scored with.

    `helm-efficiency show --format json` prints the same hash beside that of the measurements.
    """
    versions: set[str] = set()
    hashes: dict[str, set[str]] = {}
    for receipt in receipts:
        versions.add(str(receipt.basis["version"][0]))
        for deployment, _, service, _, *matches in receipt.basis["fits"]:
            found = [service] if service else []
            hashes.setdefault(deployment, set()).update([*found, *(sha256 for _, sha256, *_ in matches)])
    by_deployment = {deployment: sorted(hashes[deployment]) for deployment in sorted(hashes)}
    return {
        b"helm_efficiency_versions": " ".join(sorted(versions)).encode(),
        b"helm_efficiency_coefficients_sha256": json.dumps(by_deployment).encode(),
    }
