"Install and run the project itself: environments, and the notebooks of the course."
