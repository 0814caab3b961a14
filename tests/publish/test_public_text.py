import json

import pytest

from rebase_hf.publish.public_text import fenced, markdown, public, script_json


@pytest.mark.parametrize(
    ("private", "shown"),
    [
        ("--index /home/me/deep/index --teacher few-shot", "--index index --teacher few-shot"),
        ("~/runs/demo/x", "x"),
        ("http://127.0.0.1:8080/v1/models", "http://127.0.0.1:8080/v1/models"),
        ("https://me:secret@host/v1", "https://host/v1"),
        ("token hf_abcdefghijklmnop", "token ***"),
        ("org/name and runs/demo and input/output", "org/name and runs/demo and input/output"),
    ],
)
def test_tokens_and_folders_of_this_machine_are_taken_out(private: str, shown: str) -> None:
    assert public({"command": [private]}) == {"command": [shown]}


def test_hostile_text_stays_text_wherever_it_is_shown() -> None:
    text = "a | b\n```\n</script><!-- ![x](y)"
    assert "\n" not in markdown(text)
    assert markdown(text).startswith("a \\| b \\`\\`\\` \\</script\\>")
    block = fenced(text)
    assert block.splitlines()[0] == block.splitlines()[-1] == "````"
    assert "<" not in script_json([text])
    assert json.loads(script_json([text])) == [text]
