"""The hub: asked once, checked by SHA-256, and missed in a few seconds."""

import hashlib
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from parsing.errors import CsclError, InputError, MissingError
from parsing.parsers.hub import find_cached_folder, hub_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WANTED = (("config.json",), ("model.safetensors", "model-*.safetensors"))


class Hub:
    """A hub on this machine with one model, me/parser; `lie` makes the published hash another file's."""

    def __init__(self) -> None:
        self.files = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "optimizer.pt": b"large"}
        self.lie = False
        self.slow = 0.0
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(False)

            def do_GET(self) -> None:
                self.answer(True)

            def answer(self, body: bool) -> None:
                hub.asked.append(self.path)
                time.sleep(hub.slow)
                path = self.path.partition("?")[0]
                name = path.rpartition("/")[2]
                if path.startswith("/api/models/me/parser"):
                    content = json.dumps(hub.model()).encode()
                elif path.startswith("/me/parser/resolve/") and name in hub.files:
                    content = hub.files[name]
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def model(self) -> dict[str, object]:
        siblings: list[dict[str, object]] = []
        for name, content in self.files.items():
            digest = hashlib.sha256(b"other" if self.lie else content).hexdigest()
            lfs = {"sha256": digest, "size": len(content), "pointerSize": 1}
            siblings.append({"rfilename": name, "size": len(content)} | ({"lfs": lfs} if name != "config.json" else {}))
        return {"id": "me/parser", "modelId": "me/parser", "sha": COMMIT, "siblings": siblings, "tags": [],
                "private": False, "downloads": 0, "likes": 0}  # fmt: skip


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    yield served
    served.server.shutdown()
    served.server.server_close()


def fetch(hub: Hub, cache: Path, repo: str = "me/parser") -> Path:
    return hub_folder(repo, WANTED, "get it from its shelf", cache=cache, endpoint=hub.endpoint)


def test_what_a_parser_needs_is_fetched_once_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    assert find_cached_folder("me/parser", WANTED, tmp_path) is None
    folder = fetch(hub, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: hub.files[name] for name in ("config.json", "model.safetensors")
    }
    hub.asked.clear()
    assert fetch(hub, tmp_path) == find_cached_folder("me/parser", WANTED, tmp_path) == folder
    assert hub.asked == []


def test_a_file_whose_hash_is_not_the_hubs_is_refused_and_removed(hub: Hub, tmp_path: Path) -> None:
    hub.lie = True
    with pytest.raises(CsclError, match=r"model\.safetensors of me/parser arrived damaged"):
        fetch(hub, tmp_path)
    assert find_cached_folder("me/parser", WANTED, tmp_path) is None
    hub.lie = False
    assert (fetch(hub, tmp_path) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_model_that_is_not_there_or_lacks_a_file_is_told_from_no_network(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no public model me/other at .*shelf"):
        fetch(hub, tmp_path, "me/other")
    del hub.files["model.safetensors"]
    with pytest.raises(InputError, match=r"holds no model\.safetensors or model-"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_without_network_one_line_within_five_seconds(hub: Hub, tmp_path: Path, silent: bool) -> None:
    hub.slow = 20
    endpoint = hub.endpoint if silent else "http://127.0.0.1:9"
    began = time.monotonic()
    with pytest.raises(MissingError) as caught:
        hub_folder("me/parser", WANTED, "get it from its shelf", cache=tmp_path, endpoint=endpoint)
    assert time.monotonic() - began < 5
    assert (
        str(caught.value) == f"me/parser is not on this machine and {endpoint} does not answer: get it from its shelf"
    )
