"""The live scheduler: informers into columns, plans into API calls."""
