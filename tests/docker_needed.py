"""Tests that need a Docker engine: they skip where none answers, unless the machine is said to have one."""

import os

import docker
import pytest
import requests
from docker.errors import DockerException

REQUIRED = "SQUALL_REQUIRE_DOCKER"  # "1": a test that cannot reach an engine fails, as .ci/run wants it


def require_docker() -> None:
    """Skip the calling test or module when no engine answers; fail it where one must."""
    why = _absence()
    if not why:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, and no Docker engine answers: {why}", pytrace=False)
    pytest.skip("no Docker engine answers: start one, or let .ci/run do it", allow_module_level=True)


def _absence() -> str:
    """Return why no engine can be used; "" when one answers."""
    try:
        client = docker.from_env(timeout=5)
    except DockerException as error:
        return str(error)
    try:
        client.ping()
    except (DockerException, requests.RequestException) as error:
        return str(error)
    finally:
        client.close()
    return ""
