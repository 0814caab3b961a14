"""The papers that methods and students come from, as cards cite them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper.

    Attributes:
        key: Its BibTeX key.
        does: What its method does here, in one sentence.
    """

    name: str
    title: str
    authors: str
    year: int
    arxiv: str
    key: str
    does: str

    @property
    def url(self) -> str:
        """Where it is read."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def bibtex(self) -> str:
        """Its BibTeX entry."""
        return (
            f"@misc{{{self.key},\n  title         = {{{self.title}}},\n  author        = {{{self.authors}}},\n"
            f"  year          = {{{self.year}}},\n  eprint        = {{{self.arxiv}}},\n  archivePrefix = {{arXiv}}\n}}"
        )


METHODS = {
    "rebase": Paper(
        name="ReBase",
        title="Training Task Experts through Retrieval Based Distillation",
        authors="Ge, Jiaxin and Jia, Xueying and Viswanathan, Vijay and Luo, Hongyin and Neubig, Graham",
        year=2024,
        arxiv="2407.05463",
        key="ge2024rebase",
        does="Rows that come near the task's instruction, inputs and outputs are retrieved from many datasets, "
        "and each is transformed into an example of the task.",
    ),
    "synthesizrr": Paper(
        name="SynthesizRR",
        title="SynthesizRR: Generating Diverse Datasets with Retrieval Augmentation",
        authors="Divekar, Abhishek and Durrett, Greg",
        year=2024,
        arxiv="2405.10040",
        key="divekar2024synthesizrr",
        does="For every labelled seed several texts are retrieved, and each is rewritten into a new text of "
        "the same label.",
    ),
    "kard": Paper(
        name="KARD",
        title="Knowledge-Augmented Reasoning Distillation for Small Language Models in Knowledge-Intensive Tasks",
        authors="Kang, Minki and Lee, Seanie and Baek, Jinheon and Kawaguchi, Kenji and Hwang, Sung Ju",
        year=2023,
        arxiv="2305.18395",
        key="kang2023kard",
        does="The teacher reasons about each question, and passages that support its reasoning are retrieved.",
    ),
}

SETFIT = Paper(
    name="SetFit",
    title="Efficient Few-Shot Learning Without Prompts",
    authors="Tunstall, Lewis and Reimers, Nils and Jo, Unso Eun Seo and Bates, Luke and Korat, Daniel "
    "and Wasserblat, Moshe and Pereg, Oren",
    year=2022,
    arxiv="2209.11055",
    key="tunstall2022setfit",
    does="A sentence encoder is tuned on pairs of texts, and a linear head is trained on its vectors.",
)
