#!/bin/sh
# Runs a command in a network of its own, with two other hosts: `b` (10.9.0.2, from here; 10.9.1.2, to
# c) and `c` (10.9.1.3). Each is a network namespace, and all of them end with the command:
#
#   unshare --user --map-root-user --net --mount namespaces.sh COMMAND...
#
# The user who runs it needs no rights outside of them.
set -eu
mount -t tmpfs tmpfs /run # where `ip` notes the names
ip netns add b
ip netns add c
ip link set lo up
ip link add to-b type veth peer name from-a netns b
ip link add to-c netns b type veth peer name from-b netns c
ip address add 10.9.0.1/24 dev to-b
ip link set to-b up
ip -n b address add 10.9.0.2/24 dev from-a
ip -n b address add 10.9.1.2/24 dev to-c
ip -n c address add 10.9.1.3/24 dev from-b
for host in b c; do
    ip -n "$host" link set lo up
done
ip -n b link set from-a up
ip -n b link set to-c up
ip -n c link set from-b up
exec "$@"
