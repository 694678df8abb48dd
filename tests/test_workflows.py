"""Workflows, Dockerfile and compose file: they run what the Makefile has, with no right they do not need."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def steps_of(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [(job, step) for job in jobs.values() for step in job["steps"]]


def test_there_are_four_workflows():
    assert {path.stem for path in WORKFLOWS} == {"tests", "toy", "ablation", "push-kernel"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_of_a_workflow_is_a_target_of_the_makefile(path):
    commands = [line for _, step in steps_of(path) for line in step.get("run", "").splitlines()]
    assert commands
    for command in commands:
        assert command.partition(" #")[0] == "git diff --exit-code" or (command.split()[0] == "make" and command.split()[1] in TARGETS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_rights_are_least(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["permissions"] == {"contents": "read"}
    for job, step in steps_of(path):
        assert "permissions" not in job and job["timeout-minutes"] <= 180
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
            if "checkout" in step["uses"]:
                assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in path.read_text(encoding="utf-8")


def test_pythons_are_those_that_the_package_promises():
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["python"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]


def test_the_push_waits_for_a_reviewer_and_sends_what_the_build_kept():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "push-kernel.yml").read_text())["jobs"]
    assert jobs["push"]["environment"] == "kaggle" and jobs["push"]["needs"] == "build" and "environment" not in jobs["build"]
    kept = next(step["with"]["path"] for step in jobs["build"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert "manifest.json" in kept
    holders = [name for name, job in jobs.items() if "secrets." in str(job)]
    assert holders == ["push"]


def test_containers_run_the_makefiles_commands():
    commands = {name: service["command"].split() for name, service in COMPOSE["services"].items()}
    assert {name: words[:2] for name, words in commands.items()} == {
        "toy": ["make", "toy"], "tests": ["make", "test"], "serve": ["make", "serve"],
    }  # fmt: skip
    assert all(words[1] in TARGETS for words in commands.values())
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM \S+ AS (\w+)", docker, re.MULTILINE)) == {"base", "cuda", "cpu"}
    assert docker.count("make setup\n") == 2 and "USER 1000" in docker
    assert COMPOSE["services"]["serve"]["ports"] == ["127.0.0.1:8000:8000"] and COMPOSE["services"]["serve"]["read_only"] is True
