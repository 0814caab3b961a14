"""Whether a token may write to a repository: asked before anything is paid, and nothing is written to find out.

What `whoami` tells of a token (`auth.accessToken`): its `role`, which is `read`, `write` or `fineGrained`; and of a
fine-grained one the permissions that it has everywhere (`fineGrained.global`) and on a user, an organisation or one
repository (`fineGrained.scoped`, each an `entity` with `type` and `name`, and its `permissions`).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# To make a repository, and to write to one that is there: a permission on all of it holds for its content.
_MAKES = frozenset({"repo.write"})
_WRITES = frozenset({"repo.write", "repo.content.write"})
# Repositories of a resource group can't be told by its name: the Hub is asked.
_EVERYWHERE = frozenset({"resource-group"})
_TOKENS = "https://huggingface.co/settings/tokens"


def prove(api: "HfApi", repo_id: str, repo_type: str) -> None:
    """Raise PublishError or the client's errors unless the repository may be written to."""
    from huggingface_hub import CommitOperationAdd

    exists = api.repo_exists(repo_id, repo_type=repo_type)
    account = api.whoami()
    namespace = repo_id.split("/")[0]
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise PublishError(
            f"The token can only read, so {repo_id} can't be written to. Make one with the role `write`: {_TOKENS}"
        )
    _check_namespace(account, namespace, scoped=token.get("role") == "fineGrained")
    if token.get("role") == "fineGrained" and isinstance(token.get("fineGrained"), Mapping):
        _check_grants(token["fineGrained"], repo_id, namespace, repo_type if exists else None)
    if exists:
        # A text file is only asked about, never stored: the Hub answers how it would take it, or 403.
        api.preupload_lfs_files(repo_id, [CommitOperationAdd("README.md", b"-")], repo_type=repo_type)


def _check_namespace(account: Mapping[str, Any], namespace: str, *, scoped: bool) -> None:
    """Raise where a namespace is not the user's, nor an organisation's that the user may write to.

    Args:
        scoped: The token is fine-grained: it need not be told of every organisation.
    """
    organisations = {org["name"]: org.get("roleInOrg") for org in account.get("orgs") or ()}
    role = organisations.get(namespace, "write" if scoped else "read")
    if namespace != account["name"] and role == "read":
        writable = ", ".join([account["name"], *(name for name, held in organisations.items() if held != "read")])
        raise PublishError(
            f"`{account['name']}` may not write to `{namespace}`. Use a repository of one of: {writable}."
        )


def _check_grants(grants: Mapping[str, Any], repo_id: str, namespace: str, there: str | None) -> None:
    """Raise where a fine-grained token was not given what writing takes.

    Args:
        there: The repository's type; None where it is yet to be made.
    """
    wanted = _WRITES if there else _MAKES
    if wanted & set(grants.get("global") or ()):
        return
    for kind, name in _granted(grants, wanted):
        on_repository = there is not None and (kind in _EVERYWHERE or (kind, name) == (there, repo_id))
        if on_repository or (kind in ("user", "org") and name == namespace):
            return
    raise PublishError(
        f"The fine-grained token has no write access to {repo_id}: it lacks the permission `repo.write` "
        f"{f'on it or on `{namespace}`' if there else f'on `{namespace}`, which making a repository takes'}. Give it "
        f"that, or take a token with the role `write`: {_TOKENS}"
    )


def _granted(grants: Mapping[str, Any], wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    for scope in grants.get("scoped") or ():
        if wanted & set(scope.get("permissions") or ()):
            entity = scope.get("entity") or {}
            yield str(entity.get("type")), str(entity.get("name"))
