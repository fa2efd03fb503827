"Gather photos: search, fetch, count what came of it."
