# shellcheck shell=bash
# What bin/quickstart and bin/test need of the machine. To be sourced at the
# root of the repository. Says what it does on stderr, since stdout is the
# command's answer, and does only what is missing.

# Debian keeps bpftool and ip here, and not every user's PATH has it.
export PATH="$PATH:/usr/sbin:/sbin"

# A package that another one may stand for is written first|other.
build_packages=(clang llvm libbpf-dev bpftool libelf-dev zlib1g-dev libuv1-dev pkg-config make g++ iproute2)
test_packages=(clang-format shellcheck git curl prometheus runc debootstrap libcap2-bin golang-github-containers-common zsh fish 'libclang-rt-dev|libclang-rt-14-dev'
	nginx redis-server memcached postgresql mosquitto)

say() {
	printf '==> %s\n' "$*" >&2
}

# fail WHAT_HAPPENED WHAT_TO_DO
fail() {
	printf 'Error: %s\n→ %s\n' "$1" "$2" >&2
	exit 1
}

# quietly WHAT_TO_DO COMMAND...: shows what the command prints only if it fails.
quietly() {
	local todo=$1 log
	shift
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		fail "This failed: $*" "$todo"
	fi
	rm -f "$log"
}

need_node() {
	local version major minor
	command -v node >/dev/null || fail 'Node is not installed.' 'Install Node 20.19 or newer.'
	version=$(node -p process.versions.node)
	IFS=. read -r major minor _ <<<"$version"
	if ((major < 20 || (major == 20 && minor < 19))); then
		fail "Node $version is too old." 'Install Node 20.19 or newer.'
	fi
}

installed() {
	local package
	for package in ${1//|/ }; do
		[[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] &&
			return
	done
	return 1
}

# need_packages PACKAGE...
need_packages() {
	local wanted missing=() root=()
	if ! command -v apt-get >/dev/null; then
		say "No apt-get here: assuming that the like of these is installed: $*"
		return
	fi
	for wanted in "$@"; do
		installed "$wanted" || missing+=("${wanted%%|*}")
	done
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		command -v sudo >/dev/null || fail "Packages are missing: ${missing[*]}." \
			"Run as root: apt-get install ${missing[*]}, then this again."
		root=(sudo)
	fi
	say "Installing Debian packages: ${missing[*]}"
	quietly 'Check the network and the sources of apt.' "${root[@]}" apt-get update -qq
	without_services install_packages "${missing[@]}"
}

install_packages() {
	quietly 'Install these packages by hand, then run this again.' "${root[@]}" \
		env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=120 "$@"
}

# without_services COMMAND...: a package that it installs starts no daemon, which would take its
# usual port and go on for ever. A machine that has a rule of its own for that keeps it.
without_services() (
	rule=/usr/sbin/policy-rc.d
	if [[ ! -e $rule ]]; then
		trap '"${root[@]}" rm -f "$rule"' EXIT
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" install -m 755 /dev/stdin "$rule"
	fi
	"$@"
)

need_packages_to_build() {
	need_packages "${build_packages[@]}"
}

need_packages_to_test() {
	need_packages "${build_packages[@]}" "${test_packages[@]}"
}

# The stamp is the lock file's hash: a changed lock installs again, nothing else does.
need_modules() {
	local stamp=node_modules/.nity-lock-hash hash
	hash=$(sha256sum package-lock.json)
	[[ -f $stamp && $(<"$stamp") == "$hash" ]] && return
	say 'Installing npm packages as package-lock.json names them (npm ci)'
	# No package of ours needs its install script, and some would use the network.
	quietly 'Check the network and the configuration of npm.' npm ci --ignore-scripts
	printf '%s\n' "$hash" >"$stamp"
}

# The dataplane is pinned here, so that it outlives the agent. Root only.
need_bpffs() {
	[[ $(stat -f -c %T /sys/fs/bpf 2>/dev/null) == bpf_fs ]] && return
	say 'Mounting the BPF file system at /sys/fs/bpf'
	mount -t bpf bpf /sys/fs/bpf || say 'It could not be mounted: the kernel plane will not load.'
}
