"""Secrets of jobs: who sets them, who is told what, and where they never are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.compute.conftest import ORGANISATION, open_compute
from tests.compute.test_doors import ask, client_of, inside

from lilong.client import Client, ServerError, compute
from lilong.floors.compute.commands.secret import secret as secret_command
from lilong.floors.compute.contract import JobState
from lilong.floors.compute.service import secrets
from lilong.floors.compute.work import run_until_idle
from lilong.ground.access import SYSTEM
from lilong.ground.house import House

VALUE = "xyzzy-plugh-17"
SHOW = "from lilong.ground.work import Workspace; w = Workspace.here(); w.finish({'told': {k: len(v) for k, v in w.secrets().items()}})"


@pytest.fixture
def mei(house: House) -> Client:
    return client_of(house, "mei")


def put(client: Client, name: str = "TIDE_KEY", value: str = VALUE, organisation: str = ORGANISATION) -> None:
    client.put(f"/api/compute/secrets/{organisation}/{name}", {"value": value})


def test_a_value_that_no_program_could_be_given_is_refused(mei: Client) -> None:
    for value in ("", "a\0b", "\ud800"):
        with pytest.raises(ServerError, match="'value' cannot be used") as refused:
            put(mei, value=value)
        assert refused.value.status_code == 422


def test_a_job_is_given_the_secret_that_it_names_and_nothing_else_has_it(house: House, mei: Client) -> None:
    put(mei)
    job = compute.submit(mei, ask(SHOW, secrets={"KEY": "TIDE_KEY"}))
    run_until_idle(house)
    assert compute.job(mei, job.id).state is JobState.SUCCEEDED, compute.logs(mei, job.id)
    assert json.loads(compute.output(mei, job.id, "result.json")) == {"told": {"KEY": len(VALUE)}}
    kept = [file for file in house.settings.house.rglob("*") if file.is_file() and VALUE.encode() in file.read_bytes()]
    assert kept == []


def test_a_job_finds_no_secret_in_its_environment_or_arguments(house: House, mei: Client) -> None:
    put(mei)
    program = f"print({VALUE[:5]!r} + {VALUE[5:]!r} in open('/proc/self/environ').read() + open('/proc/self/cmdline').read())"
    job = compute.submit(mei, ask(program, secrets={"KEY": "TIDE_KEY"}))
    run_until_idle(house)
    assert compute.logs(mei, job.id).text == "False\n"


def test_a_secret_that_is_not_there_is_said_before_the_job_waits(mei: Client) -> None:
    with pytest.raises(ServerError) as refused:
        compute.submit(mei, ask("pass", secrets={"KEY": "TIDE_KEY"}))
    assert refused.value.status_code == 404
    assert "lilong secret set TIDE_KEY" in str(refused.value)


def test_owners_set_secrets_and_members_use_and_name_them(house: House, mei: Client) -> None:
    put(mei)
    tom, ada = client_of(house, "tom"), client_of(house, "ada")
    assert [each["name"] for each in tom.get("/api/compute/secrets")] == ["TIDE_KEY"]
    assert ada.get("/api/compute/secrets") == ada.get("/api/compute/secrets", organisation=ORGANISATION) == []
    compute.submit(tom, ask(SHOW, secrets={"KEY": "TIDE_KEY"}))
    house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "ada", "owner", "other-yard"))  # what is not hers is not there
    for who, status in ((tom, 403), (ada, 404)):
        for change in (lambda who=who: put(who), lambda who=who: who.delete(f"/api/compute/secrets/{ORGANISATION}/TIDE_KEY")):
            with pytest.raises(ServerError) as refused:
                change()
            assert refused.value.status_code == status


def test_no_answer_of_the_house_shows_a_value(house: House, mei: Client) -> None:
    put(mei)
    job = compute.submit(mei, ask(SHOW, secrets={"KEY": "TIDE_KEY"}))
    run_until_idle(house)
    olga = client_of(house, "olga")
    for path in (f"/api/compute/jobs/{job.id}", "/api/compute/jobs", "/api/compute/secrets", f"/api/jobs/{ORGANISATION}/{job.id}"):
        assert VALUE not in json.dumps(olga.get(path))
    assert VALUE not in house.db.read(lambda tx: str([dict(row) for row in tx.rows("SELECT * FROM ground_events")]))


@pytest.mark.parametrize(("name", "value"), [("1X", "v"), ("A B", "v"), ("../x", "v"), ("X", ""), ("X", "a\0b"), ("X", "v" * 70_000)])
def test_what_cannot_be_a_secret_is_refused_without_repeating_it(name: str, value: str, house: House, mei: Client) -> None:
    with pytest.raises(ServerError) as refused:
        mei.put(f"/api/compute/secrets/{ORGANISATION}/{name.replace('/', '%2F').replace(' ', '%20')}", {"value": value})
    assert refused.value.status_code in (404, 422)
    assert "a\0b" not in str(refused.value)


def test_a_secret_is_replaced_and_removed(mei: Client) -> None:
    put(mei)
    put(mei, value="other")
    assert len(mei.get("/api/compute/secrets")) == 1
    mei.delete(f"/api/compute/secrets/{ORGANISATION}/TIDE_KEY")
    with pytest.raises(ServerError) as absent:
        mei.delete(f"/api/compute/secrets/{ORGANISATION}/TIDE_KEY")
    assert absent.value.status_code == 404


@given(value=some.text(some.characters(codec="utf-8"), min_size=1, max_size=200))
@settings(deadline=None)
def test_what_is_sealed_opens_again_and_only_where_it_belongs(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    house = _sealing(tmp_path_factory)
    sealed = secrets.seal(house, "a", "KEY", value)
    assert secrets.unseal(house, "a", "KEY", sealed) == value
    for owner, name in (("b", "KEY"), ("a", "KEY2")):
        with pytest.raises(secrets.SecretUnreadable) as refused:
            secrets.unseal(house, owner, name, sealed)
        assert not isinstance(refused.value, InvalidTag)
    assert sealed != secrets.seal(house, "a", "KEY", value)


_HOUSES: list[House] = []


def _sealing(folders: pytest.TempPathFactory) -> House:
    if not _HOUSES:
        _HOUSES.append(open_compute(folders.mktemp("sealing") / "house"))
    return _HOUSES[0]


def test_the_key_is_nobody_elses_business_and_its_loss_is_said(house: House, mei: Client) -> None:
    put(mei)
    key = house.settings.keys / secrets.KEY_FILE
    assert key.stat().st_mode & 0o077 == 0
    sealed = secrets.seal(house, ORGANISATION, "X", VALUE)
    key.write_bytes(b"short")
    with pytest.raises(secrets.SecretUnreadable, match="backup"):
        secrets.unseal(house, ORGANISATION, "X", sealed)
    key.unlink()
    with pytest.raises(secrets.SecretUnreadable, match="set the secret again"):
        secrets.unseal(house, ORGANISATION, "X", sealed)


def test_what_was_given_for_one_job_is_forgotten_with_it(house: House, mei: Client) -> None:
    body = {"dockerImage": "python", "command": ["python", "-c", "pass"], "secrets": {"KEY": VALUE}, "flavor": "cpu-basic"}
    job = mei.post(f"/api/jobs/{ORGANISATION}", body)

    def kept() -> int:
        return int(house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM compute_secrets")))

    assert kept() == 1
    assert client_of(house, "olga").get("/api/compute/secrets") == []
    compute.cancel(mei, job["id"])
    assert kept() == 0


def test_the_command_line_takes_a_value_from_a_pipe_and_shows_names(mei: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(mei, monkeypatch)

    def run(*words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(secret_command, words, input=given, catch_exceptions=False)

    assert VALUE not in run("set", "TIDE_KEY", "--organisation", ORGANISATION, given=VALUE + "\n").output
    assert json.loads(run("list", "--json").output)[0]["name"] == "TIDE_KEY"
    assert json.loads(run("remove", "TIDE_KEY", "--organisation", ORGANISATION, "--json").output)["removed"] == "TIDE_KEY"


def test_a_backup_holds_the_key_that_opens_them(house: House, mei: Client, tmp_path: Path) -> None:
    from lilong.operations.backup import backup

    put(mei)
    house.close()
    backup(house.settings.house, tmp_path / "b.tar")
    assert VALUE.encode() not in (tmp_path / "b.tar").read_bytes()
    import tarfile

    with tarfile.open(tmp_path / "b.tar") as tar:
        assert f"keys/{secrets.KEY_FILE}" in tar.getnames()
