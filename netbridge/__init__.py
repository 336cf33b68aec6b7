"""One localhost: port forwarding both ways, DNS, hosts, proxies."""
