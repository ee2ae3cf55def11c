"""The service proxy of a node: Services as nftables rules, and the cluster's DNS."""
