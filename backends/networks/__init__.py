"""The network driver of one host: bridges, firewall, addresses and DHCP of one cloud, told apart by its tag.

`driver.Networks` is the way in, `spec` what it is told, `addresses` what others may use too. What to know:

- NAT needs IPv4 forwarding, so it is turned on for the whole host and stays on; hosts that must not forward
  between their other links need a rule of their own for that.
- Each cloud lets nothing new into its own NAT network, which keeps other clouds' guests out as well.
- An accept in our tables overrules nobody's drop: where something sets the policy of forwarding to drop, as
  Docker does, an administrator must let the NAT bridge through there (Docker: its DOCKER-USER chain). With
  net.bridge.bridge-nf-call-iptables=1 that concerns traffic inside bridges too.
- IPv6 passes only on networks with an IPv6 subnet, where guests are held to their addresses, and on those without any
  subnet, where guests may use any address and run any server, but never another MAC address than their own.
- IPv6 forwarding makes a host deaf to its own routers unless their links' accept_ra is 2; so it is set to that.
- dnsmasq isn't a child that ends with us; under systemd the agent's unit needs KillMode=process, or the
  servers are started again by the next `restore`, with their leases.
- `no_linklocal_learn` of a bridge is set when it is made and not looked at again.
"""
