"""A BERT-like encoder as an ONNX graph, written from its weights: tokens in, sentence vectors out.

Written by hand because PyTorch's legacy exporter gave wrong vectors for padded rows (0.12 off, with transformers 5).
Dense layers may be int8: weights per output channel, activations per token, sums in int32. Per token, and not per
batch as ONNX's DynamicQuantizeLinear has it, so that a text's vector does not depend on the texts that it stands with;
it is also closer to float32 (lowest cosine of 200 texts .995 against .986) for a quarter more time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OPSET = 17
CONTRIB = "com.microsoft"
MASKED = -1e9

Tensor = np.ndarray[Any, np.dtype[Any]]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shape:
    """What, beside its weights, decides the graph of a model.

    Attributes:
        first_position: Row of the position table that the first token takes: 0 for BERT, 2 for RoBERTa.
        pooling: `mean` or `cls`.
    """

    layers: int
    heads: int
    hidden: int
    epsilon: float
    first_position: int
    pooling: str


def sentence_graph(weights: Weights, shape: Shape, *, int8: bool) -> bytes:
    """Return a model as ONNX: `input_ids` and `attention_mask` (texts, tokens) in, `vectors` of unit length out.

    Raises:
        KeyError: A weight that a BERT has is missing.
    """
    from onnx import TensorProto, helper

    graph = _Graph(weights, shape, int8=int8)
    graph.build()
    texts = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", shape.hidden])
    made = helper.make_graph(graph.nodes, "sentence_encoder", texts, [vectors], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    # IR 9 goes with opset 17 up to 20; a newer one would need a newer runtime.
    content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


class _Graph:
    """The nodes of one model, in the order in which they run."""

    def __init__(self, weights: Weights, shape: Shape, *, int8: bool) -> None:
        self._weights, self._shape, self._int8 = weights, shape, int8
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def build(self) -> None:
        """Add all nodes: embeddings, layers, pooling."""
        shape = self._shape
        self._mask = self._node("Cast", "attention_mask", to=1)
        away = self._node("Mul", self._node("Sub", self._floats(1.0), self._mask), self._floats(MASKED))
        self._away = self._node("Unsqueeze", away, self._integers(1, 2))
        texts = self._node("Shape", "input_ids")
        self._by_head = self._node("Concat", texts, self._integers(shape.heads, shape.hidden // shape.heads), axis=0)
        self._by_text = self._node("Concat", texts, self._integers(shape.hidden), axis=0)
        self._flat = self._integers(-1, shape.hidden)
        tokens = self._embeddings()
        for layer in range(shape.layers):
            tokens = self._layer(tokens, f"encoder.layer.{layer}.")
        self._pool(self._node("Reshape", tokens, self._by_text))

    def _embeddings(self) -> str:
        table = self._weights["embeddings.position_embeddings.weight"][self._shape.first_position :]
        table = table + self._weights["embeddings.token_type_embeddings.weight"][0]
        length = self._node("Gather", self._node("Shape", "input_ids"), self._integers(1), axis=0)
        positions = self._node("Slice", self._floats(table), self._integers(0), length, self._integers(0))
        words = self._node("Gather", self._floats(self._weights["embeddings.word_embeddings.weight"]), "input_ids")
        tokens = self._normalised(self._node("Add", words, positions), "embeddings.LayerNorm")
        return self._node("Reshape", tokens, self._flat)

    def _layer(self, tokens: str, name: str) -> str:
        attended = self._attention(tokens, f"{name}attention.self.")
        mixed = self._biased(attended, f"{name}attention.output.dense")
        tokens = self._normalised(self._node("Add", mixed, tokens), f"{name}attention.output.LayerNorm")
        inner = self._product(tokens, self._weights[f"{name}intermediate.dense.weight"])
        bias = self._floats(self._weights[f"{name}intermediate.dense.bias"])
        wide = self._node("BiasGelu", inner, bias, domain=CONTRIB)
        out = self._biased(wide, f"{name}output.dense")
        return self._normalised(self._node("Add", out, tokens), f"{name}output.LayerNorm")

    def _attention(self, tokens: str, name: str) -> str:
        size = self._shape.hidden
        parts = ("query", "key", "value")
        joint = self._product(tokens, np.concatenate([self._weights[f"{name}{part}.weight"] for part in parts]))
        bias = np.concatenate([self._weights[f"{name}{part}.bias"] for part in parts])
        joint = self._node("Add", joint, self._floats(bias))
        split = self._nodes("Split", joint, self._integers(size, size, size), outputs=3, axis=-1)
        query, key, value = (
            self._node("Transpose", self._node("Reshape", part, self._by_head), perm=perm)
            for part, perm in zip(split, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        scale = self._floats((size // self._shape.heads) ** -0.5)
        scores = self._node("Mul", self._node("MatMul", query, key), scale)
        shares = self._node("Softmax", self._node("Add", scores, self._away), axis=-1)
        heads = self._node("Transpose", self._node("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self._node("Reshape", heads, self._flat)

    def _pool(self, tokens: str) -> None:
        if self._shape.pooling == "cls":
            pooled = self._node("Gather", tokens, self._constant(np.array(0, np.int64)), axis=1)
        else:
            # A product, because ReduceSum adds one text's tokens in another order than those of several texts.
            mask = self._node("Unsqueeze", self._mask, self._integers(1))
            total = self._node("Squeeze", self._node("MatMul", mask, tokens), self._integers(1))
            pooled = self._node("Div", total, self._node("ReduceSum", self._mask, self._integers(1), keepdims=1))
        self._node("LpNormalization", pooled, name="vectors", axis=-1)

    def _biased(self, tokens: str, name: str) -> str:
        product = self._product(tokens, self._weights[f"{name}.weight"])
        return self._node("Add", product, self._floats(self._weights[f"{name}.bias"]))

    def _normalised(self, tokens: str, name: str) -> str:
        gain, bias = (self._floats(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self._node("LayerNormalization", tokens, gain, bias, axis=-1, epsilon=self._shape.epsilon)

    def _product(self, tokens: str, weight: Tensor) -> str:
        """Multiply tokens (all of them, inputs) by a weight (outputs, inputs)."""
        if not self._int8:
            return self._node("MatMul", tokens, self._floats(weight.T))
        scales = np.maximum(np.abs(weight).max(axis=1) / 127, 1e-12).astype(np.float32)
        whole = np.clip(np.round(weight / scales[:, None]), -127, 127).astype(np.int8)
        largest = self._node("ReduceMax", self._node("Abs", tokens), axes=[-1], keepdims=1)
        scale = self._node("Max", self._node("Mul", largest, self._floats(1 / 127)), self._floats(1e-12))
        each = self._node("Squeeze", scale, self._integers(1))
        zero = self._constant(np.array(128, np.uint8))
        zeros = self._node("Expand", zero, self._node("Shape", each))
        product = self._node(
            "MatMulIntegerToFloat",
            self._node("QuantizeLinear", tokens, each, zeros, axis=0),
            self._constant(whole.T),
            self._floats(1.0),
            self._floats(scales),
            zero,
            self._constant(np.zeros(len(scales), np.int8)),
            domain=CONTRIB,
        )
        return self._node("Mul", product, scale)

    def _node(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        return self._nodes(kind, *inputs, outputs=1, name=name, **attributes)[0]

    def _nodes(self, kind: str, *inputs: str, outputs: int, name: str | None = None, **attributes: Any) -> list[str]:
        from onnx import helper

        self._count += 1
        names = [name] if name else [f"t{self._count}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def _constant(self, array: Tensor) -> str:
        from onnx import numpy_helper

        self._count += 1
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"w{self._count}"))
        return f"w{self._count}"

    def _floats(self, value: Tensor | float) -> str:
        # ascontiguousarray makes a number an array of one: it broadcasts like the number
        return self._constant(np.asarray(value, dtype=np.float32))

    def _integers(self, *values: int) -> str:
        return self._constant(np.array(values, dtype=np.int64))
