"""Power meters and sensors: the only code that touches RAPL, hwmon, Redfish, IPMI, Prometheus and GPU cards."""
