"""Programs run against a time limit: each in a process group of its own, which is ended cleanly when the time is over."""
import collections
import os
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# status: the exit status, None where the program did not start; cut: the time was over before it ended
Ended = collections.namedtuple("Ended", "command status cut seconds output")


signals = []  # that ask this program to end; then all time is over


def note_signal(number, _):
    signals.append(number)


class Limit:
    """The end of the time, less what a program is given to end cleanly."""

    def __init__(self, seconds):
        self.grace = min(30.0, seconds / 4)
        self.end = time.monotonic() + seconds - self.grace

    def left(self):
        return 0.0 if signals else max(0.0, self.end - time.monotonic())

    def share(self, part):
        """A limit for a part of the time that is left."""
        limit = Limit(0)
        limit.grace, limit.end = self.grace, time.monotonic() + part * self.left()
        return limit


def end_group(process, grace):
    """Interrupts, asks to end, kills; half of the grace after each of the first two."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(grace / 2 if number != signal.SIGKILL else None)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def run(command, log, limit, environment=None):
    """Runs a command in the project's root; its output goes to the file `log`."""
    start = time.monotonic()
    if limit.left() <= 0:
        return Ended(command, None, True, 0.0, "")
    cut = False
    with open(log, "wb") as file:
        try:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       start_new_session=True, env={**os.environ, **(environment or {})})
        except OSError as error:
            return Ended(command, None, False, 0.0, f"{command[0]}: {error.strerror}")
        while not cut:
            try:
                process.wait(min(0.5, limit.left()))
                break
            except subprocess.TimeoutExpired:
                cut = limit.left() <= 0
        if cut:
            end_group(process, limit.grace)
    with open(log, errors="replace") as file:
        output = file.read()
    return Ended(command, process.returncode, cut, time.monotonic() - start, output)


def answer(command, seconds=120):
    """What a program prints, or None where it does not run."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
