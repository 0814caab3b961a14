"""Which licences may be indexed: an allow-list, unknown refused."""

from collections.abc import Sequence

from rebase_hf.errors import RowIndexError

# Licences under which a row may be adapted and passed on, also commercially, as the Hub spells their ids.
# Non-commercial (nc) and no-derivatives (nd) ones are left out: what is made here is a derivative. Share-alike ones
# are in; the card of what is made names them.
DEFAULT_LICENSES: tuple[str, ...] = (
    "apache-2.0",
    "mit",
    "mit-0",
    "isc",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "zlib",
    "bsl-1.0",
    "unlicense",
    "wtfpl",
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "odc-by",
    "odbl",
    "pddl",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "gfdl",
    "artistic-2.0",
    "ecl-2.0",
    "ms-pl",
    "postgresql",
    "ncsa",
)


def allowed_licenses(licenses: Sequence[str] | str) -> tuple[str, ...] | None:
    """Return the allowed ids in a fixed order, or None when every source may be read.

    Args:
        licenses: Ids as the Hub spells them, or `any` (alone or in the list).

    Raises:
        RowIndexError: The list is empty.
    """
    ids = [licenses] if isinstance(licenses, str) else list(licenses)
    names = tuple(sorted({name.strip().lower() for name in ids} - {""}))
    if not names:
        raise RowIndexError(
            "`licenses` is empty, so no source could be indexed. Give licence ids such as `apache-2.0`, or `any`."
        )
    return None if "any" in names else names


def license_refusal(held: Sequence[str], allowed: Sequence[str] | None) -> tuple[str, str] | None:
    """Return why a source of these licences is refused (reason, detail), or None when it may be indexed.

    A source under several licences is refused when any of them is not allowed.
    """
    if allowed is None:
        return None
    known = [name for name in held if name not in ("unknown", "")]
    if not known:
        return "unknown_license", "its card names no licence; allow it with `--license any`"
    refused = [name for name in known if name not in allowed]
    if refused:
        return "license_not_allowed", f"`{', '.join(refused)}` is not allowed; allow it with `--license {refused[0]}`"
    return None
