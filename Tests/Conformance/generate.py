"""Writes ONNX's own backend test cases as files that one process can run.

    python generate.py FOLDER

Every case becomes FOLDER/<name>/model.onnx and, for each set of data, FOLDER/<name>/data_<k>.onnx: a model without nodes
whose initializers are the inputs and the expected outputs, and whose metadata says how they form tensors, sequences,
optional values and maps. FOLDER/cases.json lists the cases with their tolerances and with what onnxruntime makes of them.
"""

import json
import os
import pathlib
import sys
import warnings

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")


class Store:
    """The values of one set of data, as initializers with a description of their structure."""

    def __init__(self):
        self.tensors = []

    def tensor(self, value):
        name = f"t{len(self.tensors)}"
        if isinstance(value, TensorProto):
            stored = TensorProto()
            stored.CopyFrom(value)
        else:
            stored = numpy_helper.from_array(numpy.asarray(value))
        stored.name = name
        self.tensors.append(stored)
        return {"tensor": name}

    def value(self, value, type_proto=None):
        kind = type_proto.WhichOneof("value") if type_proto is not None else None
        if isinstance(value, onnx.SequenceProto):
            return self.sequence(numpy_helper.to_list(value), None)
        if isinstance(value, onnx.OptionalProto):
            return {"optional": self.optional(numpy_helper.to_optional(value), None)}
        if kind == "optional_type":
            return {"optional": self.optional(value, type_proto.optional_type.elem_type)}
        if isinstance(value, (list, tuple)) or kind == "sequence_type":
            return self.sequence(value, type_proto.sequence_type.elem_type if kind == "sequence_type" else None)
        if isinstance(value, dict):
            keys = list(value)
            numbers = list(value.values())
            return {"map": [self.tensor(numpy.array(keys, dtype=object if isinstance(keys[0], str) else numpy.int64)),
                            self.tensor(numpy.array(numbers, dtype=numpy.float32))]}
        return self.tensor(value)

    def optional(self, value, type_proto):
        return None if value is None else self.value(value, type_proto)

    def sequence(self, values, type_proto):
        return {"sequence": [self.value(item, type_proto) for item in values]}


def given_inputs(graph):
    initializers = {item.name for item in graph.initializer}
    return [item for item in graph.input if item.name not in initializers]


def save_data(folder, number, model, inputs, outputs):
    store = Store()
    # Data may be fewer than the declared values (trailing optional ones) but keep their order; old models list their
    # weights as inputs too, for which there is no data.
    ports = given_inputs(model.graph) if len(inputs) <= len(given_inputs(model.graph)) else model.graph.input
    layout = {
        "inputs": {port.name: store.value(value, port.type) for port, value in zip(ports, inputs)},
        "outputs": {port.name: store.value(value, port.type) for port, value in zip(model.graph.output, outputs)},
    }
    graph = helper.make_graph([], "data", [], [], initializer=store.tensors)
    holder = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    helper.set_model_props(holder, {"layout": json.dumps(layout)})
    onnx.save(holder, folder / f"data_{number}.onnx")


def load_value(path, type_proto):
    kind = type_proto.WhichOneof("value")
    record = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(kind, onnx.TensorProto)()
    record.ParseFromString(path.read_bytes())
    return record


def stored_data(case, model):
    """The sets of data of a case whose files the package ships."""
    for folder in sorted(pathlib.Path(case.model_dir).glob("test_data_set*")):
        def values(stem, ports):
            found = sorted(folder.glob(f"{stem}_*.pb"), key=lambda path: int(path.stem.split("_")[-1]))
            return [load_value(path, port.type) for path, port in zip(found, ports)]
        yield values("input", model.graph.input), values("output", model.graph.output)


def light_data(source, model):
    """The data that onnx's runner makes for a light model: a ramp, and the output that is shipped or the reference's."""
    inputs = []
    for port in given_inputs(model.graph):
        shape = tuple(d.dim_value if d.HasField("dim_value") else 1 for d in port.type.tensor_type.shape.dim)
        count = int(numpy.prod(shape))
        inputs.append((numpy.arange(count).reshape(shape) / count).astype(numpy.float32))
    stem = source.with_suffix("")
    shipped = [pathlib.Path(f"{stem}_output_{i}.pb") for i in range(len(model.graph.output))]
    if all(path.exists() for path in shipped):
        outputs = [load_value(path, port.type) for path, port in zip(shipped, model.graph.output)]
    else:
        from onnx.reference import ReferenceEvaluator
        feeds = {port.name: value for port, value in zip(given_inputs(model.graph), inputs)}
        outputs = ReferenceEvaluator(model).run(None, feeds)
    return inputs, outputs


def plain(value):
    """A value as onnxruntime takes and gives it."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return [numpy.asarray(item) for item in numpy_helper.to_list(value)]
    if isinstance(value, onnx.OptionalProto):
        return plain(numpy_helper.to_optional(value))
    return value


def similar(found, wanted, rtol, atol):
    if isinstance(wanted, dict):
        return isinstance(found, dict) and list(found) == list(wanted) and similar(
            list(found.values()), list(wanted.values()), rtol, atol)
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(similar(a, b, rtol, atol) for a, b in zip(found, wanted))
    if wanted is None:
        return found is None
    found, wanted = numpy.asarray(found), numpy.asarray(wanted)
    if found.shape != wanted.shape:
        return False
    if wanted.dtype.kind in "OUST":
        return bool((found.astype(object) == wanted.astype(object)).all())
    if wanted.dtype.kind not in "biufc":
        rtol = max(rtol, 2**-6)
        found, wanted = found.astype(numpy.float32), wanted.astype(numpy.float32)
    if found.dtype != wanted.dtype:
        return False
    return bool(numpy.allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True))


def onnxruntime_verdict(model, sets, rtol, atol):
    """pass, wrong or refused; onnxruntime may end the process, so each case runs in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        verdict = b"refused"
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            verdict = b"pass"
            for inputs, outputs in sets:
                feeds = {port.name: plain(value) for port, value in zip(given_inputs(model.graph), inputs)}
                found = session.run(None, feeds)
                if not similar(found, [plain(value) for value in outputs], rtol, atol):
                    verdict = b"wrong"
        except BaseException:
            verdict = b"refused"
        os.write(writer, verdict)
        os._exit(0)
    os.close(writer)
    verdict = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(child, 0)
    return verdict or "crash"


def operator_of(case, model):
    """The operator that a node case is about: the case's own, before a function was expanded."""
    ops = [node.op_type for node in model.graph.node]
    return ops[0] if len(ops) == 1 else None


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    import onnxruntime  # before the forks, so that each need not load it
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    cases = [("node", case) for case in collect_testcases()]
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        cases += [(kind, case) for case in load_model_tests(kind=kind)]
    from onnx.backend.test.case.model import collect_testcases as collect_model_testcases
    for case in collect_model_testcases():
        cases.append(("light" if "light" in (case.url or "") else "simple", case))
    package = pathlib.Path(onnx.__file__).parent

    listing, seen = [], set()
    for kind, case in cases:
        if case.name in seen:
            continue
        seen.add(case.name)
        try:
            if kind == "light":
                source = package / "backend/test/data/light" / pathlib.Path(case.url).name
                model = onnx.load(source)
                sets = [light_data(source, model)]
            elif case.model is not None:
                model = case.model
                sets = [(list(inputs), list(outputs)) for inputs, outputs in case.data_sets]
            else:
                model = onnx.load(pathlib.Path(case.model_dir) / "model.onnx")
                sets = list(stored_data(case, model))
        except FileNotFoundError:
            continue
        folder = target / case.name
        folder.mkdir(exist_ok=True)
        onnx.save(model, folder / "model.onnx")
        for number, (inputs, outputs) in enumerate(sets):
            save_data(folder, number, model, inputs, outputs)
        listing.append({
            "name": case.name, "kind": kind, "operator": operator_of(case, model), "sets": len(sets),
            "rtol": case.rtol, "atol": case.atol,
            "onnxruntime": onnxruntime_verdict(model, sets, case.rtol, case.atol),
        })
    (target / "cases.json").write_text(json.dumps(
        {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "cases": listing}, indent=1))
    print(f"{len(listing)} cases in {target}")


if __name__ == "__main__":
    main()
