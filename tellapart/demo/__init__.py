"The demo web: draws photos from a seed and serves them with planted faults and known ground truth"
