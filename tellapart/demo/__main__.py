"A demo web in a process of its own: takes the choices of `DemoWeb` as JSON, says where it is, and stays until its input is closed"
import json, sys
from contextlib import suppress
from tellapart.demo.web import DemoWeb

if __name__ == '__main__':
    with suppress(KeyboardInterrupt), DemoWeb(**json.loads(sys.argv[1])) as web:
        print(web.url, flush=True)
        sys.stdin.read()
