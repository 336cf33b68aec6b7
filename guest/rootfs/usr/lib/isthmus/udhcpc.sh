#!/bin/sh
# What a DHCP lease makes of the machine; run by busybox udhcpc, which says what has happened ($1)
# and the lease in variables.  The agent reads standard output: the address, or nothing.
set -e
case $1 in
deconfig)
    busybox ip addr flush dev "$interface"
    busybox ip link set "$interface" up
    echo
    ;;
bound | renew)
    busybox ip addr flush dev "$interface"
    busybox ip addr add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
        busybox ip route add default via "$gateway" dev "$interface" && break
    done
    {
        for server in $dns; do echo "nameserver $server"; done
        [ -z "${search:-$domain}" ] || echo "search ${search:-$domain}"
    } > /run/shared/resolv.conf.new
    busybox mv /run/shared/resolv.conf.new /run/shared/resolv.conf
    echo "$ip"
    ;;
esac
