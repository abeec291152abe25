"""Free ports for meshes that run side by side."""

import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.base import TargetError
from targets.local import ports


def test_ephemeral_range_is_read_as_the_kernel_writes_it():
    """The two numbers of the kernel's file are the first and the last port."""
    assert ports.ephemeral_range("32768\t60999\n") == range(32768, 61000)


@given(low=st.integers(1024, 65535), width=st.integers(0, 60000))
def test_blocks_avoid_the_ephemeral_range_or_it_covers_them_all(low, width):
    """No block touches the kernel's range, unless no block is outside of it."""
    kernel = range(low, min(low + width, 65535) + 1)
    found = ports.blocks(kernel)
    inside = [block for block in found if block.start < kernel.stop and kernel.start < block.stop]
    assert not inside or len(inside) == len(ports.blocks(range(1, 2))) == len(found)


def test_blocks_are_never_shared():
    """Claims made while others are held get other ports."""
    candidates = ports.blocks(ports.ephemeral_range())[:3]
    with ports.claim(candidates) as one, ports.claim(candidates) as two:
        assert one.take() // ports.BLOCK_SIZE != two.take() // ports.BLOCK_SIZE


def test_a_closed_block_can_be_claimed_again():
    """A block goes back when its owner closes it."""
    candidates = ports.blocks(ports.ephemeral_range())[5:6]
    with ports.claim(candidates) as first:
        port = first.take()
    with ports.claim(candidates) as second:
        assert second.take() == port


def test_a_block_with_a_server_in_it_is_left_alone():
    """A block is only claimed when all of its ports are free."""
    candidates = ports.blocks(ports.ephemeral_range())[7:8]
    with closing(socket.socket()) as server:
        server.bind((ports.HOST, candidates[0][9]))
        server.listen()
        with pytest.raises(TargetError, match="no block of free ports"):
            ports.claim(candidates)


def test_a_block_gives_each_port_once_and_then_refuses():
    """The first port is the owner's mark; the others are given once."""
    with ports.claim() as block:
        taken = [block.take() for _ in range(ports.BLOCK_SIZE - 1)]
        assert len(set(taken)) == ports.BLOCK_SIZE - 1
        with pytest.raises(TargetError, match="no port is left"):
            block.take()
