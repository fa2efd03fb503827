"One classifier for all visitors of a server"
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tellapart.machine import cpu_count
from tellapart.use.classifier import Classifier, Prediction

WAITING = 64 # photos in the queue; on two cores the last of them waits for about a second


class Busy(Exception):
    "The queue is full"


class SharedClassifier:
    "Classifies the photos of all requests, each on one core, and refuses more than can wait"
    def __init__(self,
        export:str|Path, # Made by tellapart; raises `ExportError` where it can't be used
        waiting:int=WAITING, # Photos in the queue before further ones are refused
    ):
        self.classify = Classifier(export, threads=1)
        self.waiting,self.unfinished = waiting,0
        self.pool = ThreadPoolExecutor(cpu_count())

    def _classify(self, photo:bytes)->Prediction: return next(self.classify.many([photo], batch=1))

    async def __call__(self,
        photos:list[bytes], # The content of files
    )->list[Prediction]: # A file that is no photo has `label` None and a `reason`
        "What each of `photos` shows. Raises `Busy` where they don't fit into the queue"
        if self.unfinished and self.unfinished + len(photos) > self.waiting: raise Busy
        self.unfinished += len(photos)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.gather(*(loop.run_in_executor(self.pool, self._classify, o) for o in photos))
        finally: self.unfinished -= len(photos)
