"Sort photos into folders by their predicted label, and undo it."
