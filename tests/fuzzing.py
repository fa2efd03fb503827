"Property-based tests: a few examples in the test suite, or as many as fit into FUZZ_MINUTES if that is set"
import functools, os, time
from hypothesis import HealthCheck, Phase, settings

MINUTES = float(os.environ.get('FUZZ_MINUTES', 0))
settings.register_profile('few', max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
                          phases=[Phase.explicit, Phase.generate])
settings.register_profile('many', max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile('many' if MINUTES else 'few')


def fuzz(test):
    "Repeat a test made by hypothesis' `given` for FUZZ_MINUTES with new examples; if that isn't set, run it once, with the same few"
    @functools.wraps(test, assigned=('__name__', '__doc__', '__module__'))
    def repeated():
        until = time.monotonic() + 60*MINUTES
        while True:
            test()
            if time.monotonic() >= until:
                return
    del repeated.__wrapped__ # pytest would look there for fixtures
    return repeated
