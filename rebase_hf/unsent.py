"""The requests that a run would send: how many they are, how long, and a fair sample of them."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rebase_hf.teacher.asking import content_key
from rebase_hf.teacher.one_request import prompt_chars

SAMPLE = 20


@dataclass(slots=True)
class Unsent:
    """Requests that would be sent.

    Attributes:
        count: Their number.
        chars: The length of their prompts.
        supposed: How many of them are asked once for many rows, whose prompts then show what is answered; what they
            are taken to answer has `supposed_chars`.
        forms: How many of them ask for an object with these keys.
        sample: A fair sample of them.
    """

    chance: random.Random
    count: int = 0
    chars: int = 0
    supposed: int = 0
    supposed_chars: int = 0
    forms: Counter[tuple[str, ...]] = field(default_factory=Counter)
    sample: list[Mapping[str, Any]] = field(default_factory=list)
    _keys: set[str] = field(default_factory=set)

    def add(self, content: Mapping[str, Any], supposed: str | None = None) -> bool:
        """Count a request; every one has the same chance to stand in the sample. Return whether it is a new one.

        Args:
            supposed: What it is taken to answer.
        """
        if (key := content_key(content)) in self._keys:
            return False
        self._keys.add(key)
        self.count += 1
        if supposed is not None:
            self.supposed += 1
            self.supposed_chars += len(supposed)
        self.chars += prompt_chars(content)
        self.forms[tuple((content["schema"] or {}).get("properties", ()))] += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(content)
        elif (place := self.chance.randrange(self.count)) < SAMPLE:
            self.sample[place] = content
        return True
