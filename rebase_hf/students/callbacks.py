"""Callbacks for your own Trainer: one line each, and the training itself stays as it was.

    Trainer(..., callbacks=[ProvenanceCallback(train), CartographyCallback(train)])

They work in transformers' Trainer and Seq2SeqTrainer, and in SetFit's Trainer. What they are given are rows prepared
as the training rows are, with the columns beside them that the Trainer drops for itself (`provenance`). They look at
these rows once an epoch, in evaluation mode and without gradients; weights, optimizer and random numbers are as
without them.
"""

from rebase_hf.students.active_callback import ActiveSynthesisCallback
from rebase_hf.students.cartography_callback import CartographyCallback
from rebase_hf.students.provenance_callback import ProvenanceCallback

__all__ = ["ActiveSynthesisCallback", "CartographyCallback", "ProvenanceCallback"]
