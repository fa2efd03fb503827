"""Sort in processes that get a signal before or after a given step.

Reads a line of JSON for each: the arguments of `run` after the first. Writes the number of steps that the process took"""
import io, json, os, sys
from contextlib import suppress
from tellapart.use.sort.sort import sort

STEPS = {'open', 'rename', 'unlink', 'link', 'symlink', 'mkdir', 'utime', 'sendfile', 'truncate', 'write'}


def run(pipe, stop, signal, *args):
    "Sort, and send `signal` to this process at step `stop`: there is a step before and after each call that changes a file"
    steps = 0
    def watch(frame, event, call):
        nonlocal steps
        if event not in ('c_call', 'c_return') or call.__name__ not in STEPS:
            return
        if call.__name__ == 'open' and call is not os.open:
            return
        if call.__name__ in ('write', 'truncate') and not isinstance(call.__self__, io.FileIO):
            return # another stream
        steps += 1
        os.write(pipe, b'.')
        if steps == stop: os.kill(os.getpid(), signal)
    sys.setprofile(watch)
    with suppress(KeyboardInterrupt): sort(*args)
    sys.setprofile(None)


if __name__ == '__main__':
    for line in sys.stdin: # fork here, where everything is imported already
        r,w = os.pipe()
        if not os.fork():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            run(w, *json.loads(line))
            os._exit(0)
        os.close(w)
        with open(r, 'rb') as f: print(len(f.read()), flush=True)
        os.wait()
