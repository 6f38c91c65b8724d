"""Peak memory of a process."""

import resource
import threading
from pathlib import Path

MIB = 2**20
#: Seconds between two readings of the memory.
INTERVAL = 0.05


class Memory:
    """Peak memory of this process, with and without pages of files."""

    def __init__(self):
        self.anonymous = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()

    @staticmethod
    def now():
        """Bytes that do not belong to a file, now."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
        return 1024 * int(line.split()[1])

    def _watch(self):
        while True:
            self.anonymous = max(self.anonymous, self.now())
            if self._done.wait(INTERVAL):
                return

    def peaks(self):
        """Peaks in MiB: of all memory, and without pages of files.

        Returns
        -------
        dict of str to float
        """
        return {"rss": peak_rss() / MIB, "anonymous": self.anonymous / MIB}


def peak_rss():
    """Largest resident memory of this process so far, in bytes, mapped files included."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
