"""An engine that does nothing but write its log: prints so many MB, then says how it was held up.

Arguments: MB to write, file that gets the seconds it took and the longest single write.
"""

import json
import os
import sys
import time
from pathlib import Path

MB = 1_000_000
BLOCK_BYTES = 4096
"""As the standard output of a C program is written to a pipe."""


def lines() -> bytes:
    """About 1 MB of lines of all levels, as llama-server writes them with every request."""
    made = []
    for number in range(9000):
        at = f"{number // 3600}.{number // 60 % 60:02d}.{number % 1000:03d}.{number * 7 % 1000:03d}"
        level, text = "I", f"slot   update_slots: id {number % 4} | task {number} | prompt done"
        if number % 40 == 7:
            level, text = "W", f"srv   send_error: task {number}: the context is almost full"
        elif number % 97 == 0:
            level, text = (
                "E",
                f"srv   operator(): got exception for task {number}: failed to decode",
            )
        elif number % 11 == 0:
            level, text = "D", f"que    start_loop: processing new tasks, {number} so far"
        made.append(f"{at} {level} {text}, n_tokens = {number * 3}, progress = {number / 9000:.6f}")
    return "\n".join(made).encode() + b"\n"


def main() -> int:
    total, said = int(sys.argv[1]) * MB, Path(sys.argv[2])
    text = lines()
    blocks = [text[at : at + BLOCK_BYTES] for at in range(0, len(text), BLOCK_BYTES)]
    written, longest_s = 0, 0.0
    begun = time.perf_counter()
    while written < total:
        for block in blocks:
            before = time.perf_counter()
            os.write(1, block)
            longest_s = max(longest_s, time.perf_counter() - before)
            written += len(block)
    took_s = time.perf_counter() - begun
    said.write_text(json.dumps({"bytes": written, "seconds": took_s, "longest_s": longest_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
