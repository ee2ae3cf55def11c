"""The digital twin's inputs: traces of pod arrivals and fleets of modelled servers, as values."""
