"""`transformers serve`, in a process that ends with the one that started it, however that one ends.

Run as `python -P watched_serve.py ARGUMENTS`, with a pipe for standard input: its other end is held by
the parent, so end of file means that the parent is gone, even if it was killed.
"""

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
        pass
    os.killpg(0, signal.SIGKILL)  # the whole group, which the parent made us the leader of


def _cache_size() -> list[str]:
    """Bound the cache where there is no accelerator.

    Left to itself, continuous batching sizes it by the machine's memory: a model of 100 kB took 4.4 GB, and 14 s for
    its first answer, on a CPU. 512 blocks hold 16,384 tokens in flight.
    """
    import torch

    return [] if torch.cuda.is_available() else ["--cb-num-blocks", "512", "--cb-max-batch-tokens", "2048"]


def main() -> None:
    """Serve until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Not `main` of the same module: that first asks PyPI whether there is a newer version.
    from transformers.cli.transformers import app

    app(["serve", *sys.argv[1:], *_cache_size()])


if __name__ == "__main__":
    main()
