"""formats/onnx/onnx.proto says what the schema in the `onnx` package says: every number, name, type, label and packing."""

import pathlib
import re
import unittest

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "formats/onnx/onnx.proto"


def parsed(text):
    """The entries of a proto2 file: `Message.field -> (number, label, type, packed, oneof)`, `Enum.NAME -> number`, and
    reserved numbers and names."""
    text = re.sub(r"//[^\n]*", "", text)
    tokens = re.findall(r'"[^"]*"|[\w.]+|-?\d+|[{}\[\]=;,]', text)
    fields, enums, reserved = {}, {}, set()
    scope, position = [], 0
    while position < len(tokens):
        token = tokens[position]
        if token in ("message", "enum", "oneof") and tokens[position + 2] == "{":
            scope.append((token, tokens[position + 1]))
            position += 3
            continue
        if token == "}":
            scope.pop()
            position += 1
            continue
        end = tokens.index(";", position)
        words = tokens[position:end]
        position = end + 1
        path = ".".join(name for kind, name in scope if kind != "oneof")
        if words[0] in ("syntax", "package"):
            continue
        if words[0] == "reserved":
            for part in " ".join(words[1:]).split(" , "):
                if part.startswith('"'):
                    reserved.add((path, part.strip('"')))
                else:
                    first, _, last = part.partition(" to ")
                    reserved.update((path, number) for number in range(int(first), int(last or first) + 1))
        elif scope and scope[-1][0] == "enum":
            enums[f"{path}.{words[0]}"] = int(words[2])
        else:
            oneof = scope[-1][1] if scope[-1][0] == "oneof" else ""
            label = "optional" if oneof else words.pop(0)
            kind, name, _, number, *options = words
            fields[f"{path}.{name}"] = (int(number), label, kind, "packed" in options, oneof)
    return fields, enums, reserved


def official():
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from onnx import onnx_ml_pb2

    file = FileDescriptorProto()
    onnx_ml_pb2.DESCRIPTOR.CopyToProto(file)
    fields, enums, reserved = {}, {}, set()

    def enum(entry, path):
        for value in entry.value:
            enums[f"{path}{entry.name}.{value.name}"] = value.number

    def message(entry, path):
        name = f"{path}{entry.name}"
        for field in entry.field:
            label = FieldDescriptorProto.Label.Name(field.label)[6:].lower()
            kind = field.type_name.split(".")[-1] or FieldDescriptorProto.Type.Name(field.type)[5:].lower()
            oneof = entry.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            fields[f"{name}.{field.name}"] = (field.number, label, kind, field.options.packed, oneof)
        for span in entry.reserved_range:
            reserved.update((name, number) for number in range(span.start, span.end))
        reserved.update((name, word) for word in entry.reserved_name)
        for inner in entry.enum_type:
            enum(inner, f"{name}.")
        for inner in entry.nested_type:
            message(inner, f"{name}.")

    for entry in file.enum_type:
        enum(entry, "")
    for entry in file.message_type:
        message(entry, "")
    return fields, enums, reserved


class SchemaTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.own, cls.theirs = parsed(SCHEMA.read_text()), official()

    def test_fields_are_those_of_the_standard(self):
        self.assertGreater(len(self.own[0]), 100)
        self.assertEqual(self.own[0], self.theirs[0])

    def test_enumerations_are_those_of_the_standard(self):
        self.assertGreater(len(self.own[1]), 50)
        self.assertEqual(self.own[1], self.theirs[1])

    def test_reserved_numbers_and_names_are_those_of_the_standard(self):
        self.assertEqual(self.own[2], self.theirs[2])


if __name__ == "__main__":
    unittest.main()
