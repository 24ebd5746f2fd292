"""Machines of a cluster, as far as their network goes: namespaces of this one, joined by a bridge."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

__all__ = ["Node", "cluster"]


@dataclass(frozen=True)
class Node:
    """A network namespace with an address that the others reach; files are those of this machine, as on NFS."""

    name: str
    address: str
    interface: str

    def start(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """Run a program there."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": self.interface}
        line = ["ip", "netns", "exec", self.name, *command]
        return subprocess.Popen(line, env={**env, **options.pop("env", {})}, text=True, **options)

    def kill(self) -> int:
        """Everything that runs there ends at once, as when the power goes. Returns how many processes that were."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        processes = [psutil.Process(int(pid)) for pid in found.stdout.split()]
        for process in processes:
            process.suspend()  # none of them sees another one's end and does something about it
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)
        return len(processes)


@contextmanager
def cluster(number: int = 2) -> Iterator[list[Node]]:
    """So many nodes, for as long as the context lasts. The test is skipped where namespaces cannot be made."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and the program ip (Debian: iproute2), to make network namespaces")
    bridge, tag = f"llb{os.getpid() % 100_000}", f"ll{os.getpid() % 100_000}"
    third = os.getpid() % 200  # tests that run at once have networks of their own

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    with ExitStack() as stack:
        try:
            ip("link", "add", bridge, "type", "bridge")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        stack.callback(ip, "link", "del", bridge)
        ip("link", "set", bridge, "up")
        nodes = []
        for place in range(1, number + 1):
            node = Node(f"{tag}n{place}", f"10.211.{third}.{place}", "eth0")
            ip("netns", "add", node.name)
            stack.callback(ip, "netns", "del", node.name)
            stack.callback(node.kill)
            outside = f"{tag}v{place}"
            ip("link", "add", outside, "type", "veth", "peer", "name", node.interface, "netns", node.name)
            ip("link", "set", outside, "master", bridge, "up")
            ip("-n", node.name, "addr", "add", f"{node.address}/24", "dev", node.interface)
            ip("-n", node.name, "link", "set", node.interface, "up")
            ip("-n", node.name, "link", "set", "lo", "up")
            nodes.append(node)
        yield nodes
