"""The site that tests share is built once."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import building
import pytest


@pytest.fixture
def builds(monkeypatch):
    made = []

    def build(source, out):
        made.append(out)
        sleep(0.1)
        out.mkdir(exist_ok=True)

    monkeypatch.setattr(building, "build", build)
    return made


def test_those_that_come_later_wait_and_find_it(builds, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(building.build_once, [tmp_path] * 4))
    assert builds == [tmp_path / "site"]
    assert found == {tmp_path / "site" / "_build" / "html"}


def test_after_a_failure_the_next_one_tries_again(builds, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="broken"):
        patch.setattr(building, "build", lambda source, out: int("broken"))
        building.build_once(tmp_path)
    building.build_once(tmp_path)
    assert len(builds) == 1
