"""What is private is taken out of values before cards are made of them, whatever stands before it there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard

from tests.doubles.hub_server import HubServer
from tests.publish.test_hub import TRY

OnHub = Callable[..., Any]
TOLD = "Mine:\nhf_abcdefghijklmnopqrstuv12\n+49 30 901820\nann.berg@mail.net"
PRIVATE = (b"hf_abcdef", b"901820", b"ann.berg", b"4eC39")
PUSH = f"{TRY}\n    from rebase_hf.publish.hub import push_run\n    result = outcome(lambda: list(push_run("


def published(hub: HubServer, name: str) -> bytes:
    """Return all text files that lie under a name, of the dataset and of the student."""
    held = [hub.repos[kind, name].files for kind in ("dataset", "model")]
    return b"".join(held for files in held for path, held in files.items() if path.endswith((".md", ".json", ".yaml")))


def test_a_line_break_before_a_key_does_not_hide_it_on_a_card(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    path = run / "data" / "train.parquet"
    table = pq.read_table(path)
    texts = [TOLD, *table.column("message").to_pylist()[1:]]
    pq.write_table(table.set_column(0, table.schema.field("message"), pa.array(texts)), path)
    on_hub(f"{PUSH}sys.argv[1], 'org/triage', redact=True)))", run)
    told = published(hub, "org/triage")
    assert b"[key]" in told
    assert not [private for private in PRIVATE if private in told]


def test_what_stands_in_a_retrieved_row_alone_stops_a_push(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    path = run / "rows.jsonl"
    path.write_text(
        path.read_text().replace("Please answer soon.", "token_hf_abcdefghijklmnopqrstuv12\\n+49 30 901820")
    )
    refused = on_hub(f"{PUSH}sys.argv[1], 'org/triage')))", run)
    assert "of kind `key` (README.md" in refused and "of kind `phone`" in refused
    assert ("dataset", "org/triage") not in hub.repos


@pytest.mark.parametrize("redact", [False, True])
def test_a_tasks_words_are_looked_through_and_its_card_stays_whole(
    hub: HubServer, on_hub: OnHub, run: Path, redact: bool
) -> None:
    path = run / "task.yaml"
    said = path.read_text().replace("I was charged twice in May.", "ann.berg@mail.net was charged twice")
    asked = "Decide which team should handle a customer's message."
    assert asked in said
    path.write_text(said.replace(asked, f"{asked} The key is sk_live_4eC39HqLyjWDarjtT1."))
    result = on_hub(f"{PUSH}sys.argv[1], 'org/triage', redact={redact})))", run)
    if not redact:
        assert "of kind `key`" in result and ("model", "org/triage") not in hub.repos
        return
    told = published(hub, "org/triage")
    assert not [private for private in PRIVATE if private in told]
    card = ModelCard(hub.repos["model", "org/triage"].files["README.md"].decode(), ignore_metadata_errors=False)
    assert card.data.widget[0]["text"] == "[email] was charged twice"
