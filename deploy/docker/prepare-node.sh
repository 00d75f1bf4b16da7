#!/bin/sh
# Makes a node ready for the agent: a BPF file system for the pins, and the real root of the
# cgroup v2 hierarchy, below which every process of the node is. Changes only what is missing.
#
#   nity-prepare-node [BPFFS [CGROUPS]]    by default /sys/fs/bpf and /host/cgroup
set -eu
bpffs=${1:-/sys/fs/bpf}
cgroups=${2:-/host/cgroup}

# fail WHAT_HAPPENED WHAT_TO_DO
fail() {
	printf 'Error: %s\n→ %s\n' "$1" "$2" >&2
	exit 1
}

if [ "$(stat -f -c %T "$bpffs")" = bpf_fs ]; then
	echo "BPF file system: mounted at $bpffs"
elif mount -t bpf bpf "$bpffs"; then
	echo "BPF file system: now mounted at $bpffs"
else
	fail "No BPF file system could be mounted at $bpffs." \
		'Mount it on the node: mount -t bpf bpf /sys/fs/bpf.'
fi

# In a cgroup namespace the mount's own root is some cgroup of the node's; only the real root
# of a hierarchy is inode 1. On a hybrid node the second version is in "unified".
for found in "$cgroups" "$cgroups/unified"; do
	if [ "$(stat -f -c %T "$found" 2>/dev/null)" = cgroup2fs ] && [ "$(stat -c %i "$found")" = 1 ]; then
		echo "cgroup v2: its root is at $found"
		exit 0
	fi
done
fail "The root of the cgroup v2 hierarchy is not below $cgroups." \
	'Mount it on the node: mount -t cgroup2 none /sys/fs/cgroup/unified.'
