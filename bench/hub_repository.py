"""What large repositories and many repositories cost: CPU of the server for each request.

    python bench/hub_repository.py [--folder DIR] [--files 1000,100000] [--repositories 10000] [--commits 1000000] [--json]

Part one: a page of the tree, a commit of one file and the info of a repository with 1,000 files and of one with 100,000, in folders of
1,000. Part two: a list, a filtered list and a search among 10,000 repositories with 1,000,000 commits. The peer of part one is git
itself on a bare repository with the same files: `git ls-tree` of one folder, and a commit of one file by `update-index`,
`write-tree` and `commit-tree`. CPU seconds of the server process (user and system), the requests in turns.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from lilong.app import open_house_with_floors
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git.objects import Signature, commit_bytes, object_id
from lilong.floors.hub.service import commits
from lilong.floors.hub.service.commits import Ask
from lilong.ground.access import SYSTEM
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.presence import running

ORGANISATION = "lantern-works"
TURNS = 5
EACH = 20  # requests in a turn


def made(house: House, sizes: list[int]) -> dict[int, list[float]]:
    """Repositories with so many files; the CPU seconds that each commit of 1,000 files took."""
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, ORGANISATION))
    took: dict[int, list[float]] = {}
    for size in sizes:
        name = f"{ORGANISATION}/files-{size}"
        commits.create(house, SYSTEM, Kind.DATASET, name, private=False)
        took[size] = []
        for folder in range(size // 1000):
            before = time.process_time()
            contents = [f"{folder} {number}\n".encode() for number in range(1000)]
            puts = dict(zip((f"f{folder:03}/{number:04}.txt" for number in range(1000)), commits.keep(house, contents), strict=True))
            commits.commit(house, SYSTEM, Kind.DATASET, name, "main", Ask(puts, f"Folder {folder}"))
            took[size].append(time.process_time() - before)
    return took


def many(house: House, repositories: int, each: int) -> None:
    """Rows of so many repositories with `each` commits, written in bulk as the service would write them one by one."""
    tree = object_id("tree", b"")

    def write(start: int) -> Callable[[Tx], None]:
        def run(tx: Tx) -> None:
            rows, lines, refs, tags, history = [], [], [], [], []
            for number in range(start, min(start + 250, repositories)):
                identity, at = f"bulk{number:08}", f"2026-{1 + number % 12:02}-{1 + number % 28:02}T10:00:{number % 60:02}.000000Z"
                rows.append(
                    {
                        "id": identity,
                        "name": f"model-{number}-{'tide' if number % 50 == 0 else 'reef'}",
                        "at": at,
                        "likes": number % 97,
                        "downloads": number * 7 % 1009,
                    }
                )
                lines.append({"r": identity})
                parent = None
                for depth in range(each):
                    content = commit_bytes(
                        tree, [parent] if parent else [], Signature("mei", "mei@users.invalid", depth + number), f"Commit {depth}"
                    )
                    commit = object_id("commit", content)
                    history.append(
                        {"r": identity, "id": commit, "tree": tree, "parent": parent, "at": at, "content": content, "depth": depth}
                    )
                    parent = commit
                refs.append({"r": identity, "target": parent, "at": at})
                tags += [
                    {"r": identity, "tag": tag}
                    for tag in ("license:apache-2.0", f"family-{number % 40}", "text-generation" if number % 3 else "feature-extraction")
                ]
            tx.many("INSERT INTO hub_repositories (id, kind, organisation, name, private, created_by, created_at, updated_at, likes, downloads) "
                    f"VALUES (:id, 'model', '{ORGANISATION}', :name, 0, 'house', :at, :at, :likes, :downloads)", rows)  # fmt: skip
            tx.many("INSERT INTO hub_lines (repository, line) VALUES (:r, 0)", lines)
            tx.many("INSERT INTO hub_commits (repository, id, tree, parent, manifest, author, message, at, content, line, depth) "
                    "VALUES (:r, :id, :tree, :parent, '', 'mei', 'Commit', :at, :content, 0, :depth)", history)  # fmt: skip
            tx.many(
                "INSERT INTO hub_refs (repository, name, target, message, updated_at) VALUES (:r, 'refs/heads/main', :target, '', :at)",
                refs,
            )
            tx.many("INSERT INTO hub_tags (repository, tag) VALUES (:r, :tag)", tags)

        return run

    house.db.write(
        lambda tx: tx.run("INSERT INTO hub_trees (id, entries) VALUES (:id, :e) ON CONFLICT (id) DO NOTHING", id=tree, e=b"\x90")
    )
    for start in range(0, repositories, 250):
        house.db.write(write(start))


class Server:
    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-m", "lilong.cli", "up", "--house", str(folder), "--port", "0"]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.seen = psutil.Process(self.process.pid)
        while (server := running(folder)) is None:
            time.sleep(0.1)
        self.http = httpx.Client(base_url=server.url, timeout=60)
        self.http.headers["authorization"] = "Bearer " + (folder / "keys" / "operator.token").read_text().strip()

    def cpu(self) -> float:
        times = self.seen.cpu_times()
        return float(times.user + times.system)

    def settle(self) -> None:
        """Wait until it has done what it does of itself, such as looking through what was committed before."""
        before = self.cpu()
        time.sleep(3)
        while (now := self.cpu()) - before > 0.15:
            before = now
            time.sleep(3)

    def costs(self, ask: Callable[[int], httpx.Response], first: int = 0) -> float:
        """CPU milliseconds of the server for one request."""
        before = self.cpu()
        for number in range(first, first + EACH):
            ask(number).raise_for_status()
        return (self.cpu() - before) / EACH * 1000


def requests_of(server: Server, name: str) -> Iterator[tuple[str, Callable[[int], httpx.Response]]]:
    def commit(number: int) -> httpx.Response:
        content = base64.b64encode(f"{number} {time.time()}".encode()).decode()
        lines = [
            {"key": "header", "value": {"summary": "One file"}},
            {"key": "file", "value": {"path": f"f000/{number % 1000:04}.txt", "content": content, "encoding": "base64"}},
        ]
        return server.http.post(
            f"/api/datasets/{name}/commit/main", content="\n".join(map(json.dumps, lines)), headers={"content-type": "application/x-ndjson"}
        )

    yield "page of the tree", lambda _: server.http.get(f"/api/datasets/{name}/tree/main/f000?limit=1000")
    yield "the same with last commits", lambda _: server.http.get(f"/api/datasets/{name}/tree/main/f000?limit=100&expand=true")
    yield "commit of one file", commit
    yield "info", lambda _: server.http.get(f"/api/datasets/{name}/revision/main")


def by_git(folder: Path, size: int) -> dict[str, float]:
    """CPU milliseconds of git itself for the same on a bare repository."""
    bare = folder / f"git-{size}"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    stream = ["commit refs/heads/main\ncommitter Mei <mei@users.invalid> 0 +0000\ndata 0\n"]
    for number in range(size):
        text = f"{number // 1000} {number % 1000}\n"
        stream.append(f"M 100644 inline f{number // 1000:03}/{number % 1000:04}.txt\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=bare, input="".join(stream).encode(), check=True)

    def run(*command: str, given: bytes = b"") -> str:
        who = {
            "GIT_AUTHOR_NAME": "Mei",
            "GIT_AUTHOR_EMAIL": "m@x.invalid",
            "GIT_COMMITTER_NAME": "Mei",
            "GIT_COMMITTER_EMAIL": "m@x.invalid",
        }
        done = subprocess.run(["git", *command], cwd=bare, input=given, capture_output=True, check=True, env={**os.environ, **who})
        return done.stdout.decode().strip()

    def cpu(work: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(5):
            work()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 5 * 1000

    def commit() -> None:
        blob = run("hash-object", "-w", "--stdin", given=str(time.time()).encode())
        run("read-tree", "main")
        run("update-index", "--cacheinfo", f"100644,{blob},f000/0000.txt")
        tree = run("write-tree")
        run("update-ref", "refs/heads/main", run("commit-tree", tree, "-p", "main", "-m", "One file"))

    return {"page of the tree": cpu(lambda: run("ls-tree", "-l", "main", "f000/")), "commit of one file": cpu(commit)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--files", default="1000,100000")
    parser.add_argument("--repositories", type=int, default=10_000)
    parser.add_argument("--commits", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    sizes = [int(size) for size in asked.files.split(",")]
    house = open_house_with_floors(load(folder / "house", environment={}))
    took = made(house, sizes)
    if asked.repositories:
        many(house, asked.repositories, asked.commits // asked.repositories)
    house.close()
    server = Server(folder / "house")
    found: dict[str, Any] = {"machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}"}
    try:
        server.settle()
        costs: dict[str, dict[int, list[float]]] = {}
        for turn in range(TURNS):
            for size in sizes:
                for what, ask in requests_of(server, f"{ORGANISATION}/files-{size}"):
                    costs.setdefault(what, {}).setdefault(size, []).append(server.costs(ask, turn * EACH))
        git = {size: by_git(folder, size) for size in sizes}
        server.settle()
        found["files"] = {what: {size: sorted(turns)[TURNS // 2] for size, turns in line.items()} for what, line in costs.items()}
        found["git"] = git
        found["commit of 1,000 files, first and last"] = {size: (line[0] * 1000, line[-1] * 1000) for size, line in took.items()}
        if asked.repositories:
            lists = {
                "list": "/api/models?limit=50", "search": "/api/models?search=tide&limit=50", "filter": "/api/models?filter=family-7&filter=text-generation&limit=50",
                "sort by likes": "/api/models?sort=likes&limit=50", "history": f"/api/models/{ORGANISATION}/model-0-tide/commits/main?limit=50",
                "search without a hit": "/api/models?search=nothing-like-this",
            }  # fmt: skip
            found["lists"] = {what: server.costs(lambda _, url=url: server.http.get(url)) for what, url in lists.items()}  # type: ignore[misc]
    finally:
        server.process.terminate()
        server.process.wait()
        shutil.rmtree(folder)
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print(found["machine"])
    print(f"{'CPU ms of the server for one':34}" + "".join(f"{size:>12,} files" for size in sizes) + "     ratio")
    for what, line in found["files"].items():
        print(f"{what:34}" + "".join(f"{line[size]:18.2f}" for size in sizes) + f"{line[sizes[-1]] / line[sizes[0]]:10.2f}")
    for what in ("page of the tree", "commit of one file"):
        print(
            f"{'git itself: ' + what:34}"
            + "".join(f"{git[size][what]:18.2f}" for size in sizes)
            + f"{git[sizes[-1]][what] / git[sizes[0]][what]:10.2f}"
        )
    for size, (first, last) in found["commit of 1,000 files, first and last"].items():
        print(f"commits of 1,000 files until there are {size:,}: the first {first:.0f} ms, the last {last:.0f} ms")
    for what, cost in found.get("lists", {}).items():
        print(f"{asked.repositories:,} repositories, {asked.commits:,} commits: {what:24} {cost:8.2f} ms")


if __name__ == "__main__":
    main()
