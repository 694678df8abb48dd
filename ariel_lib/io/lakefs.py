"""Data sets in lakeFS: a reference lakefs://REPOSITORY/REF/PATH can be given in place of a data folder.

The reference is resolved to its present commit, whose files are copied once. Endpoint and keys come from the environment
variables of lakeFS's own client; without an endpoint a reference raises. API: https://docs.lakefs.io/reference/api.html,
version 1, tested against a stub only.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ariel_lib.errors import SpectraMindError

ENDPOINT = "LAKECTL_SERVER_ENDPOINT_URL"
KEYS = ("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")
COPIES = "SPECTRAMIND_LAKEFS"  # environment variable: folder of the copies
DEFAULT_COPIES = "outputs/lakefs"
SOURCE = "lakefs.json"  # in a copy: its repository, ref, path and commit; written last, so it marks a complete copy
PATIENCE = 60  # s, timeout of a request
PAGE = 1000  # objects a listing
# One slash or two, since pathlib reduces two to one. Names as lakeFS allows them.
_PATTERN = re.compile(r"lakefs:/{1,2}([a-z0-9][a-z0-9-]{2,62})/([\w.~^-]+)(?:/(.*))?")


class LakeFSError(SpectraMindError):
    """A reference that cannot be read; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class Reference:
    """A folder in a lakeFS repository. ref: branch, tag or commit; path: relative to the repository, empty for all of it."""

    repository: str
    ref: str
    path: str = ""

    def __str__(self) -> str:
        return f"lakefs://{self.repository}/{self.ref}/{self.path}"


def is_reference(text: object) -> bool:
    """Whether a path is a lakeFS reference."""
    return str(text).startswith("lakefs:")


def parse_reference(text: object) -> Reference:
    """Parse lakefs://REPOSITORY/REF/PATH. Raises LakeFSError for another form."""
    found = _PATTERN.fullmatch(str(text))
    if found is None or ".." in PurePosixPath(found[3] or "").parts:
        raise LakeFSError(f"{text}: expected lakefs://REPOSITORY/REF/PATH, with a folder as PATH")
    return Reference(found[1], found[2], (found[3] or "").strip("/"))


def local_folder(root: Path | str) -> Path:
    """A folder unchanged; for a lakeFS reference, a local copy of its present commit. Raises LakeFSError."""
    return copy_of(parse_reference(root)) if is_reference(root) else Path(root)


def source_of(folder: Path | str) -> dict | None:
    """repository, ref, path and commit of a copied folder; None for any other folder."""
    path = Path(folder) / SOURCE
    return json.loads(path.read_bytes()) if path.is_file() else None


@lru_cache
def copy_of(reference: Reference) -> Path:
    """A local copy of the reference's commit, made if missing. Cached: within a process a branch means one commit."""
    if not os.environ.get(ENDPOINT):
        raise LakeFSError(
            f"{reference}: expected a lakeFS endpoint, found none configured. Set {ENDPOINT}, {KEYS[0]} and {KEYS[1]}, or give a folder."
        )
    commit = _commit(reference)
    name = hashlib.sha256(reference.path.encode()).hexdigest()[:12] if reference.path else "all"
    target = Path(os.environ.get(COPIES, DEFAULT_COPIES)) / reference.repository / commit / name
    if (target / SOURCE).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copying-") as scratch:
        copying = Path(scratch) / "data"
        copying.mkdir()
        prefix = f"{reference.path}/" if reference.path else ""
        for entry in _objects(reference.repository, commit, prefix):
            _download(reference.repository, commit, entry, copying, str(entry["path"]).removeprefix(prefix))
        if not any(copying.iterdir()):
            raise LakeFSError(f"{reference}: expected files there, found none in commit {commit}")
        (copying / SOURCE).write_text(json.dumps(asdict(reference) | {"commit": commit}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)  # a copy without SOURCE is incomplete
        os.replace(copying, target)
    return target


def _commit(reference: Reference) -> str:
    """Id of the latest commit of a reference."""
    found = _get_json(f"repositories/{reference.repository}/refs/{quote(reference.ref, safe='')}/commits", amount=1)
    if not found.get("results"):
        raise LakeFSError(f"{reference}: expected a commit, found none under {reference.ref}")
    return str(found["results"][0]["id"])


def _objects(repository: str, commit: str, prefix: str) -> Iterator[Mapping]:
    """All objects of a commit under a prefix, as the listing describes them (path, size_bytes), page by page."""
    after = ""
    while True:
        page = _get_json(f"repositories/{repository}/refs/{commit}/objects/ls", prefix=prefix, after=after, amount=PAGE)
        yield from (entry for entry in page["results"] if entry.get("path_type", "object") == "object")
        if not page["pagination"]["has_more"]:
            return
        after = page["pagination"]["next_offset"]


def _download(repository: str, commit: str, entry: Mapping, folder: Path, name: str) -> None:
    """Download one object to folder/name. Raises LakeFSError for a name outside the folder, and for a part of the object."""
    about = f"lakefs://{repository}/{commit}/{entry['path']}"
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise LakeFSError(f"{about}: expected a name inside its folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _open(f"repositories/{repository}/refs/{commit}/objects", path=entry["path"]) as answer, target.open("wb") as file:
        try:
            shutil.copyfileobj(answer, file)
        except (OSError, HTTPException) as error:
            raise _broken_off(about, error) from error
        announced = answer.headers.get("Content-Length")
    found = target.stat().st_size
    for wanted in (entry.get("size_bytes"), announced):
        if wanted is not None and found != int(wanted):
            raise LakeFSError(f"{about}: expected {wanted} bytes, found {found}. The download was cut short; run it again.")


def _broken_off(where: str, error: Exception) -> Exception:
    """An answer that ended before its time; a fault of this machine's disk, which has an error number and a file, stays one."""
    if isinstance(error, OSError) and error.filename is not None:
        return error
    return LakeFSError(f"{where}: expected the whole answer, found a broken connection ({error}). Run it again.")


def _get_json(where: str, **query: object) -> dict:
    with _open(where, **query) as answer:
        try:
            return json.load(answer)
        except ValueError as error:
            raise LakeFSError(f"{answer.url}: expected JSON, found {error}. Is {ENDPOINT} that of a lakeFS server?") from error
        except (OSError, HTTPException) as error:
            raise _broken_off(answer.url, error) from error


class _KeysStayHere(HTTPRedirectHandler):
    """Follows a redirect, such as to an object store, without the keys where it leads to another scheme, host or port."""

    def redirect_request(self, request, file, code, message, headers, address):
        new = super().redirect_request(request, file, code, message, headers, address)
        if new is not None and urlsplit(new.full_url)[:2] != urlsplit(request.full_url)[:2]:
            new.remove_header("Authorization")
        return new


def _open(where: str, **query: object):
    """GET a path of the API with basic authentication; returns the open response."""
    endpoint = os.environ[ENDPOINT].rstrip("/").removesuffix("/api/v1")
    if not endpoint.startswith(("http://", "https://")):
        raise LakeFSError(f"{ENDPOINT}: expected http(s)://HOST, found {endpoint!r}")
    user = ":".join(os.environ.get(key, "") for key in KEYS)
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    try:
        address = f"{endpoint}/api/v1/{where}?{urlencode(query)}"
        return build_opener(_KeysStayHere).open(Request(address, headers=headers), timeout=PATIENCE)
    except HTTPError as error:
        raise LakeFSError(f"{endpoint}: expected {where}, found HTTP {error.code} {error.reason}") from error
    except (URLError, HTTPException, TimeoutError) as error:
        raise LakeFSError(f"{endpoint}: expected a lakeFS server, found {getattr(error, 'reason', error)}") from error
