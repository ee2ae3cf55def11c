"""How each kind behaves: defaults, preparation, validation. One file per kind or family."""
