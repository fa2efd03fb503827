"The app's server: Voilà, a JSON API, and one classifier for all visitors"
