"""The kernel's tables of sockets: who listens, who is connected."""

from targets.compose.sockets import listening, used

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = HEAD + (
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1\n"
    "   2: 0A011EAC:1F40 02011EAC:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1\n"
    "   3: 0B011EAC:1F40 02011EAC:9C41 06 00000000:00000000 00:00000000 00000000     0        0 4 1\n"
)
TCP6 = HEAD + (
    "   0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 5 1\n"
    "   1: 00000000000000000000000001000000:2329 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 6 1\n"
    "   2: 0000000000000000FFFF00000C011EAC:2328 0000000000000000FFFF000002011EAC:9C42 01 0:0 00:0 0 0 0 7 1\n"
)


def test_ports_that_others_can_reach_are_found() -> None:
    """Both tables count, and what only the container itself can reach does not."""
    assert listening(TCP + TCP6) == (8080, 9000)


def test_connections_of_now_and_just_before_are_found() -> None:
    """Established and closing ones, by their local address; IPv4 inside IPv6 is IPv4."""
    assert used(TCP + TCP6) == {("172.30.1.10", 8000), ("172.30.1.11", 8000), ("172.30.1.12", 9000)}
