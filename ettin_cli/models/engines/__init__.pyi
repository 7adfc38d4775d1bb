from .assembling import Ids as Ids, TokenIds as TokenIds
from .backends import Backend as Backend, Library as Library
from .boundaries import LongTexts as LongTexts
from .devices import (
    cpu_has_bf16 as cpu_has_bf16,
    growing_segments as growing_segments,
    is_cpu as is_cpu,
    no_sign_of_gpu as no_sign_of_gpu,
    processor as processor,
)
from .graph import Graph as Graph
from .library_tokens import LibraryTokens as LibraryTokens
from .modernbert import (
    GLOBAL as GLOBAL,
    MODERNBERT as MODERNBERT,
    layer_kinds as layer_kinds,
    local_reach as local_reach,
)
from .onnx_export import WrittenModel as WrittenModel
from .onnx_model import OnnxModel as OnnxModel
from .registry import (
    BACKENDS as BACKENDS,
    check_backend as check_backend,
    installed_backends as installed_backends,
    load_model as load_model,
)
from .settings import (
    AUTO as AUTO,
    DTYPES as DTYPES,
    EngineSettings as EngineSettings,
    cpu_threads as cpu_threads,
    usable_cores as usable_cores,
)
from .static import StaticModel as StaticModel, static_table as static_table
from .tokens import static_part as static_part, token_limit as token_limit
from .torch_devices import (
    chosen_dtype as chosen_dtype,
    device_name as device_name,
    sharing_devices as sharing_devices,
)
from .torch_memory import (
    free_memory as free_memory,
    is_out_of_memory as is_out_of_memory,
)
from .torch_runtime import Placement as Placement, run as run
