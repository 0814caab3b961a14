import re
from dataclasses import asdict

import pytest
import yaml

from rebase_hf.index.index_card import BEGIN, END, SHOWN_SOURCES, index_card, plain, shown_encoder
from rebase_hf.index.row_index import RowIndex
from rebase_hf.index.source_records import IndexedSource
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = IndexedSource(
    dataset="org/letters",
    config="default",
    split="train",
    revision=COMMIT,
    license="cc-by-4.0",
    language=("en", "pt-BR"),
    description="Letters to farmers.",
    url="https://huggingface.co/datasets/org/letters",
    rows=10,
    total_rows=1000,
    columns=("letter",),
    roles=("text",),
)


@pytest.fixture
def info(index) -> dict:
    return index.info()


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def with_sources(info: dict, *sources: IndexedSource) -> dict:
    return info | {"sources": [asdict(source) for source in sources]}


def changed(**fields: object) -> IndexedSource:
    return IndexedSource(**{**asdict(SOURCE), **fields})  # type: ignore[arg-type]


def test_the_card_says_what_is_in_it_how_it_was_built_and_how_to_load_it(info):
    card = index_card(info, "org/shop")
    assert metadata(card) == {
        "license": ["cc-by-4.0", "mit"],
        "language": ["en"],
        "tags": ["rebase-hf", "row-index"],
        "size_categories": ["n<1K"],
        "viewer": False,
    }
    assert 'RowIndex.open("org/shop")' in card
    assert "7 rows of 2 sources, 17 texts embedded with `hashing`" in card
    assert "| cc-by-4.0 | 3 |\n| mit | 4 |" in card
    revision = info["sources"][0]["revision"][:12]
    assert f"| complaints |  | train | mit | 4 | `{revision}` | Complaints of customers to a shop. |" in card
    assert f"Encoder `hashing`, 48 dimensions, identity `{info['encoder']['identity'][:12]}`." in card
    assert f"Format version {info['format_version']}, 1 segments, " in card
    assert f"Fingerprint `{info['fingerprint']}`" in card
    assert "At most 1,000 rows of a source, evenly spread over its split; 22 cells" in card
    assert str(info["path"]) not in card
    assert index_card(info, "org/shop") == card


def test_a_source_of_the_hub_is_linked_and_its_rows_counted(info):
    card = index_card(with_sources(info, SOURCE, changed(total_rows=None, sampling="first_rows")), "org/shop")
    line = "| [org/letters](https://huggingface.co/datasets/org/letters) | default | train | cc-by-4.0 | 10 of 1,000 |"
    assert f"{line} `0123456789ab` | Letters to farmers. |" in card
    assert "| 10 of an unknown number |" in card
    assert "evenly spread over its split; of 1 the first rows;" in card


def test_licences_and_languages_that_the_hub_does_not_know_are_not_claimed(info):
    facts = info | {"licenses": {"mit, house-rules": 3, "unknown": 1}, "languages": ["Klingon!", "de-CH", "en"]}
    head = metadata(index_card(facts | {"rows": 12_345_678}, "org/shop"))
    assert head["license"] == ["mit", "other", "unknown"]
    assert head["language"] == ["de", "en"]
    assert head["size_categories"] == ["10M<n<100M"]


def test_a_long_list_of_sources_is_cut_and_says_where_the_rest_is(info):
    sources = [changed(dataset=f"org/letters{number}") for number in range(SHOWN_SOURCES + 7)]
    card = index_card(with_sources(info, *sources), "org/shop")
    assert card.count("\n| org/letters") == SHOWN_SOURCES
    assert f"And 7 more, which `{info['listing']}` lists with these." in card
    assert re.fullmatch(r"catalog-[0-9a-f]{12}/sources\.json", info["listing"])


def test_what_was_left_out_is_counted_and_not_named(info):
    skipped = [{"source": "/home/ada/secret", "reason": "gated", "detail": "x"}] * 2
    card = index_card(info | {"skipped": skipped}, "org/shop")
    assert "Left out were 2 sources: 2 `gated`" in card
    assert "/home/ada" not in card


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "`code` and ```fence```",
        "**bold** _it_ ~~gone~~ $x$",
        "<script>alert(1)</script>",
        "![image](http://evil.example/x.png)",
        "[link](javascript:alert(1))",
        "https://evil.example and www.evil.example and a@evil.example",
        "one\n\n# two\n| three |",
        "back\\slash \\| pipe",
        "&lt;b&gt;",
        "\u202eturned around\u0000 and \x1b[31mred",
        END,
        BEGIN,
    ],
)
def test_no_name_or_description_can_become_markup(info, text):
    source = changed(dataset=text, description=text, config=text, split=text, license=text, revision=text, url=text)
    card = index_card(with_sources(info, source), "org/shop")
    line = next(line for line in card.splitlines() if line.startswith("|") and "10 of 1,000" in line)
    bare = re.sub(r"\\[\\`*_{}\[\]<>#|~$:@!&.]", "", line)
    assert bare.count("|") == 8
    assert not re.search(r"[`*_{}\[\]<>#~$:@&]|www\.", bare)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", line)
    assert card.count(BEGIN) == card.count(END) == 1


def test_plain_text_shows_what_it_was():
    assert plain("A plain sentence, with (brackets).") == "A plain sentence, with (brackets)."
    assert plain("x" * 500, 10) == "xxxxxxxxx…"


def test_an_encoder_that_lies_in_a_folder_is_named_by_the_folder_alone(info):
    assert shown_encoder("static:/home/ada/models/mini") == "static:mini"
    assert shown_encoder("./models/mini") == "mini"
    assert shown_encoder("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    card = index_card(info | {"encoder": info["encoder"] | {"name": "/home/ada/mini"}}, "org/shop")
    assert "/home/ada" not in card
    assert "Encoder `mini`" in card and "pass the same as `encoder=`" in card


def test_what_people_wrote_stays(info):
    card = index_card(info, "org/shop")
    assert index_card(info, "org/shop", card) == card
    theirs = card.replace("viewer: false\n", "viewer: true\npretty_name: 'A: shop'\n").replace("- mit\n", "- gpl\n")
    theirs = theirs.replace(BEGIN, f"Above.\n\n{BEGIN}") + "\nBelow \\1.\n"
    merged = index_card(info, "org/shop", theirs)
    assert metadata(merged) == metadata(card) | {"viewer": True, "pretty_name": "A: shop"}  # the licence is computed
    assert f"---\nAbove.\n\n{BEGIN}" in merged
    assert merged.endswith(f"{END}\n\nBelow \\1.\n")
    assert index_card(info, "org/shop", merged) == merged


@pytest.mark.parametrize("head", ["", "---\nlicense: [\n---\n", "---\n- a list\n---\n", "---\r\ntags: x\r\n---\r\n"])
def test_a_card_that_was_there_before_stays_below_whatever_its_head(info, head):
    merged = index_card(info, "org/shop", f"{head}# My own page\n")
    assert metadata(merged)["tags"][:2] == ["rebase-hf", "row-index"]
    assert merged.endswith(f"{END}\n\n# My own page\n")
    assert merged.count("# My own page") == 1


def test_a_card_of_an_index_with_a_source_of_an_awful_name(tmp_path):
    path = write_source(tmp_path / "a|b <i>`", [{"text": "A letter to Ada"}])
    index = RowIndex.build(tmp_path / "index", [path], encoder=HashingEncoder())
    card = index_card(index.info(), "org/shop")
    assert r"a\|b \<i\>\`" in card
