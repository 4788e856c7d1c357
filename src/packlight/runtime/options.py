"""Options of ONNX Runtime, all stated, none left to its defaults."""

from __future__ import annotations

import onnxruntime

from packlight.records.session import SessionOptions

SILENT = 4
"""Log severity ``fatal``: what goes wrong is raised, so nothing needs to be printed as well."""

PROVIDERS = ["CPUExecutionProvider"]
LEVEL = {
    "runtime": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "exact": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def native_options(options: SessionOptions) -> onnxruntime.SessionOptions:
    """What ONNX Runtime is told for recorded options.

    Threads that wait do not spin: a session that has finished would go on using the cores for
    some milliseconds, which slows whatever is measured next to it. One thread never spins.
    """
    native = onnxruntime.SessionOptions()
    native.graph_optimization_level = LEVEL[options.arithmetic]
    native.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    native.intra_op_num_threads = options.threads
    native.inter_op_num_threads = 1
    native.log_severity_level = SILENT
    native.add_session_config_entry("session.intra_op.allow_spinning", "0")
    native.add_session_config_entry("session.inter_op.allow_spinning", "0")
    level = str(options.matmul_accuracy)
    native.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", level)
    return native
