"""What is said beside each benchmark's figures: what they spread over, and what they do not show."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """What a reader of a benchmark's figures must know.

    Attributes:
        title: What is measured, in words.
        spread: Over what the figures vary, and how that is told.
        silent: What they do not show.
        kit: Whether REBASE_KIT must name a folder of real data.
    """

    title: str
    spread: str
    silent: str
    kit: bool = False


_MACHINE = (
    "one reading on one machine of two cores; CPU time varies by some percent from run to run, wall time by more."
)
_DRAWN = "± is the standard deviation over seeds; a range is 95 % with test rows and seeds drawn anew."
_LOOPBACK = (
    "a real model, a network, or a server that others use: the server is a loopback double that answers at once or "
    "after a set time."
)
_LINEAR = (
    "what a student gains that is trained whole: the student is a linear head on a frozen encoder, so that many tasks "
    "and seeds can be compared."
)

ABOUT = {
    "retrieval": About(
        "Which rows are retrieved",
        "means over 27 tasks; a range is 95 % with tasks drawn anew. Per task: docs/retrieval.md.",
        "that a student learns more from these rows; a bank of more than 124 datasets, most of which are samples of a "
        "few rows. What was mended was found by reading these very lists.",
        kit=True,
    ),
    "end_to_end": About(
        "From task file to student",
        "± is the standard deviation over seeds of the student; the dataset is the same for all seeds.",
        "what a teacher of today would write: the teachers are records, and the rows that they were asked about are "
        "the only ones in the index of ten_dim and of gsm8k. The student of gsm8k has "
        "random weights; that of xquad_en was shown few windows of text (`--windows`) for one that marks spans.",
        kit=True,
    ),
    "methods_synthesizrr": About(
        "SynthesizRR beside its baselines",
        _DRAWN,
        f"{_LINEAR} The teacher's rewrites exist for one label a document, so most drafts go unanswered.",
        kit=True,
    ),
    "methods_fewgen": About(
        "FewGen beside its baselines", _DRAWN, f"{_LINEAR} The four tasks are of one family.", kit=True
    ),
    "methods_kard": About(
        "KARD's rationales and what they find",
        "± is the standard deviation over seeds.",
        "a student: no weights that write are on the machine of these figures.",
        kit=True,
    ),
    "methods_retrieved": About("Rows that already are examples", _DRAWN, _LINEAR, kit=True),
    "students_checks": About(
        "Students of checked rows and of raw ones",
        "± is the standard error over seeds of the paired difference; per task also 95 % with test rows drawn anew.",
        f"{_LINEAR} Recorded rows are some years old, and may have other faults than those of today's teachers.",
        kit=True,
    ),
    "students_development": About(
        "Which checks were chosen, on development rows", "± is the standard error over seeds.", _LINEAR, kit=True
    ),
    "students_few_shot": About(
        "The few-shot teacher on the bank",
        f"{_DRAWN} One teacher a task.",
        f"{_LINEAR} A teacher that writes.",
        kit=True,
    ),
    "students_active": About(
        "Active against static synthesis", "± is over five seeds, each another part of the pool.", _LINEAR, kit=True
    ),
    "students_overhead": About(
        "What training costs besides its passes", _MACHINE, "a machine with an accelerator, where passes are shorter."
    ),
    "quality_checks": About(
        "The checks of an answer alone: cost, and what they refuse of people",
        _MACHINE,
        "how often teachers of today decline or answer in another language.",
        kit=True,
    ),
    "quality_duplicates": About(
        "Duplicates in 100,000 rows", _MACHINE, "duplicates that say the same in words that share nothing."
    ),
    "quality_insight": About(
        "Diversity, cartography and leaks",
        "one seed of planted faults a data set.",
        "faults as they come: the wrong labels are drawn evenly at random.",
        kit=True,
    ),
    "quality_removed": About(
        "What the checks remove of recorded answers",
        "none: counts over every recorded run.",
        "answers of today's teachers: these are some years old.",
        kit=True,
    ),
    "quality_precision": About(
        "How often a removal is right",
        "Wilson's interval, 95 %, of at most 50 rows a check.",
        "a second reader: one language model, which also wrote the benchmark, read all. Recall is out of reach.",
        kit=True,
    ),
    "clients": About(
        "This client beside others",
        "the median of the rounds, with the range where there were several.",
        f"{_LOOPBACK} Drivers of the other clients were written by this library's authors.",
    ),
    "teacher_cpu": About("What a row costs the client", "median of three rounds.", _LOOPBACK),
    "teacher_throughput": About(
        "Rows a second at a set latency", "median of five rounds, in turns with the bare client.", _LOOPBACK
    ),
    "teacher_defaults": About("Rows a second with nothing set", _MACHINE, _LOOPBACK),
    "teacher_kill": About(
        "What is asked again after kill -9",
        "20 moments drawn at random.",
        "a machine that loses power.",
    ),
    "teacher_changed_rows": About(
        "What is asked again after an edit",
        "none: counts.",
        "other edits; one of the instruction or of a label changes every prompt.",
    ),
    "teacher_rate_limits": About("Servers that refuse", _MACHINE, _LOOPBACK),
    "teacher_memory": About("Memory over 100,000 rows", _MACHINE, "rows of other lengths."),
    "teacher_leaks": About(
        "What faulty answers leave open",
        "none: counts.",
        "faults that a real server has beside the kinds that are played.",
    ),
    "index_vectors": About(
        "An index's vectors beside hnswlib's",
        _MACHINE,
        "real vectors alone: four fifths are made between real ones; `index_peers` has only real ones.",
        kit=True,
    ),
    "index_peers": About(
        "Recall against queries, beside others",
        "the best of three rounds of a thousand queries.",
        "more than one thread a query, accelerators, or other kinds of index that the others have.",
        kit=True,
    ),
    "index_lexical": About(
        "Words: BM25 beside bm25s", _MACHINE, "rankings: both score by the same formula.", kit=True
    ),
    "index_rows": About("Rows on disk", _MACHINE, "a disk that is not cached: the rows are warm.", kit=True),
    "index_encoding": About(
        "Encoders",
        _MACHINE,
        "other models than all-MiniLM-L6-v2, other processors, accelerators.",
        kit=True,
    ),
    "index_build": About(
        "A build of a million rows", _MACHINE, "encoding: vectors are given, and it is measured apart.", kit=True
    ),
    "scale_stages": About(
        "What a stage of a build by many machines costs",
        _MACHINE,
        "100 machines: what is said of them is computed from these (docs/scale.md).",
    ),
}

# What a reader decides by: a result and the key of its line.
DECIDING = [
    ("retrieval", "sources"),
    ("retrieval", "junk"),
    ("retrieval", "overlap"),
    ("retrieval", "family"),
    ("end_to_end", "ten_dim"),
    ("end_to_end", "xquad_en"),
    ("end_to_end", "gsm8k_rows"),
    ("students_checks", "average"),
    ("students_few_shot", "few_shot_average"),
    ("teacher_cpu", "cpu"),
    ("clients", "cpu.rebase_hf"),
    ("clients", "cpu.datatrove_bare"),
    ("clients", "cpu.curator"),
    ("teacher_kill", "kill"),
    ("teacher_memory", "memory_pipeline"),
    ("index_vectors", "recall"),
    ("index_vectors", "batch"),
    ("index_peers", "ours"),
    ("index_peers", "hnswlib"),
    ("index_encoding", "encode"),
]
