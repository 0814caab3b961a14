import json

import pytest

from rebase_hf.public_text import fenced, markdown, public, public_name, script_json


@pytest.mark.parametrize(
    ("private", "shown"),
    [
        ("--index /home/me/deep/index --teacher few-shot", "--index index --teacher few-shot"),
        ("~/runs/demo/x", "x"),
        ("http://127.0.0.1:8080/v1/models", "http://127.0.0.1:8080/v1/models"),
        ("https://me:secret@api.host.net/v1", "https://api.host.net/v1"),
        ("token hf_abcdefghijklmnop", "token ***"),
        ("org/name and runs/demo and input/output", "org/name and runs/demo and input/output"),
        ("local:/home/me/models/tiny", "local:tiny"),
        ("/home/me/my own files/eval.jsonl is gone", "eval.jsonl is gone"),
        ("file:///home/me/eval.jsonl", "eval.jsonl"),
        (r"C:\Users\me\Meine Dateien\eval.jsonl", "eval.jsonl"),
        ("http://10.2.0.7:8080/v1 and 192.168.1.20:80", "http://private-host:8080/v1 and private-host:80"),
        ("http://gpu-box:8080/v1", "http://private-host:8080/v1"),
        ("https://llm.lab.internal/v1", "https://private-host/v1"),
        ("https://[fd00::1]:80/v1", "https://private-host:80/v1"),
        ("http://localhost:8080, http://[::1]:80/", "http://localhost:8080, http://[::1]:80/"),
        ("https://huggingface.co/datasets/org/name.", "https://huggingface.co/datasets/org/name."),
        ("version 10.2.1 of 3/4", "version 10.2.1 of 3/4"),
    ],
)
def test_tokens_and_folders_of_this_machine_are_taken_out(private: str, shown: str) -> None:
    assert public({"command": [private]}) == {"command": [shown]}


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("x run '/home/me/my tasks/task.yaml' --output runs/demo", "x run task.yaml --output runs/demo"),
        ("rebase-hf run t.yaml --teacher local:/home/me/llm", "rebase-hf run t.yaml --teacher local:llm"),
        ("x --index=/home/me/index --teacher http://gpu7:80", "x --index=index --teacher http://private-host:80"),
        ("x --index ../../me/index ~ann/x.yaml /data", "x --index index x.yaml data"),
        ("x --option evaluation=/home/me/e.jsonl", "x --option evaluation=e.jsonl"),
        ("x --teacher org/model --source org/name:en:train", "x --teacher org/model --source org/name:en:train"),
        ("x 'an open /home/me/quote", "x 'an open quote"),
    ],
)
def test_a_command_names_no_folder_and_no_host_of_this_house(typed: str, shown: str) -> None:
    assert public({"command": typed}) == {"command": shown}


def test_names_of_local_models_are_their_last_part() -> None:
    names = ["org/model", "/home/a b/minilm", "local:/models/llm", "~/llm", "./llm", r"C:\models\llm", "few-shot (3)"]
    assert [public_name(n) for n in names] == ["org/model", "minilm", "local:llm", "llm", "llm", "llm", "few-shot (3)"]


def test_hostile_text_stays_text_wherever_it_is_shown() -> None:
    text = "a | b\n```\n</script><!-- ![x](y)"
    assert "\n" not in markdown(text)
    assert markdown(text).startswith("a \\| b \\`\\`\\` \\</script\\>")
    block = fenced(text)
    assert block.splitlines()[0] == block.splitlines()[-1] == "````"
    assert "<" not in script_json([text])
    assert json.loads(script_json([text])) == [text]
