"""The repositories of the Hub double: files, commits, branches and tags, kept in memory and never forgotten."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

LFS_SUFFIXES = (
    ".parquet",
    ".arrow",
    ".safetensors",
    ".bin",
    ".pkl",
    ".joblib",
    ".npy",
    ".usearch",
    ".gz",
    ".zip",
    ".png",
)
LFS_FROM = 10 * 1024 * 1024
DATE = "2026-01-01T00:00:00.000Z"
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


def is_lfs(path: str, size: int) -> bool:
    """Whether the Hub would take a file by LFS: by its name, or because it is large."""
    return path.endswith(LFS_SUFFIXES) or size > LFS_FROM


def is_binary(content: bytes) -> bool:
    """Whether the Hub would take this beginning of a file for that of a binary one, which git itself must not keep."""
    try:
        return "\0" in content.decode()
    except UnicodeDecodeError as error:
        return len(content) - error.start > 3  # not just a character that the end cuts


def git_oid(content: bytes) -> str:
    """The name that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Blob:
    """One version of one file."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git keeps in place of a file that went by LFS."""
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @cached_property
    def oid(self) -> str:
        return git_oid(self.pointer if self.lfs else self.content)

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def describe(self, path: str, *, expand: bool = False) -> dict[str, Any]:
        """The file's entry in a tree listing."""
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": len(self.content), "path": path}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(self.pointer)}
        if expand:
            entry["lastCommit"] = {"id": "0" * 40, "title": "", "date": DATE}
        return entry


@dataclass(frozen=True)
class Commit:
    """One state of a repository; its files stay readable at its sha for ever."""

    sha: str
    files: Mapping[str, Blob]
    title: str
    message: str


@dataclass
class Repository:
    """One repository: its commits in order, and the names that point at them.

    Attributes:
        granted: Tokens that may read the files although the repository is gated.
    """

    repo_id: str
    repo_type: str
    private: bool = False
    gated: bool | str = False
    downloads: int = 0
    disabled: bool = False
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    @property
    def head(self) -> Commit:
        """The newest commit of `main`."""
        commit = self.at("main")
        assert commit is not None
        return commit

    @property
    def files(self) -> dict[str, bytes]:
        """The files on `main` by path."""
        return {path: blob.content for path, blob in self.head.files.items()}

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a sha names."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name) or revision
        return next((commit for commit in self.commits if commit.sha == sha), None)

    def commit(self, files: Mapping[str, Blob], title: str, message: str = "", branch: str = "main") -> Commit:
        """Make `files` the whole state of a branch."""
        digest = hashlib.sha1(f"{self.repo_type}/{self.repo_id}/{len(self.commits)}/{title}".encode())
        for path in sorted(files):
            digest.update(f"\0{path}\0{files[path].etag}".encode())
        commit = Commit(digest.hexdigest(), dict(files), title, message)
        self.commits.append(commit)
        self.branches[branch] = commit.sha
        return commit

    def tree(self, commit: Commit, folder: str, *, recursive: bool, expand: bool) -> list[dict[str, Any]] | None:
        """The listing of a folder; None when there is no such folder."""
        prefix = f"{folder}/" if folder else ""
        below = [path for path in sorted(commit.files) if path.startswith(prefix)]
        if folder and not below:
            return None
        entries = [
            commit.files[path].describe(path, expand=expand)
            for path in below
            if recursive or "/" not in path[len(prefix) :]
        ]
        return [*_folders(below, prefix, recursive), *entries]

    def paths_info(self, commit: Commit, paths: list[str], *, expand: bool) -> list[dict[str, Any]]:
        """The entries of those of `paths` that exist."""
        found = []
        for path in paths:
            if path in commit.files:
                found.append(commit.files[path].describe(path, expand=expand))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                found.append({"type": "directory", "oid": git_oid(path.encode()), "size": 0, "path": path})
        return found

    def info(self, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
        """What `dataset_info` or `model_info` is told."""
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
        for sibling in siblings if blobs else ():
            blob = commit.files[sibling["rfilename"]]
            sibling |= {"size": len(blob.content), "blobId": blob.oid}
            if blob.lfs:
                sibling["lfs"] = {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
        card = self.card(commit)
        return {
            "_id": git_oid(self.repo_id.encode())[:24],
            "id": self.repo_id,
            "modelId": self.repo_id,
            "author": self.repo_id.split("/")[0],
            "sha": commit.sha,
            "lastModified": DATE,
            "createdAt": DATE,
            "private": self.private,
            "gated": self.gated,
            "disabled": self.disabled,
            "downloads": self.downloads,
            "likes": 0,
            "tags": list(_tags(card)),
            "pipeline_tag": card.get("pipeline_tag"),
            "library_name": card.get("library_name"),
            "cardData": card or None,
            "siblings": siblings,
        }

    @staticmethod
    def card(commit: Commit) -> dict[str, Any]:
        """The metadata of the card; empty where there is none."""
        text = commit.files["README.md"].content.decode() if "README.md" in commit.files else ""
        parts = text.split("---\n")
        loaded = yaml.safe_load(parts[1]) if text.startswith("---\n") and len(parts) > 2 else None
        return loaded if isinstance(loaded, dict) else {}


def _tags(card: Mapping[str, Any]) -> Iterator[str]:
    for key in ("license", "language", "task_categories", "size_categories"):
        values = card.get(key) or []
        yield from (f"{key}:{value}" for value in ([values] if isinstance(values, str) else values))
    yield from card.get("tags") or []


def _folders(paths: list[str], prefix: str, recursive: bool) -> list[dict[str, Any]]:
    names = set()
    for path in paths:
        parts = path[len(prefix) :].split("/")[:-1]
        for depth in range(1, len(parts) + 1 if recursive else min(len(parts), 1) + 1):
            names.add(prefix + "/".join(parts[:depth]))
    return [{"type": "directory", "oid": git_oid(name.encode()), "size": 0, "path": name} for name in sorted(names)]
