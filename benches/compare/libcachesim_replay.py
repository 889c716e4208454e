#!/usr/bin/env python3
"""Replays a trace with libCacheSim (PyPI package `libcachesim`) and prints million requests a second.

usage: libcachesim_replay.py TRACE.oracleGeneral CAPACITY ALGO...
One line an algorithm: `algo miss_ratio million_requests_per_second`. One thread, equal weights.
"""

import sys
import time

import libcachesim as lcs

ALGORITHMS = {"fifo": lcs.FIFO, "lru": lcs.LRU, "sieve": lcs.Sieve, "s3fifo": lcs.S3FIFO}


def main(path: str, capacity: int, names: list[str]) -> None:
    for name in names:
        reader = lcs.TraceReader(
            trace=path,
            trace_type=lcs.TraceType.ORACLE_GENERAL_TRACE,
            reader_init_params=lcs.ReaderInitParam(ignore_obj_size=True),
        )
        cache = ALGORITHMS[name](cache_size=capacity)
        start = time.perf_counter()
        miss_ratio, _ = cache.process_trace(reader)
        elapsed = time.perf_counter() - start
        requests = reader.get_num_of_req()
        print(f"{name} {miss_ratio:.4f} {requests / elapsed / 1e6:.2f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
