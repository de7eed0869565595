"""The workflows: what they run, `make` runs here; what they may do is said job by job."""

import re

import pytest
import yaml
from notebooks import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_is_a_make_target_or_a_pinned_action(path):
    for job in jobs(path).values():
        for step in job.get("steps", ()):
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            else:
                assert re.match(r"make [\"\w]|gh issue create ", step["run"])
        named = [
            t for s in job.get("steps", ()) for t in re.findall(r"^make (\w+)", s.get("run", ""))
        ]
        named += job.get("strategy", {}).get("matrix", {}).get("target", [])
        assert set(named) <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_is_allowed_that_a_job_does_not_ask_for(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {}
    assert all("permissions" in job for job in jobs(path).values())
    assert all("timeout-minutes" in job or "uses" in job for job in jobs(path).values())


def test_every_pin_says_its_version():
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert ("@" not in line) or re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
