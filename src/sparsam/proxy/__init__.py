"""Services in nftables and the cluster's DNS."""
