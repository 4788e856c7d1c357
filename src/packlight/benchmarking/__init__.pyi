from .device import measure_device as measure_device
from .latency import kernel_calls as kernel_calls
from .latency import kernel_seconds as kernel_seconds
from .latency import latency_of_calls as latency_of_calls
from .latency import named_kernel_calls as named_kernel_calls
from .latency import predict_latency as predict_latency
