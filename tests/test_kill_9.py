"""The real server, killed at random moments while clients write: what was acknowledged is there afterwards, and none of it twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lilong.client import NoServer, ServerError
from lilong.ground.db import Database
from tests.conftest import LiveServer

KILLS = 26  # on each of two houses
WRITERS = 4


def write_until_killed(server: LiveServer, prefix: str, acknowledged: list[str], refused: list[str]) -> None:
    client = server.client
    number = 0
    while True:
        title = f"{prefix}-{number}"
        number += 1
        try:
            client.post("/api/house/tokens", {"title": title, "scopes": ["hub.read"]})
            acknowledged.append(title)
        except NoServer:
            return
        except ServerError as problem:
            refused.append(str(problem))
            return


def ordeal(folder: Path, seed: int) -> tuple[int, list[str]]:
    """How many writes were acknowledged, and what is wrong with the house afterwards."""
    rng = random.Random(seed)
    server = LiveServer(folder)
    acknowledged: list[str] = []
    refused: list[str] = []
    try:
        for kill in range(KILLS):
            server.start()
            threads = [threading.Thread(target=write_until_killed, args=(server, f"{seed}-{kill}-{n}", acknowledged, refused)) for n in range(WRITERS)]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.0, 0.25))
            server.kill_9()
            for thread in threads:
                thread.join()
        server.start()  # and it still comes up
    finally:
        server.stop()
    db = Database(f"sqlite:///{folder / 'lilong.db'}")
    try:
        kept = Counter(row["title"] for row in db.read(lambda tx: tx.rows("SELECT title FROM ground_tokens")))
        wrong = [f"lost: {title}" for title in acknowledged if kept[title] == 0]
        wrong += [f"twice: {title}" for title, count in kept.items() if count > 1 and title != "the house's own command line"]
        wrong += [f"integrity: {row}" for row in db.read(lambda tx: tx.rows("PRAGMA integrity_check")) if row["integrity_check"] != "ok"]
    finally:
        db.close()
    return len(acknowledged), wrong + [f"refused: {text}" for text in refused]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_52_kills_lose_no_acknowledged_write_and_double_none(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda seed: ordeal(tmp_path / f"house-{seed}", seed), (1, 2)))
    assert [wrong for _, wrong in results] == [[], []]
    assert all(count > KILLS for count, _ in results), "the writers hardly wrote"
