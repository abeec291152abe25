"""Which tests start real servers, which need a Docker engine, and which have the machine to themselves.

`make test` runs what starts no server on all cores, then what does side by side with what needs the engine, and at
last, alone, what holds to the clock.
"""

import pytest

_RIG = {"rig", "defect_cases", "sound_cases"}  # they play traffic through real processes
_ENGINE = {"docker_needed", "throwaway"}
_SERVERS = {"e2e", "targets", "squall", "truth"}  # the folders in which `make test` looks for what starts servers


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests by what their modules use; a file that has tests of both kinds marks them itself."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        used = _used(item.module)
        if folder == "truth" and _RIG & used:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.alone)
        if _ENGINE & used and item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.engine)
        if item.get_closest_marker("e2e") and folder not in _SERVERS:
            raise pytest.UsageError(f"{item.nodeid} starts servers: name its folder in the Makefile and here")


def _used(module):
    """Return the modules that a test module has, or has something from."""
    there = vars(module).values()
    return {getattr(one, "__module__", None) or getattr(one, "__name__", "") for one in there}
