"""Everything that owns a thread, a process, a file or a connection; no Qt."""
