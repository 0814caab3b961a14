"""Our client against others: the same prompts to the same loopback server, each peer in an environment of its own.

`python -m benchmarks.clients` measures; `peers.py` says who is compared and how each is set, `drivers/` holds the few
lines that use each as its own documentation shows.
"""
