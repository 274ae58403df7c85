"""Starts `llama_cpp.server` with devices that are named; runs in the Python that has it.

The server's own `rpc_servers` setting does nothing, so the devices of RPC servers are registered
here, before anything loads a model, in the way llama.cpp's own programs do (`add_rpc_devices` in
common/arg.cpp). Nor has it a setting for which devices a model takes and in which order. This file
imports nothing of SplitRig: that Python need not have it.

    python llama_cpp_launcher.py [--rpc HOST:PORT,…] [--devices NAME,…] [OPTIONS]
    python llama_cpp_launcher.py [--rpc HOST:PORT,…] --list-devices
    python llama_cpp_launcher.py --identify MODEL
    python llama_cpp_launcher.py --lend HOST:PORT COUNT

OPTIONS are those of llama_cpp.server.
"""

import ctypes
import os
import runpy
import sys
from pathlib import Path


def load_libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """The very libraries of the bindings: the registry of backends, and their base.

    Loaded again by their paths, because Windows finds nothing of them through libllama.
    """
    import llama_cpp

    own = Path(llama_cpp.__file__).parent / "lib"
    folder = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or own)
    pattern = {"win32": "{}.dll", "darwin": "lib{}.dylib"}.get(sys.platform, "lib{}.so")
    registry, base = (ctypes.CDLL(str(folder / pattern.format(n))) for n in ("ggml", "ggml-base"))
    for library, names in (
        (registry, ("ggml_backend_reg_by_name", "ggml_backend_dev_get")),
        (base, ("ggml_backend_reg_get_proc_address",)),
    ):
        for name in names:
            getattr(library, name).restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_register.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_get_proc_address.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("ggml_backend_dev_name", "ggml_backend_dev_description"):
        getattr(base, name).argtypes = [ctypes.c_void_p]
        getattr(base, name).restype = ctypes.c_char_p
    size = ctypes.POINTER(ctypes.c_size_t)
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    base.ggml_backend_dev_memory.restype = None
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    return registry, base


def rpc_function(name: bytes) -> int:
    """Address of a function of the RPC backend; ends the process where there is none."""
    registry, base = load_libraries()
    backend = registry.ggml_backend_reg_by_name(b"RPC")
    if backend is None:
        sys.exit("llama_cpp was built without RPC (CMAKE_ARGS=-DGGML_RPC=ON builds it in)")
    address = base.ggml_backend_reg_get_proc_address(backend, name)
    if address is None:
        sys.exit(f"This build of llama_cpp has no {name.decode()}")
    return int(address)


def add_rpc_devices(endpoints: list[str]) -> None:
    """Register the devices of these RPC servers, in this order, as RPC0, RPC1, ….

    A server that does not answer ends the process with signal 6, as it ends llama-server.
    """
    registry, _ = load_libraries()
    address = rpc_function(b"ggml_backend_rpc_add_server")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)
    for endpoint in endpoints:
        added = add_server(endpoint.encode())
        if added is None:
            sys.exit(f"The RPC server at {endpoint} lends no device")
        registry.ggml_backend_register(added)


def take_devices(names: list[str]) -> None:
    """Let every model that is loaded take these devices, in this order, as `-dev` does.

    Otherwise llama.cpp takes those of RPC servers, then each kind of card in an order of its own,
    and none that is part of the processor beside others (`llama_prepare_model_devices` in
    src/llama.cpp), so that the shares of a split would go to other cards than they were meant for.
    """
    import llama_cpp.llama_cpp as bindings

    registry, base = load_libraries()
    listed = [registry.ggml_backend_dev_get(n) for n in range(registry.ggml_backend_dev_count())]
    by_name = {base.ggml_backend_dev_name(device).decode(): device for device in listed}
    for name in names:
        if name not in by_name:
            sys.exit(f"error: invalid device: {name}")
    if "devices" not in {field[0] for field in bindings.llama_model_params._fields_}:
        sys.exit("This llama-cpp-python is too old to be told which devices to take")
    chosen = (ctypes.c_void_p * (len(names) + 1))(*[by_name[name] for name in names])
    defaults = bindings.llama_model_default_params

    def with_devices() -> ctypes.Structure:
        parameters: ctypes.Structure = defaults()
        parameters.devices = ctypes.addressof(chosen)  # ends with a null pointer
        return parameters

    bindings.llama_model_default_params = with_devices


def list_devices() -> None:
    """Print what `llama-server --list-devices` prints, processors left out as it does."""
    registry, base = load_libraries()
    print("Available devices:")
    for index in range(registry.ggml_backend_dev_count()):
        device = registry.ggml_backend_dev_get(index)
        if base.ggml_backend_dev_type(device) == 0:  # GGML_BACKEND_DEVICE_TYPE_CPU
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = base.ggml_backend_dev_name(device).decode()
        description = base.ggml_backend_dev_description(device).decode()
        mib = f"{total.value >> 20} MiB, {free.value >> 20} MiB free"
        print(f"  {name}: {description} ({mib})")


def identify_devices(model: str) -> None:
    """Let llama.cpp name the devices it takes for a model, with their addresses, in its log.

    Only the vocabulary is read; no weight is.
    """
    import llama_cpp

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    llama_cpp.llama_model_load_from_file(model.encode(), parameters)


def lend(endpoint: str, count: int) -> None:
    """Lend the processor as so many devices, until the process is ended."""
    registry, _ = load_libraries()
    address = rpc_function(b"ggml_backend_rpc_start_server")
    registry.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    processor = registry.ggml_backend_dev_by_type(0)  # GGML_BACKEND_DEVICE_TYPE_CPU
    start = ctypes.CFUNCTYPE(
        None,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
    )(address)
    devices = (ctypes.c_void_p * count)(*[processor] * count)
    start(endpoint.encode(), None, 1, count, devices)


def main(arguments: list[str]) -> None:
    """Take what is ours from the arguments; the rest is the server's."""
    if arguments[:1] == ["--rpc"]:
        add_rpc_devices(arguments[1].split(","))
        arguments = arguments[2:]
    if arguments[:1] == ["--devices"]:
        take_devices(arguments[1].split(","))
        arguments = arguments[2:]
    if arguments[:1] == ["--identify"]:
        identify_devices(arguments[1])
        return
    if arguments[:1] == ["--lend"]:
        lend(arguments[1], int(arguments[2]))
        return
    if arguments == ["--list-devices"]:
        list_devices()
        return
    sys.argv[1:] = arguments
    runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # A script's own folder comes first, and in this one `llama_cpp` is another module.
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]
    main(sys.argv[1:])
