"A small web that draws its photos, with everything that goes wrong on the real one; the truth about each is known."
