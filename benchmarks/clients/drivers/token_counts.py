"""Counting tokens without a table of them: tiktoken downloads its tables, and the benchmark reaches no network.

A word counts for a token. It costs less than the real count does, which flatters the peers that count.
"""

import tiktoken


class Words:
    """Stands in for an encoding."""

    name = "words"

    def encode(self, text, **_):
        """Return as many numbers as there are words."""
        return [0] * len(text.split())

    def encode_ordinary(self, text):
        """Return as many numbers as there are words."""
        return self.encode(text)


def without_download() -> None:
    """Let tiktoken give `Words` for every encoding and model."""
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda _: Words()
