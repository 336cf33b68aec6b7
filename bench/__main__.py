"""`make bench`: every figure that README.md and docs/performance.md state."""

from __future__ import annotations

import platform

import psutil

from bench.boot import bench_boot
from bench.commands import bench_exec, bench_pipes, bench_terminal
from bench.drives import bench_drives
from bench.footprint import bench_footprint
from bench.harness import isthmus
from bench.interop import bench_interop
from bench.net import bench_net
from bench.peers import bench_peers
from bench.work import bench_work


def main() -> None:
    """Run all benchmarks, one after another, on an otherwise idle machine."""
    memory_gib = psutil.virtual_memory().total / 2**30
    print(f"{psutil.cpu_count()} processors, {memory_gib:.0f} GiB, {platform.platform()}")
    bench_boot()
    bench_footprint()
    with isthmus() as subject:
        subject.run("--install")
        bench_exec(subject)
        bench_pipes(subject)
        bench_terminal(subject)
    bench_interop()
    bench_net()
    bench_drives()
    bench_work()
    bench_peers()


main()
