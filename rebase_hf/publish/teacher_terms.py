"""What models' licences say of their outputs, of models that are trained on these, and of models made from them.

In our words, for a card; the licence itself is what binds, and its address is told along.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import PublishError
from rebase_hf.index.index_card import LICENSE_IDS
from rebase_hf.public_text import markdown, public_name
from rebase_hf.publish.licenses import UNSTATED

_NAMED_LLAMA = (
    "A model that is trained on its outputs and passed on must have a name that begins with `Llama`, and say that it "
    "is built with Llama."
)
_NO_OTHER_LLM = "Its outputs may not be used to improve another large language model."
_RAIL = "Its restrictions of use go on with models that are trained on its outputs."
_TERMS: Mapping[str, tuple[str, str]] = {
    "llama2": (_NO_OTHER_LLM, "https://ai.meta.com/llama/license"),
    "llama3": (_NO_OTHER_LLM, "https://www.llama.com/llama3/license"),
    "llama3.1": (_NAMED_LLAMA, "https://www.llama.com/llama3_1/license"),
    "llama3.2": (_NAMED_LLAMA, "https://www.llama.com/llama3_2/license"),
    "llama3.3": (_NAMED_LLAMA, "https://www.llama.com/llama3_3/license"),
    "llama4": (_NAMED_LLAMA, "https://www.llama.com/llama4/license"),
    "gemma": (
        "A model that is trained on its outputs to do as it does counts as a derivative, and the same restrictions of "
        "use go on with it.",
        "https://ai.google.dev/gemma/terms",
    ),
    "openrail": (_RAIL, "https://www.licenses.ai"),
    "bigscience-openrail-m": (_RAIL, "https://www.licenses.ai/blog/2022/8/26/bigscience-open-rail-m-license"),
    "bigscience-bloom-rail-1.0": (_RAIL, "https://huggingface.co/spaces/bigscience/license"),
    "bigcode-openrail-m": (_RAIL, "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement"),
    "creativeml-openrail-m": (_RAIL, "https://huggingface.co/spaces/CompVis/stable-diffusion-license"),
}
_RAIL_MADE = "Its restrictions of use go on with models that are made from it."
_LLAMA = ("Llama", "Built with Llama")
# How a model's name must begin, and what must be displayed with it: of models made from one under these licences; of
# models trained on outputs of one, only under those from 3.1 on.
_NAMING = {
    "llama3": ("Llama 3", "Built with Meta Llama 3"),
    **dict.fromkeys(("llama3.1", "llama3.2", "llama3.3", "llama4"), _LLAMA),
}
_MADE_FROM = {
    "llama2": "A model made from it is passed on with its licence and its notice.",
    **{
        name: f"A model made from it must have a name that begins with `{begin}`, and say `{shown}`."
        for name, (begin, shown) in _NAMING.items()
    },
    "gemma": "Its restrictions of use go on with a model made from it, which is passed on with its terms.",
    "openrail": _RAIL_MADE,
    "bigscience-openrail-m": _RAIL_MADE,
    "bigscience-bloom-rail-1.0": _RAIL_MADE,
    "bigcode-openrail-m": _RAIL_MADE,
    "creativeml-openrail-m": _RAIL_MADE,
}


def naming_duty(identifier: str | None, *, by_outputs: bool = False) -> tuple[str, str] | None:
    """Return how the name of a model must begin and what must be displayed with it, or None where nothing is asked.

    Args:
        identifier: The licence of what it is made from.
        by_outputs: It is trained on outputs alone.
    """
    return None if by_outputs and identifier == "llama3" else _NAMING.get(str(identifier))


def terms_of_models_made_from(identifier: str) -> str:
    """Return what a licence says of models made from one that is under it."""
    if identifier in UNSTATED:
        return "What it says of models made from it is not known here: read it before you use this one."
    if "-nc" in identifier:
        return "It allows no commercial use."
    return _MADE_FROM.get(identifier, "")


@dataclass(frozen=True, slots=True)
class TeacherLicense:
    """The licence of a model, a teacher's or a base model's, as the run or its publisher knows it.

    Attributes:
        identifier: The Hub's id of it; None where it is not known.
        name: What its card calls it, where the id is `other`.
        link: Where its card says that it is read.
        found: `card` or `flag`; None where it is not known.
    """

    identifier: str | None = None
    name: str | None = None
    link: str | None = None
    found: str | None = None

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "TeacherLicense":
        """Return what a report says."""
        return cls.read(report.get("teacher") or {})

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "TeacherLicense":
        """Return what `to_report` wrote."""
        return cls(*(told.get(key) for key in ("license", "license_name", "license_link", "license_from")))

    @property
    def is_known(self) -> bool:
        """Whether it is known what it allows: `other` names one that is not told here."""
        return bool(self.identifier) and str(self.identifier).lower() not in UNSTATED

    def to_report(self) -> dict[str, str | None]:
        """Return the keys of the report's `teacher`."""
        about = {"license_name": self.name, "license_link": self.link, "license_from": self.found}
        return {"license": self.identifier, **{key: value for key, value in about.items() if value}}

    def sentence(self) -> str:
        """Return what a card says of it, in Markdown, its terms on outputs with it."""
        if not self.identifier:
            return "Its licence is unknown. Its terms may restrict what its outputs are used for."
        return self.said(_TERMS.get(self.identifier, ("", ""))[0] or _plain_terms(self.identifier))

    def said(self, terms: str) -> str:
        """Return which licence it is, who says so, what follows from it, and where it is read, in Markdown."""
        called = f" ({markdown(self.name)})" if self.name else ""
        said = f"Licence: `{self.identifier}`{called}, as {_FOUND.get(str(self.found), 'the run says')}."
        link = _TERMS.get(str(self.identifier), ("", ""))[1]
        where = self.link if self.link and self.link.startswith("https://") else link
        see = f"See <{where}>." if where and " " not in where and ">" not in where else ""
        return " ".join(part for part in (said, terms, see) if part)


_FOUND = {"card": "its card says", "flag": "its publisher says (`--teacher-license`)"}


def few_shot_base(teacher: Mapping[str, Any]) -> str:
    """Return the name of the encoder that a few-shot teacher was trained from, as a report tells of the teacher."""
    return public_name(str(teacher.get("model") or "").removeprefix("few-shot:"))


def flagged(identifier: str | None) -> TeacherLicense | None:
    """Return the licence that a user names for a teacher; None for none.

    Raises:
        PublishError: It is no licence that the Hub knows.
    """
    if identifier is None:
        return None
    name = identifier.strip().lower()
    if name not in LICENSE_IDS:
        near = difflib.get_close_matches(name, sorted(LICENSE_IDS), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "it takes ids such as apache-2.0, llama3.1, or other."
        raise PublishError(f"--teacher-license {identifier}: the Hub knows no such licence; {hint}")
    return TeacherLicense() if name == "unknown" else TeacherLicense(name, found="flag")


def _plain_terms(identifier: str) -> str:
    if identifier in UNSTATED:
        return "What it says of outputs is not known here: read it before you use them."
    if "-nc" in identifier:
        return "It allows no commercial use."
    return "It is not known to set terms on outputs."
