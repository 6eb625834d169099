"""The limits of the engine and its frames, which the daemon and the engine's processes share. Pure."""

import struct

CPU_S = 0.05  # of one page
HEAP_BYTES = 32 << 20  # of one page's scripts
MEMORY_BYTES = 64 << 20  # of one page's process beyond the engine's own: the heap, the tree, texts
STACK_BYTES = 1 << 20  # of one page's scripts
ANSWER_BYTES = 1 << 20

# A request: its number, the length of what follows, a PageRequest in JSON.
REQUEST_HEAD = struct.Struct("<II")
# An answer: the status of the page's process (wait(2)), the length of what follows, the number of the request once the
# process has read it, a PageOutcome in JSON.
ANSWER_HEAD = struct.Struct("<iI")
NUMBER = struct.Struct("<I")
