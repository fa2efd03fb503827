"Gather photos: search, fetch, count the results"
