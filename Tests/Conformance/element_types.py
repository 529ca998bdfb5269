"""Writes a case for each pair of operator and element type that ONNX's schemas allow.

    python element_types.py CASES FOLDER

CASES is what generate.py wrote. For each operator its first node case is repeated with each type that a type variable of the
newest schema of its opset may stand for; expected outputs are the reference evaluator's, or nothing where it has no answer, so
that a pass then only says that the model runs. run.py runs the folder like any other.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
from generate import save_data
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

warnings.filterwarnings("ignore")


def first_cases(source):
    """The first case of one node for each operator."""
    found = {}
    for case in json.loads((source / "cases.json").read_text())["cases"]:
        if case["kind"] == "node" and case["operator"] and case["sets"] == 1:
            found.setdefault(case["operator"], case)
    return found


def element_type(text):
    return getattr(TensorProto, text.removeprefix("tensor(").removesuffix(")").upper()) if text.startswith("tensor(") else None


def variables(schema, node):
    """For each type variable with tensors: the positions of inputs and outputs that have it."""
    result = {}
    for ports, names, key in ((schema.inputs, node.input, "inputs"), (schema.outputs, node.output, "outputs")):
        for position, name in enumerate(names):
            port = ports[min(position, len(ports) - 1)]
            if name:
                result.setdefault(port.type_str, {"inputs": [], "outputs": []})[key].append(position)
    return result


def converted(array, dtype):
    if np.dtype(dtype).kind in "iu" or "int" in np.dtype(dtype).name:
        array = np.clip(np.nan_to_num(np.real(array).astype(np.float64)), 0, 3).round()
    return np.asarray(array).astype(dtype)


def variant(model, data, variable, kind):
    """The model and its inputs with a type variable bound to another type."""
    node = model.graph.node[0]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    inputs = {node.input[i] for i in variable["inputs"]}
    outputs = {node.output[i] for i in variable["outputs"]}
    for port in list(changed.graph.input) + list(changed.graph.output):
        if port.name in inputs | outputs:
            port.type.tensor_type.elem_type = kind
    for item in changed.graph.initializer:
        if item.name in inputs:
            item.CopyFrom(numpy_helper.from_array(converted(numpy_helper.to_array(item), dtype), item.name))
    given = [converted(a, dtype) if p.name in inputs else a for p, a in zip(model.graph.input, data)]
    if node.op_type == "Cast":
        return None, None
    return changed, given


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    listing = []
    for operator, case in sorted(first_cases(source).items()):
        model = onnx.load(source / case["name"] / "model.onnx")
        stored = onnx.load(source / case["name"] / "data_0.onnx")
        tensors = {item.name: item for item in stored.graph.initializer}
        layout = json.loads({p.key: p.value for p in stored.metadata_props}["layout"])["inputs"]
        if len(model.graph.node) != 1 or not all("tensor" in layout[p.name] for p in model.graph.input):
            continue
        data = [numpy_helper.to_array(tensors[layout[p.name]["tensor"]]) for p in model.graph.input]
        node = model.graph.node[0]
        opset = next(o.version for o in model.opset_import if o.domain == node.domain)
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        constraints = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        for name, variable in variables(schema, node).items():
            if not variable["inputs"]:
                continue
            for text in constraints.get(name, []):
                kind = element_type(text)
                if kind is None or kind == TensorProto.STRING:
                    continue
                label = f"{operator}_{name}_{text[7:-1]}"
                try:
                    changed, given = variant(model, data, variable, kind)
                except Exception:
                    continue
                if changed is None:
                    continue
                try:
                    outputs = ReferenceEvaluator(changed).run(None, {p.name: a for p, a in zip(changed.graph.input, given)})
                    kinds = [p.type.tensor_type.elem_type for p in changed.graph.output]
                    known = all(
                        isinstance(o, np.ndarray) and helper.np_dtype_to_tensor_dtype(o.dtype) == k
                        for o, k in zip(outputs, kinds))
                except Exception:
                    known = False
                if not known:
                    outputs = []
                folder = target / label
                folder.mkdir(exist_ok=True)
                onnx.save(changed, folder / "model.onnx")
                save_data(folder, 0, changed, given, outputs)
                listing.append({
                    "name": label, "kind": "node", "operator": operator, "sets": 1, "rtol": case["rtol"],
                    "atol": case["atol"], "onnxruntime": "pass" if known else "refused"})
    (target / "cases.json").write_text(json.dumps({"onnx": onnx.__version__, "onnxruntime": "none", "cases": listing}, indent=1))
    print(f"{len(listing)} cases in {target}; {sum(c['onnxruntime'] == 'pass' for c in listing)} with expected values")


if __name__ == "__main__":
    main()
