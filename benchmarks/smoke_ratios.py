"""Which benchmarks `benchmarks.smoke` runs, how small, and which ratios it reads of what they write."""

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.index_peers import AT_RECALL, queries_at

Lines = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two things that one run measured.

    Attributes:
        read: How it is read of the lines, by their keys.
        more_is_better: Else less is.
        slack: What is added to the bound where less is better, for ratios that may be nothing.
    """

    read: Callable[[Lines], float]
    more_is_better: bool = True
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """A benchmark on a small size.

    Attributes:
        small: Its arguments; `{folder}` is one that is gone afterwards.
        kit: Whether it needs REBASE_KIT; one that does not runs without it, so that its bounds are the same anywhere.
        peers: What must be installed beside.
    """

    name: str
    small: str
    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    kit: bool = False
    peers: tuple[str, ...] = ()


def _number(key: str) -> Callable[[Lines], float]:
    """Return what reads the number that a line begins with."""
    return lambda lines: float(str(lines[key]["shown"]).split()[0].rstrip("%x;").replace(",", ""))


def _percent(key: str) -> Callable[[Lines], float]:
    return lambda lines: _number(key)(lines) / 100


def _quotient(above: str, below: str) -> Callable[[Lines], float]:
    return lambda lines: _number(above)(lines) / _number(below)(lines)


def _throughput(lines: Lines) -> float:
    return statistics.median(lines["throughput"]["details"]["ratios"]) / 100


def _checks_of_gate(lines: Lines) -> float:
    return _number("cost")(lines) / float(lines["cost"]["details"]["whole_gate_ms"])


def _asked_again(lines: Lines) -> float:
    about = lines["kill"]["details"]
    return float(about["asked_again"] / max(1, sum(about["in_flight_at_each_kill"])))


def _asked_after_changes(lines: Lines) -> float:
    about = [lines[key]["details"] for key in ("changed", "changed_best", "changed_useless")]
    asked, allowed = (sum(sum(one[name].values()) for one in about) for name in ("asked", "allowed"))
    return float(asked / allowed)


def _wasted(key: str) -> Callable[[Lines], float]:
    return lambda lines: float(lines[key]["details"]["wasted"] / 200)


def _left_open(lines: Lines) -> float:
    about = lines["leaks"]["details"]
    return float(about["closed"]["files"] / about["before"]["files"])


def _growth(key: str) -> Callable[[Lines], float]:
    return lambda lines: float(lines[key]["details"]["rss_mb"][-1] / lines[key]["details"]["rss_mb"][0])


def _of_faiss(lines: Lines) -> float:
    ours, theirs = (queries_at(lines[name]["details"]["points"], AT_RECALL) for name in ("ours", "faiss"))
    return float((ours or 0.0) / (theirs or 1.0))


def _padding(lines: Lines) -> float:
    by_length, as_drawn = re.findall(r"([\d.]+) %", lines["padding"]["shown"])
    return float(by_length) / float(as_drawn)


def _rows_left(key: str) -> Callable[[Lines], float]:
    return lambda lines: float(str(lines[key]["shown"]).rpartition(", ")[2].partition("%")[0]) / 100


def _of_kit(name: str, small: str, ratio: str, read: Callable[[Lines], float]) -> Script:
    """Return a script that needs REBASE_KIT, with the one ratio that is read of it."""
    return Script(name, small, {ratio: Ratio(read)}, kit=True)


SCRIPTS = (
    Script(
        "teacher_cpu", "--rows 600 --rounds 1", {"generate_of_asking": Ratio(_quotient("cpu_pipeline", "cpu"), False)}
    ),
    Script("teacher_throughput", "--rows 400 --rounds 2", {"of_bare": Ratio(_throughput)}),
    Script("teacher_defaults", "--rows 1400 --after 1.5", {"of_the_server": Ratio(_percent("defaults_told"))}),
    Script("teacher_kill", "--rows 400 --kills 3", {"asked_again_of_in_flight": Ratio(_asked_again, False)}),
    Script("teacher_changed_rows", "--rows 40 --of 120", {"asked_of_allowed": Ratio(_asked_after_changes, False)}),
    Script(
        "teacher_rate_limits",
        "--rows 200",
        {
            "wasted_of_rows": Ratio(_wasted("full"), False),
            "wasted_with_defaults": Ratio(_wasted("full_defaults"), False, slack=0.1),
        },
    ),
    Script("teacher_leaks", "--faults 300", {"files_after_of_before": Ratio(_left_open, False)}),
    Script(
        "teacher_memory",
        "--rows 900 --first 300 --parts memory_pipeline",
        {"growth": Ratio(_growth("memory_pipeline"), False)},
    ),
    Script("index_rows", "--rows 20000", {"disk_of_parquet": Ratio(_number("disk"), False)}),
    Script("index_lexical", "--rows 20000", {"of_bm25s": Ratio(_number("faster_cpu"))}, peers=("bm25s",)),
    Script(
        "index_encoding",
        "--texts 40 --rounds 1 --queries 6 --judged 20",
        {"of_the_peer": Ratio(_number("encode")), "int8_of_the_peer": Ratio(_number("encode_int8"))},
    ),
    Script(
        "index_vectors",
        "--count 3000 --real 4000 --queries 200 --scratch {folder}/vectors",
        {"of_hnswlib": Ratio(_number("batch")), "graph_of_hnswlib": Ratio(_number("graph_bytes"), False)},
        peers=("hnswlib",),
    ),
    Script(
        "index_peers",
        "--count 3000 --real 4000 --queries 200 --scratch {folder}/vectors",
        {"of_faiss": Ratio(_of_faiss)},
        peers=("hnswlib", "faiss-cpu"),
    ),
    Script(
        "index_build",
        "--rows 2000 --sources 40 --encoded 60",
        {"around": Ratio(_percent("around"), False, slack=0.15)},
    ),
    Script(
        "scale_stages",
        "--rows 2000 --encoded 40 --encoders fp32 int8",
        {"int8_of_fp32": Ratio(_quotient("int8", "fp32"))},
    ),
    Script("quality_checks", "--rows 500 --rounds 2", {"checks_of_the_gate": Ratio(_checks_of_gate, False)}),
    Script(
        "quality_duplicates",
        "--rows 2000",
        {name: Ratio(_number(name)) for name in ("recall_exact", "recall_near", "recall_semantic", "precision")},
    ),
    Script(
        "students_overhead",
        "--max-pairs 40 --rounds 1",
        {"outside": Ratio(_percent("outside"), False, slack=0.1), "padding": Ratio(_padding, False)},
    ),
    _of_kit("quality_insight", "--rows 100 --labelled 300", "found", _number("planted_dbpedia14")),
    _of_kit("retrieval", "--tasks banking77 --count 100 --bank-rows 20", "sources", _number("sources")),
    _of_kit(
        "methods_fewgen",
        "--tasks anthropic_myopic_reward --examples 60",
        "score",
        _number("fewgen.anthropic_myopic_reward"),
    ),
    _of_kit("methods_synthesizrr", "--tasks hypo_l --examples 40", "score", _number("synthesizrr.hypo_l")),
    _of_kit(
        "students_checks",
        "--tasks question_intimacy --seeds 2 --rows 200",
        "score",
        _number("checks.question_intimacy"),
    ),
    _of_kit("methods_kard", "--teachers gpt-4 --examples 15", "kept", _number("kard.gpt-4")),
    _of_kit(
        "methods_retrieved",
        "--tasks bbh_boolean_expressions --examples 60",
        "score",
        _number("retrieved.bbh_boolean_expressions"),
    ),
    _of_kit("students_few_shot", "--tasks hypo_l --examples 30", "score", _number("few_shot.hypo_l")),
    _of_kit(
        "students_active",
        "--seeds 2 --answers 20 --rounds 2 --pool 200 --human 20",
        "score",
        _number("ten_dim_active"),
    ),
    _of_kit(
        "students_development",
        "--tasks question_intimacy --seeds 2 --rows 200 --gold 50",
        "rows_left",
        _rows_left("development.near duplicates from 0.6"),
    ),
    _of_kit(
        "quality_removed",
        "--tasks anthropic_myopic_reward",
        "removed",
        _number("removed.anthropic_myopic_reward"),
    ),
    _of_kit(
        "end_to_end",
        "--tasks ten_dim --seeds 1 --examples 60 --max-pairs 120 --test-rows 60",
        "score",
        _number("ten_dim"),
    ),
)
