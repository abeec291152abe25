"""What is told to iptables, tc and the engine, and what is read from their answers. Pure."""

import gzip
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.compose.kernel import _lacking
from targets.compose.netns import bucket, drop, has_table, interfaces, is_empty, late, rate_of
from targets.compose.resources import UNLIMITED, cpu_before, cpu_limits, memory_before, memory_limits
from targets.compose.seen import LIMITS, Attachment, Container, container_of

NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER_OUTPUT - [0:0]\n-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT\nCOMMIT\n"
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [7:9]\nCOMMIT\n"
BOX = Container("c1", "box", {}, "running", 7, 0, False, "", "no", limits=dict.fromkeys(LIMITS, 0))


def limited(**limits: int) -> Container:
    return replace(BOX, limits={**BOX.limits, **limits})


def test_a_rule_spares_the_loopback_interface_and_is_marked():
    """Docker's own name server listens there, and the node's health check; a full cut needs no chance."""
    assert drop("in", 1.0) == ("INPUT", "!", "-i", "lo", "-m", "comment", "--comment", "squall", "-j", "DROP")
    some = drop("out", 0.25)
    assert some[:4] == ("OUTPUT", "!", "-o", "lo")
    assert some[4:10] == ("-m", "statistic", "--mode", "random", "--probability", "0.250000")


@pytest.mark.parametrize(
    ("saved", "known", "empty"),
    [
        (NAT, False, True),
        (NAT + EMPTY, True, True),
        (EMPTY.replace("COMMIT", "-A INPUT -j DROP\nCOMMIT"), True, False),
        (EMPTY.replace("INPUT ACCEPT", "INPUT DROP"), True, False),
        (EMPTY.replace("COMMIT", ":MINE - [0:0]\nCOMMIT"), True, False),
    ],
)
def test_a_table_is_deleted_only_as_it_was_made(saved, known, empty):
    """A rule, a policy or a chain of somebody else's keeps it."""
    assert (known, empty) == (has_table(saved), is_empty(saved))


def test_interfaces_are_those_of_the_node_but_the_loopback_one():
    """After a partition the first one may be called eth1."""
    shown = "1: lo: <LOOPBACK,UP> mtu 65536\\    link\n27: eth1@if28: <BROADCAST> mtu 1500\\    link\n9: eth0: <UP> x\n"
    assert interfaces(shown) == ("eth1", "eth0")
    assert interfaces("") == ()


@given(rate=st.integers(1, 1_000_000))
def test_a_bucket_has_the_rate_and_room_for_two_packets(rate):
    """1 kB is 1,000 bytes, and a byte has eight bits."""
    kind, _, bits, _, burst, *_ = bucket(rate)
    assert (kind, bits) == ("tbf", f"{rate * 8000}bit")
    assert int(burst.removesuffix("b")) >= max(3200, 10 * rate)


@pytest.mark.parametrize(
    ("shown", "rate"),
    [
        ("qdisc noqueue 0: dev lo root refcnt 2\n", 0),
        ("qdisc tbf 8002: dev eth0 root refcnt 3 rate 400Kbit burst 3200b lat 200ms\n", 50),
        (
            "qdisc noqueue 0: dev lo root\nqdisc tbf 8002: dev eth0 root refcnt 3 rate 1600Mbit burst 1b lat 200ms\n",
            200_000,
        ),
        ("qdisc tbf 1: dev eth0 root refcnt 3 rate 800bit burst 1b lat 200ms\n", 0.1),
    ],
)
def test_the_rate_is_read_as_tc_shows_it(shown, rate):
    """In kB a second; none is 0."""
    assert rate_of(shown) == pytest.approx(rate)


def test_a_delay_is_told_in_microseconds_with_its_jitter_when_there_is_one():
    """The queue has room for a second of a fast network."""
    assert late(0.1, 0.0) == ("netem", "limit", "100000", "delay", "100000us")
    assert late(0.1, 0.02)[-2:] == ("100000us", "20000us")


@given(had=st.integers(10_000_000, 64_000_000_000), cores=st.floats(0.01, 64))
def test_a_limit_is_given_in_the_terms_that_the_container_has(had, cores):
    """The engine refuses to mix the two, and only then can the old one be given back exactly."""
    assert cpu_limits(limited(NanoCpus=had), cores) == {"NanoCpus": round(cores * 1e9)}
    assert cpu_before(limited(NanoCpus=had)) == {"NanoCpus": had}
    given_as = cpu_limits(limited(CpuPeriod=50_000, CpuQuota=25_000), cores)
    assert given_as == {"CpuPeriod": 50_000, "CpuQuota": max(1000, round(cores * 50_000))}
    assert cpu_before(limited(CpuPeriod=50_000, CpuQuota=25_000)) == {"CpuPeriod": 50_000, "CpuQuota": 25_000}


def test_no_limit_is_given_back_by_the_word_that_the_kernel_has_for_it():
    """The engine takes 0 for "as it is"."""
    assert cpu_limits(BOX, 0.5) == {"CpuQuota": 50_000}
    assert cpu_before(BOX) == {"CpuQuota": -1}
    assert memory_before(BOX) == {"Memory": UNLIMITED, "MemorySwap": -1}


def test_a_memory_limit_leaves_no_swap_beside_it_and_gives_both_back():
    """Unlimited swap stays unlimited: the engine takes no smaller one for it."""
    had = limited(Memory=64 << 20, MemorySwap=128 << 20)
    assert memory_limits(had, 9 << 20) == {"Memory": 9 << 20, "MemorySwap": 9 << 20}
    assert memory_before(had) == {"Memory": 64 << 20, "MemorySwap": 128 << 20}
    assert memory_limits(limited(Memory=64 << 20, MemorySwap=-1), 9 << 20)["MemorySwap"] == -1


def test_how_a_container_hangs_on_a_network_is_read_whole():
    """All that a reconnection must give again; an address that the engine chose is not one that was asked for."""
    hung = {
        "front": {"NetworkID": "n1", "IPAddress": "10.1.1.5", "IPAMConfig": {"IPv4Address": "10.1.1.5"},
                  "Aliases": ["pay", "c1"], "Links": ["db:store"], "DriverOpts": {"a": "b"}},
        "back": {"NetworkID": "n2", "IPAddress": "10.1.2.9", "IPAMConfig": None, "Aliases": None, "Links": None,
                 "DriverOpts": None},
    }  # fmt: skip
    document = {
        "Id": "c1", "Name": "/box", "Config": {"Labels": None},
        "State": {"Status": "running", "Pid": 7, "ExitCode": 0, "OOMKilled": False, "StartedAt": "2026"},
        "HostConfig": {"RestartPolicy": {"Name": ""}, "NanoCpus": 5, "MemorySwap": None},
        "NetworkSettings": {"Networks": hung},
    }  # fmt: skip
    seen = container_of(document)
    front = Attachment("n1", "10.1.1.5", ("pay", "c1"), "10.1.1.5", ("db:store",), {"a": "b"})
    assert seen.attachments == {"front": front, "back": Attachment("n2", "10.1.2.9", ())}
    assert (seen.limits["NanoCpus"], seen.limits["MemorySwap"]) == (5, 0)
    assert seen.started == "2026"


def test_a_kernel_says_whether_it_has_netem(tmp_path):
    """As a module, built in, by its configuration; one that says nothing is believed to have it."""
    modules, config = tmp_path / "modules", tmp_path / "config.gz"
    assert _lacking(modules, config) == ""
    config.write_bytes(gzip.compress(b"\n# CONFIG_NET_SCH_NETEM is not set\n"))
    assert "without CONFIG_NET_SCH_NETEM" in _lacking(modules, config)
    config.write_bytes(gzip.compress(b"\nCONFIG_NET_SCH_NETEM=m\n"))
    assert _lacking(modules, config) == ""
    modules.mkdir()
    (modules / "modules.dep").write_text("kernel/net/sched/sch_tbf.ko:\n")
    assert _lacking(modules, config) == "this kernel has no module sch_netem"
    (modules / "modules.builtin").write_text("kernel/net/sched/sch_netem.ko\n")
    assert _lacking(modules, config) == ""
