"""The aggregation layer: groups of the API that other servers answer for, by APIServices that name them."""
