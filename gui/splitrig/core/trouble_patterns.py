"""Error lines of llama-server, by the value of their `TroubleKind`.

Sources: src/llama-*.cpp, ggml/src, common/arg.cpp, tools/server/server-context.cpp,
tools/mtmd/mtmd.cpp.
"""

_FILE = r"'(?:.*[/\\])?(?P<subject>[^'/\\]+)'"
PATTERNS: tuple[tuple[str, str, str], ...] = (
    # the groups are the subject or the size; the last word is the unit of the size
    (
        "split: architecture",
        r"SPLIT_MODE_TENSOR not implemented for architecture '(?P<subject>[^']*)'",
        "",
    ),
    ("split: flash attention", r"SPLIT_MODE_TENSOR requires flash_attn", ""),
    # builds of spring 2026; since then any type is taken
    ("split: cache type", r"SPLIT_MODE_TENSOR and KV cache quantization", ""),
    ("split: rows", r"device (?P<subject>\S+) does not support split buffers", ""),
    ("split: gave up", r"ggml-backend-meta\.cpp:\d+: (?P<subject>.+)", ""),
    ("draft refused", rf"failed to load draft model,? {_FILE}", ""),
    (
        "projector unfit",
        r"mismatch between text model \(n_embd = (?P<subject>\d+)\) and mmproj",
        "",
    ),
    ("projector refused", rf"failed to load multimodal model,? {_FILE}", ""),
    (
        "out of memory",
        r"allocating (?P<size>[\d.]+) MiB on device (?P<subject>\d+): \w*alloc\w* failed",
        "MiB",
    ),
    ("out of memory", r"Device memory allocation of size (?P<size>\d+) failed", "B"),
    ("out of memory", r"unable to allocate (?P<subject>\S+) buffer", ""),
    (
        "out of memory",
        r"failed to allocate (?P<subject>\S+) buffer of size (?P<size>\d+)",
        "B",
    ),
    (
        "out of memory",
        r"tensor \(\S+\) in a buffer \((?P<subject>[^)]+)\) that cannot run",
        "",
    ),
    (
        "out of memory",
        r"ErrorOutOfDeviceMemory|(?i:cuda|rocm|hip) error: out of memory",
        "",
    ),
    ("host out of memory", r"std::bad_alloc|[Cc]annot allocate memory", ""),
    ("port taken", r"couldn't bind HTTP server socket.* port: (?P<subject>\d+)", ""),
    ("bad device", r"invalid device: (?P<subject>\S+)", ""),
    ("rpc version", r"RPC server version mismatch: (?P<subject>[\d.]+)", ""),
    ("rpc unreachable", r"Failed to connect to (?P<subject>\S+)", ""),
    ("rpc lost", r"Remote RPC server crashed", ""),
    ("device lost", r"ErrorDeviceLost|CUDA error", ""),
    ("needs flash attention", r"V cache (?:quantization )?requires flash_attn", ""),
    (
        "missing library",
        r"error while loading shared libraries: (?P<subject>[^:]+):",
        "",
    ),
    ("bad argument", r"error: invalid argument: (?P<subject>\S+)", ""),
    (
        "bad argument",
        r"error while handling argument \"(?P<subject>[^\"]+)\"",
        "",
    ),
    ("not gguf", r"failed to read magic|invalid magic", ""),
    ("model missing", r"failed to open GGUF file|failed to open .*\.gguf", ""),
    (
        "unknown architecture",
        r"unknown model architecture: '(?P<subject>[^']*)'",
        "",
    ),
    (
        "model broken",
        r"(?P<subject>tensor '[^']+' data is not within the file bounds)",
        "",
    ),
    (
        "model broken",
        r"gguf_init_from_\w+: (?P<subject>.+)",
        "",
    ),
    ("model refused", r"error loading model: (?P<subject>.+)", ""),
)
SUSPICIOUS = (
    "rror|ail|nvalid|nable|couldn't|alloc|nknown|annot|crashed|mismatch"
    "|not within|gguf_init|requires|backend-meta|SPLIT_MODE"
)
"""Words of which every error line has one; spares the others the long list above."""
