"""What a run owns by name, as long as it lives."""

import subprocess
import sys
from ipaddress import IPv4Network

import pytest

from targets.base import TargetError
from targets.compose import claims

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010011AC	0003	0	0	0	00000000	0	0	0
br-1	004D1EAC	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	0000D50A	00000000	0001	0	0	0	0000FFFF	0	0	0
"""


def test_two_runs_never_get_the_same_addresses() -> None:
    """With two prefixes to choose from, two runs have one each, and a third is told that none is left."""
    two = ("10.213.7", "10.213.8")
    with claims.prefix((), two) as first, claims.prefix((), two) as second:
        assert {first, second} == set(two)
        with pytest.raises(TargetError, match="no range of addresses"), claims.prefix((), two):
            pass
    with claims.prefix((), two) as again:
        assert again in two


def test_a_range_that_a_network_has_is_never_chosen() -> None:
    """A network of the engine that covers a prefix, or lies in it, takes it away; an IPv6 range does not matter."""
    candidates = ("172.30.1", "172.30.2", "172.30.3")
    with claims.prefix(("172.30.1.0/24", "172.30.2.128/25", "fd00::/64"), candidates) as chosen:
        assert chosen == "172.30.3"
    with pytest.raises(TargetError), claims.prefix(("172.30.0.0/16",), candidates):
        pass


def test_routes_are_read_and_the_default_one_covers_nothing() -> None:
    """The kernel's table gives the networks that packets already have a way to."""
    assert claims.routed(ROUTES) == [IPv4Network("172.30.77.0/24"), IPv4Network("10.213.0.0/16")]


def test_the_prefix_for_people_is_left_to_them() -> None:
    """A mesh that somebody brings up by hand does not meet a run's network."""
    assert "172.30.77" not in claims.prefixes()


def test_a_run_is_held_until_its_harness_dies_by_any_cause() -> None:
    """The kernel takes a run's name back after SIGKILL."""
    code = (
        "import time; from targets.compose.claims import held\nwith held('r1'): print('up', flush=True); time.sleep(60)"
    )
    harness = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    harness.stdout.readline()
    assert claims.is_held("r1")
    with pytest.raises(TargetError, match="another process holds"), claims.held("r1"):
        pass
    harness.kill()
    harness.communicate()
    assert not claims.is_held("r1")
