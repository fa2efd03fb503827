"One classifier for all visitors of a server"
import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from PIL import Image
from tellapart.machine import cpu_count
from tellapart.use.app import classify_upload
from tellapart.use.classifier import Classifier, Prediction

WAITING = 64 # photos in the queue; at 37 a second, as a resnet18 takes them on two cores, the last waits for 1.7 s


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
        list(self.pool.map(self.classify, [Image.new('RGB', (256, 256))]*cpu_count())) # the first run takes longer, and memory that is kept

    async def predictions(self,
        photos:list[bytes], # The content of files
    )->list[Prediction]: # Without a label, and with a reason, for a file that is no photo
        "What each of `photos` shows. Raises `Busy`"
        return await self._run(partial(classify_upload, self.classify), photos)

    async def explanation(self,
        photo:bytes, # The content of a file
    )->Image.Image: # Raises what `Classifier.explain` does, and `Busy`
        "What the prediction for `photo` rests on"
        return (await self._run(self.classify.explain, [photo]))[0]

    async def _run(self, f:Callable[[bytes], Any], photos:list[bytes])->list:
        "`f` of each of `photos`. Raises `Busy` where they don't fit into the queue"
        if self.unfinished and self.unfinished + len(photos) > self.waiting: raise Busy
        self.unfinished += len(photos)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.gather(*(loop.run_in_executor(self.pool, f, o) for o in photos))
        finally: self.unfinished -= len(photos)
