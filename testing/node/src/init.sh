# Arguments: the name of the bridge, its address, and the program with its arguments.
set -e
# The node's own state and logs, where kubelet and containerd expect them.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
ip link set lo up
ip link add "$1" type bridge
ip address add "$2/24" dev "$1"
ip link set "$1" up
# Without a route to them, packets for Services are refused before kube-proxy's rules translate them.
ip route add default dev "$1"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Answers of a Service's pod to another pod must pass the address translation too.
for family in ip ip6; do
    file=/proc/sys/net/bridge/bridge-nf-call-${family}tables
    [ ! -e "$file" ] || echo 1 >"$file"
done
shift 2
status=0
"$@" || status=$?
exit "$status"
