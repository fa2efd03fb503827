"Sort in processes that get a signal before a given step: a line of JSON says which, and the number of steps that there were comes back"
import json, os, sys
from tellapart.use.sort import sort

STEPS = {'open', 'os.rename', 'os.remove', 'os.link', 'os.mkdir', 'os.utime', 'os.truncate'}


def run(tell, place, stop, number, *args):
    "Sort; before step `stop` at a file within `place`, send the signal with this number to this process"
    steps = 0
    def watch(event, what):
        nonlocal steps
        if event not in STEPS or not str(what[0]).startswith(place): return
        steps += 1
        os.write(tell, b'.')
        if steps == stop: os.kill(os.getpid(), number)
    sys.addaudithook(watch)
    try: sort(*args)
    except KeyboardInterrupt: pass


if __name__ == '__main__':
    for line in sys.stdin: # The next process is forked from here, where everything has been imported
        r,w = os.pipe()
        if not os.fork():
            sys.stdout = sys.stderr = open(os.devnull, 'w')
            run(w, *json.loads(line))
            os._exit(0)
        os.close(w)
        with open(r, 'rb') as told: print(len(told.read()), flush=True)
        os.wait()
