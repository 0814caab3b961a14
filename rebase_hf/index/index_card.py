"""The card of an index on the Hub: what it holds, under which licences, made how, and how to load it.

Names and descriptions come from strangers: they are shown as they are, and can't become markup. Each push writes what
stands between two lines of the card; what people wrote around them, and metadata that is not computed, stays.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

BEGIN = "<!-- rebase-hf index: each push writes anew what stands from here to the line that ends it -->"
END = "<!-- end of rebase-hf index -->"
# Sources that are listed; beyond, a card grows too long to be shown, and a file of the index has all of them.
SHOWN_SOURCES = 200
_SHOWN_CHARS = 160

_UNEVEN = {"row_groups": "evenly spread row groups", "first_rows": "the first rows"}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGER = ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))
# Ids that the Hub knows (its page on licences, hub/repositories-licenses); it takes no other in a card.
_LICENSE_IDS = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc intel-research lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0
postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 gemma unknown other
"""
LICENSE_IDS = frozenset(_LICENSE_IDS.split())
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
_HEAD = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HUB_PAGE = re.compile(r"https?://[\w.:-]+/datasets/([\w.-]+/[\w.-]+)")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$:@!&])")
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


def index_card(info: Mapping[str, Any], repo_id: str, old: str | None = None) -> str:
    """Return the README of an index's repo.

    Args:
        info: What `RowIndex.info` returns.
        old: The card that is there: its metadata that is not computed and its tags stay, and so does its text outside
            of what an earlier push wrote.
    """
    metadata = _metadata(info)
    body = "\n".join([BEGIN, *_body(info, repo_id), END])
    if old is not None:
        held, text = _parted(old)
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:  # people's own: ours goes above it
            before, after = "", f"\n\n{text.strip()}" if text.strip() else ""
        body = f"{before.lstrip()}{body}{after.rstrip()}"
        tags = held.get("tags")
        metadata["tags"] += [tag for tag in tags if tag not in metadata["tags"]] if isinstance(tags, list) else []
        metadata["viewer"] = held.get("viewer", metadata["viewer"])
        metadata |= {name: value for name, value in held.items() if name not in metadata}
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n{body}\n"


def plain(text: Any, limit: int = _SHOWN_CHARS) -> str:
    """Return a stranger's text as one line of Markdown that shows it as it is, also inside a table."""
    line = " ".join(_CONTROL.sub(" ", str(text)).split())
    line = line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
    # A bare www.name becomes a link as well.
    return _MARKUP.sub(r"\\\1", line).replace("www.", r"www\.")


def shown_encoder(name: str) -> str:
    """Return an encoder's name; of one that lies in a folder only the folder's own name."""
    kind, colon, rest = name.rpartition(":")
    return f"{kind}{colon}{PurePath(rest).name}" if is_folder(name) else name


def is_folder(encoder: str) -> bool:
    """Return whether an encoder is named by a folder of the machine that it was used on."""
    return encoder.rpartition(":")[2].startswith(("/", "~", ".", "\\"))


def _metadata(info: Mapping[str, Any]) -> dict[str, Any]:
    held = {name.strip() for names in info["licenses"] for name in names.split(",")} - {""}
    licenses = sorted({name if name in LICENSE_IDS else "other" for name in held}) or ["unknown"]
    spoken = {language.split("-")[0].lower() for language in info["languages"]}
    languages = sorted(language for language in spoken if _LANGUAGE.fullmatch(language))
    size = next((name for limit, name in _SIZES + _LARGER if info["rows"] < limit), "100B<n<1T")
    return {
        "license": licenses,
        **({"language": languages} if languages else {}),
        "tags": ["rebase-hf", "row-index"],
        "size_categories": [size],
        "viewer": False,
    }


def _body(info: Mapping[str, Any], repo_id: str) -> list[str]:
    encoder = info["encoder"]
    return [
        f"# {plain(repo_id.split('/')[-1])}",
        "",
        f"A row index of [rebase-hf](https://pypi.org/project/rebase-hf): {info['rows']:,} rows of "
        f"{len(info['sources']):,} sources, {info['vectors']:,} texts embedded with "
        f"`{shown_encoder(encoder['name']).replace('`', '')}`. The rows keep the licences of their sources.",
        "",
        "```python",
        "from rebase_hf import RowIndex",
        "",
        f'index = RowIndex.open("{repo_id}")',
        'index.search("a text", k=5)',
        "```",
        "",
        *_built(info),
        *_licenses(info["licenses"]),
        *_sources(info["sources"], info["listing"]),
        *_left_out(info["skipped"], info["listing"]),
    ]


def _built(info: Mapping[str, Any]) -> list[str]:
    encoder, parameters = info["encoder"], info["parameters"]
    name = shown_encoder(encoder["name"]).replace("`", "")
    uneven = Counter(source["sampling"] for source in info["sources"] if source["sampling"] != "even")
    exceptions = "".join(f"; of {count:,} {_UNEVEN.get(how, plain(how))}" for how, count in sorted(uneven.items()))
    found = "through a graph of the vectors, scored exactly" if info["approximate"] else "by looking at every vector"
    return [
        "## How it was built",
        "",
        f"- Encoder `{name}`, {encoder['dimension']} dimensions, identity `{str(encoder['identity'])[:12]}`."
        + (" It lay in a folder of the builder's: pass the same as `encoder=`." if is_folder(encoder["name"]) else ""),
        f"- At most {parameters['max_rows_per_source']:,} rows of a source, evenly spread over its split{exceptions}; "
        f"{info['cells']:,} cells, of which {info['junk_cells']:,} say nothing by themselves.",
        f"- Rows are found {found}; their words are {'indexed as well' if info['words'] else 'not indexed'}.",
        f"- Format version {info['format_version']}, {info['segments']:,} segments, {info['bytes'] / 1e6:,.1f} MB, "
        f"{info['dead_rows']:,} rows of sources that are no longer in it.",
        f"- Fingerprint `{info['fingerprint']}`: the same rows, sources and encoder give the same.",
        "",
    ]


def _licenses(licenses: Mapping[str, int]) -> list[str]:
    rows = [f"| {plain(name)} | {count:,} |" for name, count in licenses.items()]
    return ["## Licences", "", "| licence | rows |", "|---|---|", *rows, ""]


def _sources(sources: Sequence[Mapping[str, Any]], listing: str) -> list[str]:
    head = ["## Sources", "", "| source | config | split | licence | rows | revision | what it is |", "|" + "---|" * 7]
    rows = [_source(source) for source in sources[:SHOWN_SOURCES]]
    more = len(sources) - len(rows)
    rest = [f"And {more:,} more, which `{listing}` lists with these.", ""] if more else []
    return [*head, *rows, "", *rest]


def _source(source: Mapping[str, Any]) -> str:
    page = _HUB_PAGE.fullmatch(source["url"] or "")
    name = plain(source["dataset"])
    linked = f"[{name}]({page[0]})" if page and page[1] == source["dataset"] else name
    total = "" if source["total_rows"] == source["rows"] else f" of {_number(source['total_rows'])}"
    revision = source["revision"] or ""
    shown = f"`{revision[:12]}`" if _COMMIT.fullmatch(revision) else plain(revision)
    cells = (
        linked,
        plain(source["config"] or ""),
        plain(source["split"]),
        plain(source["license"] or "unknown"),
        f"{source['rows']:,}{total}",
        shown,
        plain(source["description"], 100),
    )
    return f"| {' | '.join(cells)} |"


def _number(count: int | None) -> str:
    return "an unknown number" if count is None else f"{count:,}"


def _left_out(skipped: Sequence[Mapping[str, Any]], listing: str) -> list[str]:
    if not skipped:
        return []
    reasons = Counter(skip["reason"] for skip in skipped).most_common()
    told = ", ".join(f"{count:,} `{re.sub('[^a-z_]', '', reason)}`" for reason, count in reasons)
    return [f"Left out were {len(skipped):,} sources: {told}; `{listing}` says which and why.", ""]


def _parted(card: str) -> tuple[dict[str, Any], str]:
    """Return a card's metadata and its text; metadata that can't be read is none."""
    match = _HEAD.match(card)
    if match is None:
        return {}, card
    try:
        held = yaml.safe_load(match[1])
    except yaml.YAMLError:
        held = None
    return held if isinstance(held, dict) else {}, card[match.end() :]
