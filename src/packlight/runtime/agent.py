"""Run and time ONNX models on this machine for packlight on another one.

Copy this file to the machine to be measured. It needs Python 3.10 or newer, numpy and onnxruntime:

    python agent.py                      # waits at 127.0.0.1:7431, prints a token
    python agent.py --listen 0.0.0.0     # reachable from the network; only where you trust it
    python agent.py --stdio              # one conversation over stdin and stdout, as for ssh

Who knows the token may run models here, and nothing else. The token is never sent, but the rest is
not encrypted: use ssh in a network of strangers. Models lie in a temporary folder that is deleted.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when onnxruntime is imported

import argparse
import contextlib
import hashlib
import hmac
import io
import json
import math
import platform
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

PORT = 7431
TOKEN = "PACKLIGHT_AGENT_TOKEN"  # noqa: S105 - the name of an environment variable
MAX_HEADER = 1 << 20
MAX_PAYLOAD = 256 << 20
MAX_MODEL = 2 << 30
MAX_SESSIONS = 4
MAX_RUNS = 2000
MAX_SECONDS = 60.0
DTYPES = ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
          "uint8", "uint16", "uint32", "uint64")  # fmt: skip
Header = dict[str, Any]
Arrays = dict[str, Any]
Message = tuple[Header, Arrays]


def write_message(stream: Any, header: Header, arrays: Arrays) -> None:
    """Send a header and arrays of numbers."""
    heads = []
    for name, value in arrays.items():
        dtype = str(getattr(value, "dtype", "no array"))
        if dtype not in DTYPES:
            raise ValueError(f"'{name}' is no array of numbers, so it cannot be sent")
        heads.append([name, dtype, list(value.shape)])
    payload = b"".join(np.asarray(value).tobytes() for value in arrays.values())
    text = json.dumps({**header, "arrays": heads, "size": len(payload)}).encode()
    stream.write(len(text).to_bytes(4, "big") + text + payload)
    stream.flush()


def read_message(stream: Any, max_header: int = MAX_HEADER, most: int = MAX_PAYLOAD) -> Message:
    """Receive a header and arrays; EOFError where the conversation ended, else ValueError."""
    length = int.from_bytes(_read(stream, 4), "big")
    if length > max_header:
        raise ValueError(f"a header of {length} bytes; at most {max_header} are taken")
    try:
        header = json.loads(bytes(_read(stream, length)), parse_constant=int)  # no NaN
        size = header["size"]
        heads = list(header["arrays"])
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("a header that is no JSON of a message") from error
    if type(size) is not int or not 0 <= size <= most:
        raise ValueError(f"a size of {str(size)[:20]}; at most {most} bytes are taken")
    payload = _read(stream, size)
    arrays: Arrays = {}
    for head in heads:
        if not isinstance(head, list) or [type(part) for part in head] != [str, str, list]:
            raise ValueError("an array without name, type and shape")
        name, dtype, shape = head
        sizes = [size for size in shape[:32] if type(size) is int and 0 <= size <= most]
        if dtype not in DTYPES or sizes != shape:
            raise ValueError("an array of an unknown type or shape")
        count = math.prod(sizes) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(payload[:count], dtype).reshape(shape)
        payload = payload[count:]
    if payload:
        raise ValueError("arrays that do not fit the bytes that came")
    return header, arrays


def _read(stream: Any, count: int) -> memoryview:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("the conversation ended")
    return memoryview(content)


def proof(token: str, side: str, nonces: list[str]) -> str:
    """Proof that a side knows the token, for these nonces only."""
    return hmac.new(token.encode(), "|".join([side, *nonces]).encode(), "sha256").hexdigest()


class Agent:
    """Models and sessions of this machine, and answers to requests."""

    def __init__(self, folder: Path, max_model: int = MAX_MODEL) -> None:
        self.folder = folder
        self.max_model = max_model
        self.sessions: dict[str, Any] = {}

    def converse(self, stream: Any, replies: Any) -> None:
        """Answer requests until the other side ends the conversation; an error is an answer too."""
        answers: Any = {"facts": facts, "put": self._put, "open": self._open, "time": self._time,
                        "run": self._run, "memory": self._memory}  # fmt: skip
        while True:
            header, arrays = read_message(stream)
            try:
                write_message(replies, *answers[str(header.get("op"))](header, arrays))
            except Exception as error:  # whatever fails is told to whoever asked
                write_message(replies, {"error": str(error)[:400] or repr(error)[:400]}, {})

    def _put(self, header: Header, arrays: Arrays) -> Message:
        """Take a piece of a model; the reply says how many bytes of it are here."""
        path = self._path(header["model"])
        total = int(header["total"])
        if not 0 < total <= self.max_model:
            raise ValueError(f"a model of {total} bytes; this agent takes at most {self.max_model}")
        if path.exists():
            return {"have": total}, {}
        if sum(stored.stat().st_size for stored in self.folder.iterdir()) > self.max_model:
            for stored in self.folder.glob("*.onnx"):
                stored.unlink()
        with path.with_suffix(".part").open("ab") as part:
            have = part.tell()
            if have == header["offset"] and have + len(arrays["piece"]) <= total:
                have += part.write(arrays["piece"])
        if have == total:
            Path(part.name).rename(path)
            if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
                path.unlink()
                raise ValueError("the bytes of the model are not those of its digest")
        return {"have": have}, {}

    def _path(self, digest: object) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", str(digest)):
            raise ValueError("a model is named by its SHA-256 digest")
        return self.folder / f"{digest}.onnx"

    def _run(self, header: Header, arrays: Arrays) -> Message:
        return {}, run_once(self.sessions[header["session"]], arrays)

    def _open(self, header: Header, _: Arrays) -> Message:
        if len(self.sessions) >= MAX_SESSIONS:
            self.sessions.clear()
        key = secrets.token_hex(8)
        self.sessions[key] = start_session(self._path(header["model"]), header)
        return {"session": key}, {}

    def _time(self, header: Header, arrays: Arrays) -> Message:
        """Seconds of repeated runs of a sample, for one of its calls on average."""
        session = self.sessions[header["session"]]
        limit = min(float(header["seconds"]), MAX_SECONDS)
        most = min(int(header["most"]), MAX_RUNS)
        for _ in range(3):  # warm up
            run_steps(session, header, arrays)
        start = time.perf_counter()
        ends = [start]
        while len(ends) <= most and (len(ends) <= header["least"] or ends[-1] - start < limit):
            run_steps(session, header, arrays)
            ends.append(time.perf_counter())
        return {"seconds": (np.diff(ends) / len(header["steps"])).tolist()}, {}

    def _memory(self, header: Header, arrays: Arrays) -> Message:
        """Resident bytes of a fresh process: with a trivial session, and at the model's peak."""
        request = io.BytesIO()
        paths = [str(self._path(header[name])) for name in ("model", "trivial")]
        write_message(request, {**header, "paths": paths}, arrays)
        command = [sys.executable, __file__, "--memory-of-request"]
        text = subprocess.check_output(command, input=request.getvalue(), timeout=300)  # noqa: S603
        return {"bytes": json.loads(text)}, {}


def facts(*_: object) -> Message:
    """This machine, its system and its packages."""
    cpu = Path("/proc/cpuinfo")
    texts = cpu.read_text().strip().split("\n\n") if cpu.exists() else []
    return {
        "name": platform.node(), "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(), "cores": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cpuinfo": "\n".join(texts[:1] + texts[-1:])[:8192],
        "python": platform.python_version(), "onnxruntime": onnxruntime.__version__,
    }, {}  # fmt: skip


def start_session(path: Path, header: Header) -> Any:
    """A session with the options of a request, all of them stated, as packlight states them."""
    if not path.exists():
        raise ValueError("the model is no longer here; send it again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(header["threads"])
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    level = str(int(header["accuracy"]))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", level)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_once(session: Any, feeds: Arrays) -> Arrays:
    """Outputs of one call, in the order of the model."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def run_steps(session: Any, header: Header, arrays: Arrays) -> None:
    """Call a model once for each step of a sample, carrying its state along."""
    carried: Arrays = {}
    for step in header["steps"]:
        outputs = run_once(session, {name: arrays[key] for name, key in step.items()} | carried)
        carried = {into: outputs[output] for output, into in header["state"].items()}


def measure_memory(stream: Any) -> None:
    """Print resident bytes of this process before and at the peak of the request on stdin."""
    header, arrays = read_message(stream)
    model, trivial = map(Path, header["paths"])
    run_once(start_session(trivial, header), {"x": np.zeros(1, np.float32)})
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    status = Path("/proc/self/status")
    before = re.findall(r"VmRSS:\s+(\d+)", status.read_text())
    run_steps(start_session(model, header), header, arrays)
    peak = re.findall(r"VmHWM:\s+(\d+)", status.read_text())
    print(json.dumps([int(before[0]) << 10, int(peak[0]) << 10]))


def greet(token: str, stream: Any) -> None:
    """Let the other side prove that it knows the token, and prove it too."""
    nonce = secrets.token_hex(16)
    write_message(stream, {"nonce": nonce}, {})
    header, _ = read_message(stream, 4096, 0)
    nonces = [nonce, str(header.get("nonce"))]
    if not hmac.compare_digest(str(header.get("proof")), proof(token, "client", nonces)):
        time.sleep(0.5)  # so that guessing is slow
        write_message(stream, {"error": "wrong token"}, {})
        raise ValueError("wrong token")
    write_message(stream, {"proof": proof(token, "agent", nonces)}, {})


def serve(agent: Agent, listener: socket.socket, token: str) -> None:
    """Hold one conversation after another."""
    while True:
        connection, peer = listener.accept()
        connection.settimeout(10)  # seconds, to greet
        try:
            with connection, connection.makefile("rwb") as stream:
                greet(token, stream)
                connection.settimeout(600)  # of silence
                agent.converse(stream, stream)
        except (EOFError, ValueError, OSError) as error:
            print(f"{peer[0]}: {error}", flush=True)
        agent.sessions.clear()


def main() -> None:
    """Serve, as the command line says."""
    parser = argparse.ArgumentParser(description="Run and time ONNX models for packlight.")
    parser.add_argument("--listen", default="127.0.0.1", help="address [default: this machine]")
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free one")
    parser.add_argument("--max-model", type=int, default=MAX_MODEL, help="bytes of a model")
    parser.add_argument("--stdio", action="store_true", help="one conversation, no network")
    parser.add_argument("--memory-of-request", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory_of_request:
        return measure_memory(sys.stdin.buffer)
    with tempfile.TemporaryDirectory(prefix="packlight-agent-") as folder:
        agent = Agent(Path(folder), chosen.max_model)
        if chosen.stdio:
            with os.fdopen(os.dup(1), "wb") as replies, contextlib.suppress(EOFError):
                os.dup2(2, 1)  # what libraries print is no reply
                agent.converse(sys.stdin.buffer, replies)
            return None
        token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
        with socket.create_server((chosen.listen, chosen.port)) as listener:
            print(f"listening at {chosen.listen}:{listener.getsockname()[1]}", flush=True)
            if TOKEN not in os.environ:
                print(f"{TOKEN}={token}", flush=True)
            return serve(agent, listener, token)


if __name__ == "__main__":
    main()
