"""The digital twin: the shipped scheduling core on modelled servers, in virtual time."""
