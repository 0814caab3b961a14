"""One process of a training with all three callbacks, started by a test; what it found is printed as its last line.

Alone, or one of several: then RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set, as torchrun sets them.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import torch

from rebase_hf import RowIndex
from rebase_hf.students.callbacks import ActiveSynthesisCallback, CartographyCallback, ProvenanceCallback
from tests.index.hashing_encoder import HashingEncoder
from tests.students.test_epoch_callbacks import Witness
from tests.students.trainers import classification_rows, make_trainer


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--task", "--index", "--url", "--bert", "--output"):
        parser.add_argument(name, required=True)
    parser.add_argument("--resume")
    given = parser.parse_args()
    rows = classification_rows(given.bert)
    index = RowIndex.open(given.index, encoder=HashingEncoder())
    active = ActiveSynthesisCallback(
        json.loads(given.task), index, given.url, development=rows, max_new_rows=8, rows_per_round=4, min_gain=None
    )
    witness, provenance, watched = Witness(rows), ProvenanceCallback(rows), CartographyCallback(rows)
    several = {"ddp_backend": "gloo"} if "RANK" in os.environ else {}
    trainer = make_trainer(
        given.bert,
        Path(given.output),
        [provenance, watched, witness, active],
        rows=rows,
        eval_dataset=rows,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=4,
        per_device_train_batch_size=2,
        **several,
    )
    trainer.train(resume_from_checkpoint=given.resume)
    digest = hashlib.sha256()
    for value in trainer.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    found = {
        "rank": int(os.environ.get("RANK", 0)),
        "world": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        "examples": [example.fields["message"] for example in active.active.examples],
        "rounds": active.active.rounds,
        "gold": watched.dynamics.gold.tolist(),
        "witnessed": [[p for p, _ in epoch] for epoch in witness.gold],
        "provenance": provenance.seen,
        "weights": digest.hexdigest(),
    }
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
