"""The program of a companion: a helper container that shares a node's network and processes.

It reads one JSON object a line, `{"n": 1, "do": NAME, ...}`, and answers each with one line, `{"n": 1, "value": ...}`
or `{"n": 1, "error": ...}`. It ends with its input. It is sent as text to any Python 3, so it uses the standard library
alone, and nothing of squall.
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

WINDOW = 0.25  # seconds over which used CPU time is taken
TOP_UP = 0.05  # seconds after which a full disk is filled again
CHUNK = 1 << 16  # bytes
MOST = 1 << 30  # bytes of a file system that may be filled

fillers: dict[str, int] = {}  # path in the node -> descriptor of its filler
burnt: list[tuple[float, float]] = []  # time, seconds of CPU that marked processes have taken since they began


def run(argv: list[str]) -> str:
    """Run a command to its end; returns its output."""
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OSError(f"{' '.join(argv)}: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


def inside(path: str) -> Path:
    """Return where a path of the node is found from here."""
    return Path(f"/proc/1/root{path}")


def read(path: str) -> str:
    """Read a file of the node."""
    return inside(path).read_text()


def write(path: str, text: str) -> None:
    """Put a small file of the node in place at once, readable by all."""
    draft = inside(f"{path}.draft")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.rename(inside(path))


def remove(path: str) -> None:
    """Remove a file of the node, if it is there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        inside(path).unlink()


def has(path: str) -> bool:
    """Tell whether the node has a file."""
    return inside(path).exists()


def free(path: str) -> float:
    """Return the free share of a file system of the node."""
    told = os.statvfs(inside(path))
    return told.f_bavail / told.f_blocks


def fill(path: str, name: str) -> None:
    """Fill a file system of the node that is mounted at a path, and keep it full."""
    mounted = {line.split()[4] for line in Path("/proc/1/mountinfo").read_text().splitlines()}
    told = os.statvfs(inside(path))
    if path not in mounted or path == "/":
        raise OSError(f"nothing is mounted at {path}")
    if told.f_blocks * told.f_frsize > MOST:
        raise OSError(f"{path} has {told.f_blocks * told.f_frsize >> 20} MiB: no size of its own, or too large to fill")
    fillers[path] = os.open(f"{inside(path)}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    top_up()


def top_up() -> None:
    """Fill what has become free."""
    for file in fillers.values():
        size = CHUNK
        while size:
            try:
                os.write(file, bytes(size))
            except OSError:
                size //= 2


def empty(path: str, name: str) -> None:
    """Remove a filler, if it is there."""
    file = fillers.pop(path, None)
    if file is not None:
        os.close(file)
    remove(f"{path}/{name}")


def marked(mark: str) -> list[int]:
    """Return the processes of the node with a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def end(mark: str) -> None:
    """Kill the marked processes, and return when none is left."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    burnt.clear()


def used(mark: str) -> float:
    """Return the cores that the marked processes have taken in the last quarter of a second; 0 without any."""
    total = 0.0
    for pid in marked(mark):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    now = time.monotonic()
    if not burnt or total < burnt[-1][1]:
        burnt[:] = [(now - WINDOW, 0.0)]
    burnt.append((now, total))
    while len(burnt) > 2 and burnt[1][0] <= now - WINDOW:
        del burnt[0]
    return (total - burnt[0][1]) / (now - burnt[0][0])


def cpu_limit() -> float:
    """Return the cores that the kernel lets the node have."""
    everything = float(os.cpu_count() or 1)
    for path in ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.max"):
        if has(path):
            quota, period = read(path).split()
            return everything if quota == "max" else int(quota) / int(period)
    limit, slice_us = (int(read(f"/sys/fs/cgroup/cpu/cpu.cfs_{word}_us")) for word in ("quota", "period"))
    return everything if limit < 0 else limit / slice_us


def memory_used() -> int:
    """Return the bytes that the node uses and cannot give back: without files that could be read again."""
    for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory"):
        for name, cached in (("memory.current", "inactive_file"), ("memory.usage_in_bytes", "total_inactive_file")):
            if has(f"{path}/{name}"):
                told = dict(line.split() for line in read(f"{path}/memory.stat").splitlines())
                return int(read(f"{path}/{name}")) - int(told.get(cached, 0))
    raise OSError("the node's memory is not accounted for")


def drop_table(name: str) -> None:
    """Delete a table of nf_tables that a first rule of iptables made: `nft delete table ip NAME`."""
    body = struct.pack("=HH", 4 + len(name) + 1, 1) + name.encode() + b"\0"
    body += bytes(-len(body) % 4)
    messages = b"".join(
        struct.pack("=IHHII", 20 + len(rest), kind, flags, number, 0) + struct.pack("=BB", family, 0) + resource + rest
        for number, (kind, flags, family, resource, rest) in enumerate(
            (
                (0x10, 1, 0, struct.pack("!H", 10), b""),  # NFNL_MSG_BATCH_BEGIN for NFNL_SUBSYS_NFTABLES
                (0x0A02, 5, 2, b"\0\0", body),  # NFT_MSG_DELTABLE, acknowledged, NFPROTO_IPV4
                (0x11, 1, 0, struct.pack("!H", 10), b""),  # NFNL_MSG_BATCH_END
            )
        )
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as link:  # NETLINK_NETFILTER
        link.settimeout(1.0)
        link.sendto(messages, (0, 0))
        code = struct.unpack("=i", link.recv(4096)[16:20])[0]
    if code:
        raise OSError(-code, f"table {name} stays")


DEEDS = (run, read, write, remove, has, free, fill, empty, end, used, cpu_limit, memory_used, drop_table)


def answer(line: str) -> dict[str, Any]:
    """Do what a line says."""
    words = json.loads(line)
    number = words.pop("n")
    try:
        return {"n": number, "value": {deed.__name__: deed for deed in DEEDS}[words.pop("do")](**words)}
    except (OSError, ValueError) as error:
        return {"n": number, "error": str(error)}


def main() -> None:
    """Answer until the input ends."""
    heard = b""
    print("{}", flush=True)  # ready
    while True:
        if select.select([0], [], [], TOP_UP if fillers else None)[0]:
            said = os.read(0, CHUNK)
            if not said:
                sys.exit()
            *lines, heard = (heard + said).split(b"\n")
            for line in lines:
                print(json.dumps(answer(line.decode())), flush=True)
        top_up()


if __name__ == "__main__":
    main()
