"""Short names of scenarios, made from the parts that distinguish them."""

from collections.abc import Sequence


def scenario_titles(names: Sequence[str]) -> list[str]:
    """Return for each scenario the words that distinguish it from the others; the full name if these do not suffice.

    >>> scenario_titles(["mmlu:subject=anatomy,method=joint", "mmlu:subject=world_religions,method=joint"])
    ['anatomy', 'world religions']
    >>> scenario_titles(["boolq", "mmlu:subject=anatomy"])
    ['boolq', 'mmlu: anatomy']
    """
    parsed = [_parse(name) for name in names]
    of_family: dict[str, list[dict[str, str]]] = {}
    for family, arguments in parsed:
        of_family.setdefault(family, []).append(arguments)
    titles = [_title(family, arguments, of_family) for family, arguments in parsed]
    return [title if titles.count(title) == 1 else name for title, name in zip(titles, names, strict=True)]


def _parse(name: str) -> tuple[str, dict[str, str]]:
    """Return the family of a HELM scenario and its arguments: `family:key=value,key=value`."""
    family, _, rest = name.partition(":")
    pairs = (piece.partition("=") for piece in rest.split(",") if piece)
    return family, {key: value or key for key, _, value in pairs}


def _title(family: str, arguments: dict[str, str], of_family: dict[str, list[dict[str, str]]]) -> str:
    siblings = of_family[family]
    differing = [
        value
        for key, value in arguments.items()
        if len(siblings) == 1 or any(other.get(key) != value for other in siblings)
    ]
    is_only_family = len(of_family) == 1 and len(siblings) > 1
    parts = [", ".join(differing)] if is_only_family and differing else [family, *filter(None, [", ".join(differing)])]
    return ": ".join(parts).replace("_", " ")
