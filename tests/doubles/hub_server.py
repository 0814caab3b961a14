"""A loopback Hub that the real clients read from and write to.

The routes are those that huggingface_hub 2.4 and datasets 5.2 were seen to call: whoami, repos (create, delete,
settings), listing by pages, info, tree, paths-info, refs, tags, branches, commits, resolve with ranges, preupload,
LFS, commit and validate-yaml. Every commit has a sha, and old revisions stay readable. Constants of huggingface_hub
are read when it is imported, so what talks to it runs in a process of its own:

    with HubServer() as hub:
        sha = hub.add_repo("org/name", files={"README.md": b"...", "data/train.jsonl": b"..."})
        subprocess.run([sys.executable, "-c", code], env=hub.env(tmp_path), check=True)
        assert hub.repos["dataset", "org/name"].files
"""

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import yaml

from tests.doubles.hub_repository import DATE, GITATTRIBUTES, Blob, Commit, Repository, is_binary, is_lfs

if TYPE_CHECKING:
    from tests.doubles.hub_storage import HubStorage

PLURAL = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    token: str | None
    body: bytes
    range: str | None = None


@dataclass
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


class Refusal(Exception):
    """The request is answered with an error, in the Hub's way."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.answer = Answer.of({"error": message or code}, status)
        self.answer.headers |= {"X-Error-Code": code} if code else {}
        self.answer.headers |= (
            {"X-Error-Message": " ".join(message.encode("ascii", "replace").decode().split())} if message else {}
        )


class HubServer:
    """The double.

    Attributes:
        url: Its address; what HF_ENDPOINT must be.
        token: The token of `tester`, who may write to `writable` namespaces. `read_token` may only read.
        grants: What fine-grained tokens of `tester` may do, by token: what `whoami` tells of them as `fineGrained`.
        repos: The repositories by (type, id).
        requests: Every request in the order of arrival.
        failures: Rules (method, part of the path, status, how often) that make requests fail before they do anything.
        sent: Bytes of every answer's body by path, in order.
        page: Datasets on one page of a listing.
        storage: Another host that keeps large files, as the Hub's are; None: they are kept here.
        stalled: Parts of paths whose answers stop after their first byte, until `release` is set.
    """

    token = "hf_testWrite"
    read_token = "hf_testRead"

    def __init__(self, *, storage: "HubStorage | None" = None) -> None:
        self.storage = storage
        self.repos: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.failures: list[tuple[str, str, int, int]] = []
        self.writable = {"tester", "org"}
        self.grants: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.sent: list[tuple[str, int]] = []
        self.page = 1000
        self.stalled: list[str] = []
        self.release = threading.Event()
        self.failure_headers: dict[str, str] = {}
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def env(self, home: Path | str, token: str | None = token) -> dict[str, str]:
        """The whole environment of a process that sees this Hub and keeps its caches under `home`; None: no token."""
        env = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_CACHE"):
            env.pop(name, None)
        env |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": f"{home}/hf",
            "REBASE_HOME": f"{home}/rebase",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return env | ({"HF_TOKEN": token} if token else {})

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes | str] | Path | None = None,
        *,
        repo_type: str = "dataset",
        gated: bool | str = False,
        private: bool = False,
        downloads: int = 0,
    ) -> str:
        """Put a repository there (or a further commit on it) and return the commit's sha.

        Args:
            files: Content by path, or a folder whose files are taken.
        """
        if isinstance(files, Path):
            files = {
                str(path.relative_to(files)): path.read_bytes() for path in sorted(files.rglob("*")) if path.is_file()
            }
        contents = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        with self.lock:
            repo = self.repos.setdefault(
                (repo_type, repo_id), Repository(repo_id, repo_type, private, gated, downloads)
            )
            kept = dict(repo.head.files) if repo.commits else {".gitattributes": Blob(GITATTRIBUTES, lfs=False)}
            kept |= {path: Blob(content, is_lfs(path, len(content))) for path, content in contents.items()}
            return repo.commit(kept, "Add files").sha

    def fail(self, method: str, part: str, status: int, times: int = 1) -> None:
        """Make the next `times` requests of `method` whose path holds `part` fail with `status`."""
        self.failures.append((method, part, status, times))

    def commits(self, repo_id: str, repo_type: str = "dataset") -> list[Commit]:
        """The commits of a repository, oldest first."""
        return self.repos[repo_type, repo_id].commits

    # What the requests do. Each takes the request, what its route captured, and the query.

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        url = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        with self.lock:
            self.requests.append(request)
            for i, (method, part, status, times) in enumerate(self.failures):
                if method == request.method and part in request.path and times:
                    self.failures[i] = (method, part, status, times - 1)
                    refused = Refusal(status, message="made to fail by the test").answer
                    refused.headers |= self.failure_headers
                    return refused
            for method, pattern, do in ROUTES:
                if method == request.method and (match := re.fullmatch(pattern, url.path)):
                    try:
                        return do(self, request, {k: unquote(v or "") for k, v in match.groupdict().items()}, query)
                    except Refusal as refusal:
                        return refusal.answer
        return Refusal(404, message=f"no such route: {request.method} {url.path}").answer

    def whoami(self, request: Request, *_: Any) -> Answer:
        if request.token not in self._known():
            raise Refusal(401, message="Invalid credentials in Authorization header")
        grants = self.grants.get(request.token or "")
        role = "fineGrained" if grants is not None else "write" if request.token == self.token else "read"
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in sorted(self.writable - {"tester"})]
        told = {"displayName": "test", "role": role} | ({} if grants is None else {"fineGrained": grants})
        auth = {"type": "access_token", "accessToken": told}
        return Answer.of({"type": "user", "name": "tester", "fullname": "Tester", "orgs": orgs, "auth": auth})

    def create(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        asked = json.loads(request.body)
        repo_id = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        key = (asked.get("type") or "model", repo_id)
        self._check_write(request, repo_id)
        prefix = "" if key[0] == "model" else f"{key[0]}s/"
        answer = Answer.of({"url": f"{self.url}/{prefix}{repo_id}", "name": repo_id, "id": repo_id})
        if key in self.repos:
            answer.status = 409
            return answer
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.repos[key] = Repository(repo_id, key[0], private)
        self.repos[key].commit({".gitattributes": Blob(GITATTRIBUTES, lfs=False)}, "initial commit")
        return answer

    def delete(self, request: Request, *_: Any) -> Answer:
        asked = json.loads(request.body)
        repo_id = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        self._check_write(request, repo_id)
        if self.repos.pop((asked.get("type") or "model", repo_id), None) is None:
            raise Refusal(404, "RepoNotFound")
        return Answer.of({})

    def settings(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo, asked = self._repo(request, route, write=True), json.loads(request.body)
        repo.private = (
            asked.get("visibility", "private" if asked.get("private", repo.private) else "public") == "private"
        )
        repo.gated = asked.get("gated", repo.gated)
        return Answer.of({})

    def bytes_sent(self, part: str) -> int:
        """How many bytes of bodies went out for paths that hold `part`."""
        return sum(size for path, size in self.sent if part in path)

    def listing(self, request: Request, *_: Any) -> Answer:
        """GET /api/datasets: all of the tags in `filter`, most downloads first, by pages with a Link to the next."""
        url = urlsplit(request.path)
        asked = parse_qs(url.query)
        tags, expand = asked.get("filter", []), asked.get("expand", [])
        found = []
        for (kind, _), repo in self.repos.items():
            about = repo.info(repo.head)
            visible = not repo.private or request.token in self._known()
            if kind == "dataset" and visible and set(tags) <= set(about["tags"]):
                kept = {"_id", "id", *expand} if expand else set(about) - {"siblings", "cardData", "sha"}
                found.append({name: value for name, value in about.items() if name in kept})
        if asked.get("sort") == ["downloads"]:
            found.sort(key=lambda about: -self.repos["dataset", about["id"]].downloads)
        start = int(asked.get("cursor", ["0"])[0])
        size = min(self.page, int(asked.get("limit", [str(self.page)])[0]))
        answer = Answer.of(found[start : start + size])
        if start + size < len(found):
            query = [(name, value) for name, values in asked.items() for value in values if name != "cursor"]
            after = urlencode([*query, ("cursor", str(start + size))])
            answer.headers["Link"] = f'<{self.url}{url.path}?{after}>; rel="next"'
        return answer

    def info(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        return Answer.of(repo.info(self._commit(repo, route.get("rev") or "main"), blobs="blobs" in query))

    def tree(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        flags = {name: query.get(name, "").lower() == "true" for name in ("recursive", "expand")}
        entries = repo.tree(self._commit(repo, route["rev"]), route["path"].strip("/"), **flags)
        if entries is None:
            raise Refusal(404, "EntryNotFound", f"{route['path']} does not exist on {route['rev']}")
        return Answer.of(entries)

    def paths_info(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        asked = parse_qs(request.body.decode())
        expand = asked.get("expand", ["false"])[0].lower() == "true"
        return Answer.of(repo.paths_info(self._commit(repo, route["rev"]), asked.get("paths", []), expand=expand))

    def refs(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        named = (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
        listed = {
            key: [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in names.items()]
            for key, kind, names in named
        }
        return Answer.of({**listed, "converts": []})

    def history(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        upto = repo.commits.index(self._commit(repo, route["rev"])) + 1
        user = [{"user": "tester"}]
        return Answer.of(
            [
                {"id": c.sha, "title": c.title, "message": c.message, "date": DATE, "authors": user}
                for c in reversed(repo.commits[:upto])
            ]
        )

    def tag(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route, write=True)
        if request.method == "DELETE":
            if repo.tags.pop(route["rev"], None) is None:
                raise Refusal(404, "RevisionNotFound")
            return Answer.of({})
        name = json.loads(request.body)["tag"]
        if name in repo.tags:
            raise Refusal(409, message=f"Tag {name} already exists")
        repo.tags[name] = self._commit(repo, route["rev"]).sha
        return Answer.of({})

    def branch(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route, write=True)
        if request.method == "DELETE":
            del repo.branches[route["rev"]]
            return Answer.of({})
        if route["rev"] in repo.branches:
            raise Refusal(409, message="Reference already exists")
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        repo.branches[route["rev"]] = self._commit(repo, start).sha
        return Answer.of({})

    def preupload(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route, write=True)
        held, files = self._commit(repo, route["rev"]).files, []
        for asked in json.loads(request.body)["files"]:
            path, known = asked["path"], held.get(asked["path"])
            binary = is_binary(base64.b64decode(asked.get("sample") or ""))
            mode = "lfs" if binary or is_lfs(path, asked["size"]) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known and known.etag})
        return Answer.of({"files": files})

    def lfs_batch(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        self._repo(request, route, write=True)
        objects = []
        for asked in json.loads(request.body)["objects"]:
            oid, upload = asked["oid"], {"href": f"{self.url}/lfs-storage/{asked['oid']}"}
            if self.storage is not None:
                upload = self.storage.upload_action(oid, asked["size"])
            actions = {"upload": upload, "verify": {"href": f"{self.url}/lfs-verify/{oid}"}}
            known = oid in self._objects()
            objects.append({**asked, "authenticated": True} | ({} if known else {"actions": actions}))
        return Answer.of({"transfer": "basic", "objects": objects})

    def lfs_put(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != route["oid"]:
            raise Refusal(400, message="The content does not have the sha256 it was announced with")
        self.uploads[route["oid"]] = request.body
        return Answer(200)

    def _objects(self) -> dict[str, bytes]:
        return self.uploads if self.storage is None else self.storage.objects

    def lfs_verify(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        if route["oid"] not in self._objects():
            raise Refusal(404, message="Object not found")
        return Answer.of({})

    def commit(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo, branch = self._repo(request, route, write=True), route["rev"]
        if branch not in repo.branches:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, repo.branches[branch]):
            raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(self._commit(repo, branch).files)
        for line in lines:
            self._apply(line["key"], line["value"], files)
        made = repo.commit(files, header["summary"], header.get("description", ""), branch)
        prefix = "" if repo.repo_type == "model" else f"{repo.repo_type}s/"
        url = f"{self.url}/{prefix}{repo.repo_id}/commit/{made.sha}"
        return Answer.of({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})

    def _apply(self, key: str, value: dict[str, Any], files: dict[str, Blob]) -> None:
        path = value.get("path", "")
        if key == "file":
            content = (
                base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
            )
            if is_binary(content):
                raise Refusal(400, message=f"Your push was rejected because it contains binary files: {path}")
            if path == "README.md":
                self._check_card(content.decode())
            files[path] = Blob(content, lfs=False)
        elif key == "lfsFile":
            known = [
                blob.content
                for repo in self.repos.values()
                for c in repo.commits
                for blob in c.files.values()
                if blob.lfs and blob.sha256 == value["oid"]
            ]
            if value["oid"] not in self._objects() and not known:
                raise Refusal(400, message=f"LFS object {value['oid']} of {path} was never uploaded")
            files[path] = Blob(self._objects().get(value["oid"]) or known[0], lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refusal(404, "EntryNotFound", f"{path} does not exist")
        elif key == "deletedFolder":
            for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
                del files[name]

    def validate_yaml(self, request: Request, *_: Any) -> Answer:
        try:
            self._check_card(json.loads(request.body)["content"])
        except Refusal as refusal:
            return Answer.of({"errors": [{"message": json.loads(refusal.answer.body)["error"]}], "warnings": []}, 400)
        return Answer.of({"errors": [], "warnings": []})

    def resolve(self, request: Request, route: dict[str, str], query: dict[str, str]) -> Answer:
        repo = self._repo(request, route)
        commit = self._commit(repo, route["rev"])
        if repo.gated and request.token not in repo.granted:
            raise Refusal(403 if request.token else 401, "GatedRepo", f"Access to {repo.repo_id} is restricted.")
        blob = commit.files.get(route["path"])
        if blob is None:
            refusal = Refusal(404, "EntryNotFound", "Entry not found")
            refusal.answer.headers["X-Repo-Commit"] = commit.sha
            raise refusal
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
            if self.storage is not None:
                return Answer(302, b"", headers | {"Location": self.storage.address(blob.sha256, blob.content)})
        return Answer(200, blob.content, headers)

    def _repo(self, request: Request, route: dict[str, str], *, write: bool = False) -> Repository:
        repo = self.repos.get((PLURAL.get(route.get("kind", "").strip("/"), "model"), route["repo"]))
        if repo is None or (repo.private and request.token not in self._known()):
            raise Refusal(404 if request.token else 401, "RepoNotFound", "Repository not found")
        if write:
            self._check_write(request, repo.repo_id)
        return repo

    def _check_write(self, request: Request, repo_id: str) -> None:
        if request.token not in self._known():
            raise Refusal(401, message="Invalid credentials in Authorization header")
        grants = self.grants.get(request.token or "")
        allowed = grants is None or _may_write(grants, repo_id)
        if request.token == self.read_token or repo_id.split("/")[0] not in self.writable or not allowed:
            raise Refusal(403, message=f"You don't have the rights to write to {repo_id}")

    def _known(self) -> set[str | None]:
        return {self.token, self.read_token, *self.grants}

    @staticmethod
    def _commit(repo: Repository, revision: str) -> Commit:
        commit = repo.at(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    @staticmethod
    def _check_card(text: str) -> None:
        match = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
        try:
            held = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            raise Refusal(400, message=f"Invalid YAML metadata: {' '.join(str(error).split())}") from error
        if not isinstance(held or {}, dict):
            raise Refusal(400, message="YAML metadata must be a mapping")


def _may_write(grants: Mapping[str, Any], repo_id: str) -> bool:
    """Whether a fine-grained token may write to a repository, which may be one that is not there."""
    named = [scope["entity"]["name"] for scope in grants["scoped"] if "repo.write" in scope["permissions"]]
    return "repo.write" in grants["global"] or bool({repo_id, repo_id.split("/")[0]} & set(named))


Do = Callable[[HubServer, Request, dict[str, str], dict[str, str]], Answer]
_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
_WEB = r"/(?P<kind>datasets/|spaces/)?(?P<repo>[^/]+/[^/]+?)"
_REV = r"/(?P<rev>[^/]+)"
ROUTES: list[tuple[str, str, Do]] = [
    ("GET", r"/api/whoami-v2", HubServer.whoami),
    ("POST", r"/api/validate-yaml", HubServer.validate_yaml),
    ("POST", r"/api/repos/create", HubServer.create),
    ("DELETE", r"/api/repos/delete", HubServer.delete),
    ("PUT", _API + r"/settings", HubServer.settings),
    ("GET", r"/api/datasets", HubServer.listing),
    ("GET", _API, HubServer.info),
    ("GET", _API + r"/revision" + _REV, HubServer.info),
    ("GET", _API + r"/tree" + _REV + r"(?P<path>/.*)?", HubServer.tree),
    ("POST", _API + r"/paths-info" + _REV, HubServer.paths_info),
    ("GET", _API + r"/refs", HubServer.refs),
    ("GET", _API + r"/commits" + _REV, HubServer.history),
    ("POST", _API + r"/tag" + _REV, HubServer.tag),
    ("DELETE", _API + r"/tag" + _REV, HubServer.tag),
    ("POST", _API + r"/branch" + _REV, HubServer.branch),
    ("DELETE", _API + r"/branch" + _REV, HubServer.branch),
    ("POST", _API + r"/preupload" + _REV, HubServer.preupload),
    ("POST", _API + r"/commit" + _REV, HubServer.commit),
    ("POST", _WEB + r"\.git/info/lfs/objects/batch", HubServer.lfs_batch),
    ("PUT", r"/lfs-storage/(?P<oid>\w+)", HubServer.lfs_put),
    ("POST", r"/lfs-verify/(?P<oid>\w+)", HubServer.lfs_verify),
    ("GET", _WEB + r"/resolve" + _REV + r"/(?P<path>.+)", HubServer.resolve),
    ("HEAD", _WEB + r"/resolve" + _REV + r"/(?P<path>.+)", HubServer.resolve),
]


class Handler(BaseHTTPRequestHandler):
    """HTTP only: reads the request, cuts the range out of the answer, writes it."""

    hub: "HubServer | HubStorage"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip() or None
        answer = self.hub.answer(Request(self.command, self.path, token, self._body(), self.headers.get("Range")))
        body, total = answer.body, len(answer.body)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked and answer.status == 200 and "Accept-Ranges" in answer.headers:
            first = int(asked[1]) if asked[1] else max(total - int(asked[2] or 0), 0)
            last = min(int(asked[2]), total - 1) if asked[1] and asked[2] else total - 1
            if first > last:
                answer, body = Answer(416, b"", {"Content-Range": f"bytes */{total}"}), b""
            else:
                answer.status, body = 206, body[first : last + 1]
                answer.headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if any(part in self.path for part in self.hub.stalled):
            self.wfile.write(body[:1])
            self.hub.release.wait()
            return
        self.wfile.write(body)
        with self.hub.lock:
            self.hub.sent.append((self.path, len(body)))

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `requests`; standard error stays clean."""
