"Run a demo web: takes the arguments of `DemoWeb` as JSON, prints the URL of its search, and stops when its input is closed"
import json, sys
from contextlib import suppress
from tellapart.demo.web import DemoWeb

if __name__ == '__main__':
    with suppress(KeyboardInterrupt), DemoWeb(**json.loads(sys.argv[1])) as web:
        print(web.url, flush=True)
        sys.stdin.read()
