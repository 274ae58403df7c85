"""Lines with which llama-server refuses a split mode, a draft model or a projector.

Sources: src/llama-context.cpp, src/llama-model.cpp, ggml/src/ggml-backend-meta.cpp,
tools/server/server-context.cpp, tools/mtmd/mtmd.cpp. Patterns by the value of their `TroubleKind`.
"""

_FILE = r"'(?:.*[/\\])?(?P<subject>[^'/\\]+)'"
PATTERNS = (
    (
        "split: architecture",
        r"SPLIT_MODE_TENSOR not implemented for architecture '(?P<subject>[^']*)'",
    ),
    ("split: flash attention", r"SPLIT_MODE_TENSOR requires flash_attn"),
    # builds of spring 2026; since then any type is taken
    ("split: cache type", r"SPLIT_MODE_TENSOR and KV cache quantization"),
    ("split: rows", r"device (?P<subject>\S+) does not support split buffers"),
    ("split: gave up", r"ggml-backend-meta\.cpp:\d+: (?P<subject>.+)"),
    ("draft refused", rf"failed to load draft model,? {_FILE}"),
    (
        "projector unfit",
        r"mismatch between text model \(n_embd = (?P<subject>\d+)\) and mmproj",
    ),
    ("projector refused", rf"failed to load multimodal model,? {_FILE}"),
)
SUSPICIOUS = r"|backend-meta|SPLIT_MODE|mismatch"
"""Words of these lines that no other error line has."""
