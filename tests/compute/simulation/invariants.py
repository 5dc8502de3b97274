"""What must be true of a house and its engines at every moment, read from its database by a connection of its own."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.compute.simulation.engine import Engine, Truth, must, result, running

from lilong.floors.compute.contract import FINISHED, Ending, JobState, Phase
from lilong.floors.compute.rules import settings as rules
from lilong.floors.compute.rules.settings import ComputeSettings, TenantSettings
from lilong.floors.compute.rules.ways import NEVER

_OVER = ", ".join(f"'{state.value}'" for state in sorted(FINISHED))


class Invariants:
    def __init__(self, folder: Path, engines: Sequence[Engine]) -> None:
        self._blobs = folder / "blobs"
        self._db = sqlite3.connect(f"file:{folder / 'lilong.db'}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._engines = {engine.name: engine for engine in engines}
        self._judged: set[str] = set()
        self._seen_attempts = 0
        self._settings: tuple[int, ComputeSettings] = (0, rules.default())
        self.acknowledged: dict[str, str] = {}  # job -> the key that it was asked for with
        self.unable: set[str] = set()  # attempts that a site could not prepare

    def close(self) -> None:
        self._db.close()

    def rows(self, sql: str, *given: object) -> list[sqlite3.Row]:
        return self._db.execute(sql, given).fetchall()

    def truth(self, site: str, token: str) -> Truth | None:
        return self._engines[site].truths.get(token)

    # --- at the moment it happens --------------------------------------------------------------------------------------------

    def accepting(self, site: str, token: str) -> None:
        """An engine takes an attempt: it was intended, there, and nothing keeps its job from running."""
        found = self.rows(
            "SELECT a.site, a.ended_at, j.id, j.state, j.held, j.attempt FROM compute_attempts a JOIN compute_jobs j ON j.id = a.job WHERE a.token = ?",
            token,
        )
        must(found, f"{site} was handed {token}, of which the house knows nothing")
        row = found[0]
        must(row["site"] == site, f"{token} was meant for {row['site']} and came to {site}")
        must(row["ended_at"] is None, f"{token} has ended, says the house, and comes to {site} now")
        must(row["state"] in ("starting", "running", "ready"), f"{token} starts while its job is {row['state']}")
        must(token == f"{row['id']}.{row['attempt']}", f"{token} starts while its job is at attempt {row['attempt']}")
        must(row["held"] == 0, f"{token} starts while its job is held ({row['held']})")
        self._needs(row["id"])

    def _needs(self, job: str) -> None:
        for need in self.rows(
            "SELECT n.needs, n.success, j.state FROM compute_needs n JOIN compute_jobs j ON j.id = n.needs WHERE n.job = ?", job
        ):
            good = need["state"] == "succeeded" or (not need["success"] and JobState(need["state"]) in FINISHED)
            must(good, f"{job} starts while {need['needs']}, which it needs, is {need['state']}")

    def tidying(self, site: str, token: str) -> None:
        found = self.rows("SELECT ended_at FROM compute_attempts WHERE token = ?", token)
        must(found and found[0]["ended_at"] is not None, f"{site} is told to drop {token}, which has not been settled")

    def committed(self) -> None:
        """After each commit: quotas hold for whatever was decided in it."""
        last = int(self.rows("SELECT COALESCE(MAX(rowid), 0) AS n FROM compute_attempts")[0]["n"])
        if last > self._seen_attempts:
            new = {row["job"] for row in self.rows("SELECT job FROM compute_attempts WHERE rowid > ?", self._seen_attempts)}
            self._seen_attempts = last
            self._quotas(new)

    def settings(self) -> ComputeSettings:
        (row,) = self.rows("SELECT version, document FROM compute_settings ORDER BY version DESC LIMIT 1")
        if row["version"] != self._settings[0]:
            self._settings = (row["version"], rules.read(json.loads(row["document"])["toml"]))
        return self._settings[1]

    def _quotas(self, new: set[str]) -> None:
        settings = self.settings()
        held: Counter[tuple[str, str]] = Counter()
        for_good: Counter[tuple[str, str]] = Counter()  # what cannot be taken back within the bound
        came: set[tuple[str, str]] = set()
        firm: set[tuple[str, str]] = set()
        open_ones = self.rows(
            "SELECT j.id, j.organisation, j.project, a.accelerator, a.milli, a.snap FROM compute_attempts a JOIN compute_jobs j ON j.id = a.job"
            " WHERE a.ended_at IS NULL AND j.preempted = 0"
        )
        for row in open_ones:
            snap = json.loads(row["snap"])
            stays = not snap["preemptible"] and (snap["ways"][0]["limit"] > settings.reclaim_s or snap["ways"][0]["limit"] >= NEVER)
            for tenant in settings.above(settings.tenant(row["organisation"], row["project"])):
                key = (tenant.name, row["accelerator"])
                held[key] += row["milli"]
                for_good[key] += row["milli"] if stays else 0
                if row["id"] in new and row["milli"]:
                    came.add(key)
                    if stays:
                        firm.add(key)
        for name, kind in came:
            self._within(settings, settings.tenants[name], kind, held, for_good[name, kind] if (name, kind) in firm else 0)

    def _within(self, settings: ComputeSettings, one: TenantSettings, kind: str, held: Mapping[tuple[str, str], int], firm: int) -> None:
        nominal = one.nominal.get(kind)
        if nominal is None:
            return
        has, most = held[one.name, kind], nominal + one.borrow.get(kind, 1 << 60 if one.parent else 0)
        must(has <= most, f"{one.name} holds {has} of {kind} and may hold {most}")
        must(firm <= nominal, f"{one.name} holds {firm} of {kind} that it could not give back in time, and {nominal} are its own")
        if one.parent is None or has <= nominal:
            return
        parts = [each for each in settings.tenants.values() if each.parent == one.parent]
        borrowed = sum(max(held.get((each.name, kind), 0) - each.nominal.get(kind, 0), 0) for each in parts)
        lent = settings.tenants[one.parent].nominal.get(kind, 1 << 60) - sum(each.nominal.get(kind, 0) for each in parts)
        for each in parts:
            idle = max(each.nominal.get(kind, 0) - held.get((each.name, kind), 0), 0)
            lent += min(idle, each.lend.get(kind, idle))
        must(borrowed <= lent, f"{borrowed} of {kind} are borrowed under {one.parent}, and {lent} could be lent")

    # --- after every step ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        self._ended_once()
        self._arrays()
        known = {row["token"]: row["ended_at"] for row in self.rows("SELECT token, ended_at FROM compute_attempts")}
        for token, engine in running(list(self._engines.values())).items():
            must(token in known, f"{token} is at {engine.name} and the house knows nothing of it")
            must(known[token] is None, f"{token} is at {engine.name} still, and has ended at {known[token]}, says the house")

    def _ended_once(self) -> None:
        told = self.rows("SELECT subject, body FROM ground_events WHERE kind = 'compute.job-finished'")
        counted = Counter(row["subject"] for row in told)
        must(max(counted.values(), default=1) == 1, f"more than one end was told of {[job for job, n in counted.items() if n > 1]}")
        jobs = {row["id"]: row for row in self.rows(f"SELECT * FROM compute_jobs WHERE state IN ({_OVER})")}
        must(jobs.keys() == counted.keys(), f"ended, or told to have ended, but not both: {sorted(jobs.keys() ^ counted.keys())}")
        for row in told:
            if row["subject"] not in self._judged:
                self._judged.add(row["subject"])
                must(json.loads(row["body"])["state"] == jobs[row["subject"]]["state"], f"{row['subject']} ended otherwise than was told")
                self._judge(jobs[row["subject"]])

    def _judge(self, job: sqlite3.Row) -> None:
        """That a job ended as its last attempt really did."""
        state, token = JobState(job["state"]), f"{job['id']}.{job['attempt']}"
        truth = self.truth(job["site"], token) if job["attempt"] else None
        made = (
            truth is not None
            and truth.phase is Phase.FINISHED
            and truth.ending is Ending.EXITED
            and truth.code == 0
            and not truth.forgotten
        )
        must(job["attempt"] - job["stops"] <= json.loads(job["ask"])["attempts"], f"{job['id']} was tried {job['attempt']} times")
        if state is JobState.SUCCEEDED:
            must(made or (truth is not None and truth.forgotten and truth.code == 0), f"{token} did not succeed: {truth}")
            self._outputs(job["id"], token)
        elif state is JobState.LOST:
            must(truth is not None and (truth.forgotten or truth.phase is Phase.LOST), f"{token} is not lost: {truth}")
        elif state is JobState.FAILED:
            failed = truth is not None and (truth.ending is Ending.TIMEOUT or (truth.ending is Ending.EXITED and truth.code != 0))
            must(failed or token in self.unable, f"{token} did not fail: {truth}")
        else:
            needs = self.rows(
                "SELECT j.state FROM compute_needs n JOIN compute_jobs j ON j.id = n.needs WHERE n.job = ? AND n.success = 1", job["id"]
            )
            doomed = any(JobState(need["state"]) in FINISHED - {JobState.SUCCEEDED} for need in needs)
            # what could not be prepared is cancelled at its site, and a server that dies then finds it so
            must(job["cancel_requested"] or doomed or token in self.unable, f"nobody asked for the end of {job['id']}")
            must(not made or job["stops"] > 0 or truth is None, f"{token} succeeded, and its job is cancelled")

    def _outputs(self, job: str, token: str) -> None:
        digest = hashlib.sha256(result(token)).hexdigest()
        found = [row["digest"] for row in self.rows("SELECT digest FROM compute_outputs WHERE job = ?", job)]
        must(found == [f"sha256:{digest}"], f"{job} has the outputs {found}")
        file = self._blobs / digest[:2] / digest[2:]
        must(file.is_file() and file.read_bytes() == result(token), f"the output of {job} is told of and not kept")

    def _arrays(self) -> None:
        for row in self.rows(
            "SELECT a.id, a.at_once, COUNT(*) AS n FROM compute_arrays a JOIN compute_jobs j ON j.array_id = a.id"
            " WHERE j.state IN ('starting', 'running', 'ready') AND a.at_once > 0 GROUP BY a.id, a.at_once"
        ):
            must(row["n"] <= row["at_once"], f"{row['n']} jobs of {row['id']} are under way, and {row['at_once']} may")

    # --- at the end -----------------------------------------------------------------------------------------------------------

    def left(self) -> list[str]:
        """What has not come to its end."""
        found = [
            f"{row['id']} is {row['state']} ({row['reason']}, held {row['held']}, needs {row['needs_left']}, until {row['not_before']})"
            for row in self.rows(f"SELECT * FROM compute_jobs WHERE state NOT IN ({_OVER}) ORDER BY place")
        ]
        found += [f"{row['id']} is not tidied" for row in self.rows(f"SELECT id FROM compute_jobs WHERE state IN ({_OVER}) AND tidied = 0")]
        return found + [f"{token} is at {engine.name}" for token, engine in running(list(self._engines.values())).items()]

    def settled(self) -> None:
        """Once everything has ended: the counts agree, and nothing acknowledged is missing."""
        self.check()
        jobs = {row["id"]: row["request_key"] for row in self.rows("SELECT id, request_key FROM compute_jobs")}
        must(self.acknowledged.keys() <= jobs.keys(), f"acknowledged and gone: {sorted(self.acknowledged.keys() - jobs.keys())}")
        must(all(jobs[job] == key for job, key in self.acknowledged.items()), "a job has another key than it was asked for with")
        must(not self.rows("SELECT 1 FROM compute_attempts WHERE ended_at IS NULL"), "an attempt of an ended job is open")
        must(not self.rows("SELECT 1 FROM compute_queues WHERE waiting <> 0"), "a queue is not empty, says its count")
        arrays = [
            dict(row) for row in self.rows("SELECT * FROM compute_arrays WHERE running <> 0 AND at_once > 0 AND running < at_once + 100000")
        ]
        must(not arrays, f"slots are held by ended jobs: {arrays}")
        counted = {row["state"]: row["n"] for row in self.rows("SELECT state, COUNT(*) AS n FROM compute_jobs GROUP BY state")}
        told = {row["state"]: row["number"] for row in self.rows("SELECT state, number FROM compute_ended WHERE number <> 0")}
        must(counted == told, f"{counted} jobs have ended, and {told} were counted")
        for engine in self._engines.values():
            for token, truth in engine.truths.items():
                must(truth.began is None or truth.phase in (Phase.FINISHED, Phase.LOST), f"{token} runs on")

    def digest(self) -> str:
        """Over everything that the database says of jobs, attempts, decisions and events."""
        found = hashlib.sha256()
        for table, columns, order in (
            ("compute_jobs", "*", "place"),
            ("compute_attempts", "*", "token"),
            ("compute_decisions", "number, at, policy, digest, whole, plan", "number"),
            ("compute_usage", "*", "organisation, project, accelerator"),
            ("ground_events", "seq, at, actor, kind, subject, body_sha256", "seq"),
        ):
            for row in self.rows(f"SELECT {columns} FROM {table} ORDER BY {order}"):
                found.update(json.dumps(list(row), default=str).encode())
        return found.hexdigest()
