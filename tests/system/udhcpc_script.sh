#!/bin/sh
# What busybox udhcpc runs: prints the lease and takes its address into use.
[ "$1" = bound ] || exit 0
echo "ip=$ip"
echo "router=$router"
echo "dns=$dns"
ip address flush dev "$interface" scope global
ip address add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "$router"
