from rebase_hf.index.source_cards import MAX_DESCRIPTION_CHARS, first_prose, read_card

CARD = """---
license:
- CC-BY-4.0
- mit
language: [en, de]
pretty_name: Letters
---

# Dataset Card for Letters
[![badge](https://img.example/x.svg)](https://example.org)

- [Dataset Description](#dataset-description)
- **Homepage:** https://example.org

## Dataset Summary

Letters written by **farmers** to a [newspaper](https://example.org/paper) in the 1920s, with their topics.

```python
load_dataset("letters")
```

| a | b |
|---|---|

[More Information Needed]

Each letter names a village.
"""


def test_a_card_gives_licences_languages_and_its_first_prose(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD)
    card = read_card(path)
    assert card.licenses == ("cc-by-4.0", "mit")
    assert card.language == ("en", "de")
    assert card.pretty_name == "Letters"
    assert card.description == (
        "Letters written by farmers to a newspaper in the 1920s, with their topics. Each letter names a village."
    )


def test_prose_is_limited():
    text = first_prose("word " * 1000)
    assert len(text) <= MAX_DESCRIPTION_CHARS + 4
    assert text.endswith("word ...")


def test_a_card_of_headings_and_lists_has_no_prose():
    assert first_prose("# Title\n\n- one\n- two\n\n![badge](x.svg)") == ""
