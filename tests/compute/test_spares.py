"""Folders of attempts that are over, used again where a site promises no walls."""

from __future__ import annotations

from pathlib import Path

import pytest

from lilong.floors.compute.backends.conformance import finished, fresh, program, until
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.backends.spares import Spares
from lilong.floors.compute.contract import Capacity
from lilong.ground.blobs import LocalBlobs
from lilong.ground.sandbox import Level

LOOK = """
import json, os
from pathlib import Path
told = Path(os.environ["LILONG_IN"])
print(json.loads((told / "spec.json").read_text()), [sorted(os.listdir(path)) for path in (told, os.environ["LILONG_OUT"], os.environ["TMPDIR"])])
"""


def test_the_next_attempt_has_folders_as_new_whatever_the_one_before_left_in_them(tmp_path: Path) -> None:
    site = LocalSite(tmp_path / "jobs", LocalBlobs(tmp_path / "blobs"), Capacity(2, 4096), level=Level.NONE)
    try:
        leaves = [
            LOOK,
            f"{LOOK}\nopen(os.environ['TMPDIR'] + '/mine', 'w').close()",
            f"{LOOK}\nopen(os.environ['LILONG_OUT'] + '/mine', 'w').close(); (told / 'more').mkdir()",
            f"{LOOK}\n(told / 'spec.json').unlink(); (told / 'spec.json').symlink_to('/etc/passwd')",
            f"{LOOK}\nos.chmod(os.environ['TMPDIR'], 0o777); os.chmod(told / 'spec.json', 0o400)",
            LOOK,
        ]
        kept = []
        for number, code in enumerate(leaves):
            token = f"{fresh()}.1"
            spec = {"long": "x" * (50 - 10 * number), "number": number}
            site.submit(token, program(code, spec=spec))
            assert (sight := until(site, token, finished)).exit is not None and sight.exit.code == 0
            assert site.logs(token, 0, 9_999).text == f"{spec} [['spec.json'], [], []]\n"
            site.tidy(token, last=True)
            assert not {"in", "out", "tmp"} & {path.name for path in site.folders.of(token).iterdir()}
            kept.append(sorted(path.name.partition(".")[0] for path in (tmp_path / "jobs" / ".spare").iterdir()))
        everything = ["in", "out", "tmp"]
        assert kept == [everything, ["in", "out"], ["tmp"], ["out", "tmp"], ["out"], everything]
    finally:
        site.stop()


@pytest.mark.parametrize("level", [Level.LANDLOCK, Level.BUBBLEWRAP])
def test_where_walls_are_promised_nothing_is_used_again(tmp_path: Path, level: Level) -> None:
    from lilong.ground.sandbox import available

    if level not in available():
        pytest.skip(f"{level.word} does not work here")
    site = LocalSite(tmp_path / "jobs", LocalBlobs(tmp_path / "blobs"), Capacity(2, 4096), level=level)
    try:
        token = f"{fresh()}.1"
        site.submit(token, program("pass"))
        until(site, token, finished)
        site.tidy(token, last=True)
        assert not (tmp_path / "jobs" / ".spare").exists()
    finally:
        site.stop()


def test_what_waits_is_found_again_and_two_that_share_a_shelf_take_each_folder_once(tmp_path: Path) -> None:
    first = Spares(tmp_path / "shelf")
    for number in range(3):
        (tmp_path / f"{number}" / "tmp").mkdir(parents=True)
        (tmp_path / f"{number}" / "tmp").chmod(0o755)
        assert first.give(tmp_path / f"{number}" / "tmp", f"job-{number}.1")
    second = Spares(tmp_path / "shelf")
    taken = []
    for number in range(4):
        (tmp_path / f"new-{number}").mkdir()
        taken.append((first if number % 2 else second).take(tmp_path / f"new-{number}" / "tmp"))
    assert taken == [True, True, True, False]


def test_an_attempt_s_socket_and_secrets_are_never_kept(tmp_path: Path) -> None:
    spares = Spares(tmp_path / "shelf")
    (tmp_path / "secrets").mkdir()
    assert not spares.give(tmp_path / "secrets", "job-1.1")
