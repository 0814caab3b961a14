"""Under which licence a dataset may be published, given those of the rows that it was made from.

The rule, stated on every card: where all sources agree, theirs; else the most restrictive one, by the order below, as
long as it may cover the others. A licence that is unknown, forbids derivatives, or can't be combined with another one
is a problem that a person must solve; nothing is guessed. The teacher's licence counts like a source's where it is
known; where it is not, that is said, and nothing is concluded from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rebase_hf.index.index_card import LICENSE_IDS

UNSTATED = ("", "unknown", "other", "none")
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")

# Each tier covers the ones before it; within a tier the later licence asks for more. Ids as the Hub spells them.
_PUBLIC_DOMAIN = ("cc0-1.0", "pddl", "unlicense", "wtfpl")
_PERMISSIVE = (
    "mit-0",
    "postgresql",
    "isc",
    "zlib",
    "bsl-1.0",
    "mit",
    "ncsa",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "ecl-2.0",
    "apache-2.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "odc-by",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
)
# A share-alike licence covers permissive ones, but no other share-alike one, save a later version of itself.
_SHARE_ALIKE = (
    ("cc-by-sa-3.0", "cc-by-sa-4.0"),
    ("odbl",),
    ("cdla-sharing-1.0",),
    ("gfdl",),
    ("gpl-3.0",),
    ("agpl-3.0",),
)
# Licences of models whose own terms go on with what is made by them; they cover permissive licences alone.
_MODEL_TERMS = (
    *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma", "openrail"),
    *("bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0", "bigcode-openrail-m"),
)
_NON_COMMERCIAL = (
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
)
_OURS = frozenset(
    (*_PUBLIC_DOMAIN, *_PERMISSIVE, *_MODEL_TERMS, *_NON_COMMERCIAL, *(n for f in _SHARE_ALIKE for n in f))
)
# The Hub takes it for a licence, but it is a family of them, those that forbid derivatives among them.
_FAMILY = "cc"


@dataclass(frozen=True, slots=True)
class License:
    """What may be said about the licence of a dataset or a student.

    Attributes:
        identifier: The Hub's id of it; None when it can't be derived, or when nothing was retrieved.
        derivation: One sentence on how it was found.
        problems: What stands in the way, each naming its sources; empty when it may be published.
    """

    identifier: str | None
    derivation: str
    problems: tuple[str, ...] = ()


def derive_license(licenses: Mapping[str, str | None]) -> License:
    """Return the licence that rows of these sources may be published under.

    Args:
        licenses: Source to its licence id; several ids of one source are separated by commas, and all of them count.
    """
    if not licenses:
        return License(None, "No row of a dataset was used, so no source's licence applies.")
    holders: dict[str, list[str]] = {}
    for source, held in licenses.items():
        for name in (held or "").lower().split(","):
            identifier = name.strip() if _IDENTIFIER.fullmatch(name.strip()) else ""
            holders.setdefault(identifier, []).append(source)
    problems = _problems(holders)
    if problems:
        return License(None, "The licences of the sources do not add up to one.", problems)
    names = list(holders)
    if len(names) == 1:
        return License(names[0], f"All sources are under `{names[0]}`.")
    chosen = _most_restrictive(names)
    if chosen is None:
        return License(None, "The licences of the sources do not add up to one.", (_conflict(holders),))
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    if chosen in _PERMISSIVE and sum(name in _PERMISSIVE for name in names) > 1:
        return License(
            chosen,
            f"The sources' licences ({listed}) are all permissive, and none of them is the strictest in everything: "
            f"`{chosen}` is named for the whole, and each row keeps its own, whose notices go with it.",
        )
    return License(chosen, f"The most restrictive of the sources' licences ({listed}).")


def with_teacher(found: License, teacher: str | None) -> License:
    """Return the licence of rows of these sources once a teacher has worked on them: the more restrictive of both.

    Args:
        found: What follows from the sources.
        teacher: The licence id of the teacher's model; None or `other` changes nothing, for its terms are not known.
    """
    name = (teacher or "").strip().lower()
    return _with_model(found, name, "teacher", "sources") if _is_stated(name) else found


def with_base_models(found: License, bases: Mapping[str, str | None]) -> License:
    """Return the licence of a student that was trained from these models: the most restrictive of all.

    Args:
        found: What follows from the training data and its teacher.
        bases: What each is called (`base model`), with its licence id; where that is not known, the student's is not.
    """
    held = {model: (name or "").strip().lower() for model, name in bases.items()}
    unread = {model: name for model, name in held.items() if not _is_stated(name)}
    data = f"{found.derivation} " if found.identifier is None else f"The training data's is `{found.identifier}`. "
    for model, name in held.items():
        if model not in unread:
            found = _with_model(found, name, model, "training data")
    if unread and not found.problems:
        model, name = min(unread.items(), key=lambda item: item[1] == "other")
        if name == "other":
            return License("other", f"{data}The {model}'s has no id, and may ask for more.")
        return License("unknown", f"{data}The {model}'s is not known.")
    return found


def _is_stated(name: str) -> bool:
    return name not in UNSTATED and bool(_IDENTIFIER.fullmatch(name))


def _with_model(found: License, name: str, model: str, others: str) -> License:
    if found.problems:
        return found
    if found.identifier is None:
        if problems := _problems({name: [f"the {model}"]}):
            said = f"The {model}'s licence does not say what may be done with what is made by it."
            return License(None, said, problems)
        return License(name, f"No row of a dataset was used; `{name}` is the {model}'s licence.")
    if found.identifier == name:
        return License(name, f"{found.derivation} The {model}'s licence is the same.")
    holders = {found.identifier: [f"the {others}"], name: [f"the {model}"]}
    problems = _problems(holders)
    chosen = None if problems else _with_terms(found.identifier, name)
    if chosen is None:
        said = f"The licences of the {others} and of the {model} do not add up to one."
        return License(None, said, problems or (_conflict(holders),))
    if chosen == found.identifier:
        return License(chosen, f"{found.derivation} The {model}'s (`{name}`) asks for no more.")
    theirs = f"the {others}'" if others.endswith("s") else f"the {others}'s"
    return License(chosen, f"The {model}'s licence, which is more restrictive than {theirs} `{found.identifier}`.")


def _with_terms(found: str, name: str) -> str | None:
    """Return which of two licences covers the other; a model's own terms cover permissive licences alone."""
    for one, other in ((found, name), (name, found)):
        if one in _MODEL_TERMS:
            return one if other in (*_PUBLIC_DOMAIN, *_PERMISSIVE) else None
    return _most_restrictive([found, name])


def _problems(holders: Mapping[str, list[str]]) -> tuple[str, ...]:
    unstated = [source for name in UNSTATED for source in holders.get(name, ())]
    problems = [f"unknown licence: {', '.join(sorted(unstated))}"] if unstated else []
    problems += [
        f"{name} forbids derivatives: {', '.join(sorted(sources))}"
        for name, sources in holders.items()
        if "-nd" in name
    ]
    problems += [
        f"{name} is no licence whose terms are known here: {', '.join(sorted(sources))}"
        for name, sources in holders.items()
        if not (name in UNSTATED or _is_known(name) or "-nd" in name)
    ]
    return tuple(problems)


def _is_known(name: str) -> bool:
    return name != _FAMILY and (name in LICENSE_IDS or name in _OURS)


def _conflict(holders: Mapping[str, list[str]]) -> str:
    held = "; ".join(f"{name}: {', '.join(sorted(sources))}" for name, sources in sorted(holders.items()))
    if any(name not in _OURS for name in holders):
        return f"licences of which it is not known here whether one covers the others ({held})"
    return f"licences that can't be combined ({held})"


def _most_restrictive(names: list[str]) -> str | None:
    """Return the licence that covers all of `names` (two or more), or None when none does."""
    restricted = [name for name in names if name not in _PUBLIC_DOMAIN]
    if len(restricted) == 1:
        return restricted[0]
    if not restricted:
        return max(names, key=_PUBLIC_DOMAIN.index)
    bound = [name for name in restricted if name not in _PERMISSIVE]
    if not bound:
        return max(restricted, key=_PERMISSIVE.index)
    for family in (*_SHARE_ALIKE, _NON_COMMERCIAL):
        if all(name in family for name in bound):
            return max(bound, key=family.index)
    return None
