from .device import measure_device as measure_device
from .kernel_curves import seconds as seconds
from .kernel_walk import calls as calls
from .kernel_walk import named_calls as named_calls
from .latency import predict_latency as predict_latency
from .latency import total as total
