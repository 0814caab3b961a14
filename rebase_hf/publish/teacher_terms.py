"""What teachers' licences say of their outputs, and of models that are trained on them.

In our words, for a card; the licence itself is what binds, and its address is told along.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import PublishError
from rebase_hf.index.index_card import LICENSE_IDS
from rebase_hf.public_text import markdown
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


@dataclass(frozen=True, slots=True)
class TeacherLicense:
    """A teacher's licence, as the run or its publisher knows it.

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
        teacher = report.get("teacher") or {}
        return cls(*(teacher.get(key) for key in ("license", "license_name", "license_link", "license_from")))

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
        called = f" ({markdown(self.name)})" if self.name else ""
        said = f"Licence: `{self.identifier}`{called}, as {_FOUND.get(str(self.found), 'the run says')}."
        terms, link = _TERMS.get(self.identifier, ("", ""))
        where = self.link if self.link and self.link.startswith("https://") else link
        if not terms:
            terms = _plain_terms(self.identifier)
        return f"{said} {terms}" + (f" See <{where}>." if where and " " not in where and ">" not in where else "")


_FOUND = {"card": "its card says", "flag": "its publisher says (`--teacher-license`)"}


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
