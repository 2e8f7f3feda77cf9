"""The ONNX graph of all-MiniLM-L6-v2's layers, written out by hand: the same bytes every time.

Input vectors (word + place + type) go in, before their normalisation; the mean of the last states
comes out.  Texts of one call have one length, so there is no mask.  Attention, normalisation and
activation are the fused operators of ONNX Runtime (domain com.microsoft); what is left are four
products a layer, which quantisation then makes 8-bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

LAYERS, HEADS = 6, 12
EPSILON = 1e-12
FUSED = "com.microsoft"
OPSET, IR_VERSION = 18, 9

Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Nodes and constants in the order they are added; every node is named after its result."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(
        self, kind: str, inputs: list[str], result: str, fused: bool = False, **more: object
    ) -> str:
        domain = FUSED if fused else ""
        self.nodes.append(helper.make_node(kind, inputs, [result], result, None, domain, **more))
        return result

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str) -> str:
        """A weight as it is."""
        return self.constant(name, self.weights[name])

    def turned(self, name: str) -> str:
        """A weight matrix as a product from the left needs it."""
        return self.constant(name, self.weights[name].T)

    def normal(self, states: str, name: str, result: str) -> str:
        inputs = [states, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.add("LayerNormalization", inputs, result, epsilon=EPSILON, axis=-1)

    def joined(self, product: str, states: str, dense: str, name: str, result: str) -> str:
        """Normalised product + bias + states."""
        inputs = [product, states, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        inputs.append(self.weight(f"{dense}.bias"))
        return self.add("SkipLayerNormalization", inputs, result, True, epsilon=EPSILON)

    def attention(self, states: str, name: str, result: str) -> str:
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self.weights[f"{part}.weight"].T for part in parts], 1)
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        inputs = [states, self.constant(f"{name}.weight", matrix)]
        inputs.append(self.constant(f"{name}.bias", bias))
        return self.add("Attention", inputs, result, True, num_heads=HEADS)

    def layer(self, states: str, number: int) -> str:
        name, own = f"encoder.layer.{number}", f"layer{number}"
        heads = self.attention(states, f"{name}.attention.self", f"{own}.heads")
        dense = f"{name}.attention.output.dense"
        product = self.add("MatMul", [heads, self.turned(f"{dense}.weight")], f"{own}.mixed")
        middle = self.joined(
            product, states, dense, f"{name}.attention.output.LayerNorm", f"{own}.middle"
        )
        dense = f"{name}.intermediate.dense"
        product = self.add("MatMul", [middle, self.turned(f"{dense}.weight")], f"{own}.wide")
        bias = self.weight(f"{dense}.bias")
        active = self.add("BiasGelu", [product, bias], f"{own}.active", True)
        dense = f"{name}.output.dense"
        product = self.add("MatMul", [active, self.turned(f"{dense}.weight")], f"{own}.narrow")
        return self.joined(product, middle, dense, f"{name}.output.LayerNorm", f"{own}.states")


def layers(weights: Weights) -> ModelProto:
    """The float32 model: inputs: f32[texts, tokens, 384] to mean: f32[texts, 384]."""
    graph = _Graph(weights)
    states = graph.normal("inputs", "embeddings.LayerNorm", "embedded")
    for number in range(LAYERS):
        states = graph.layer(states, number)
    axes = graph.constant("tokens", np.array([1], np.int64))
    graph.add("ReduceMean", [states, axes], "mean", keepdims=0)
    made = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["texts", "length", 384])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["texts", 384])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
