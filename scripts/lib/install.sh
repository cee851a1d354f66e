# What scripts/test and scripts/quickstart install. To be sourced, from the project's folder.

on_debian() { [ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null; }
on_mac() { [ "$(uname -s)" = Darwin ]; }

need_node() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
}

# The modules, when the lock file is newer than what is installed.
install_modules() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  # Not npm ci: it refuses a lock file made where a registry lacked the optional packages of another platform.
  # No package here needs its install script, and some would compile what nobody uses.
  npm install --no-save --ignore-scripts --include=dev --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json
}

# has COMMAND, or has /FILE
has() {
  case $1 in
    /*) [ -e "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

# apt_install COMMAND:PACKAGE…: installs the packages whose command (or /FILE) is missing.
apt_install() {
  local pair packages=()
  for pair in "$@"; do
    has "${pair%%:*}" || packages+=("${pair#*:}")
  done
  [ ${#packages[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ]; then
    echo "Missing: ${packages[*]}. Install with: sudo apt-get install ${packages[*]}" >&2
    return 1
  fi
  echo "Installing ${packages[*]} …"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } >/tmp/oriel-apt.log 2>&1 ||
    { tail -n 5 /tmp/oriel-apt.log >&2; return 1; }
}

# The engine and the client. Debian 13 has the client in a package of its own, Debian 12 in docker.io.
install_docker() {
  apt_install dockerd:docker.io iptables:iptables ip:iproute2 mmdebstrap:mmdebstrap || return
  command -v docker >/dev/null || apt_install docker:docker-cli
}

# What the tests check our discs, certificates and keys with, and the machines that they boot.
install_test_tools() {
  if on_debian; then
    apt_install git:git ssh-keygen:openssh-client xmllint:libxml2-utils isoinfo:genisoimage xorriso:xorriso 7z:p7zip-full \
      wimlib-imagex:wimtools qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils openssl:openssl swtpm:swtpm \
      hivexsh:libhivex-bin zstd:zstd /usr/share/OVMF/OVMF_CODE_4M.fd:ovmf &&
      install_quietly sshd:openssh-server ssh.service ssh.socket &&
      install_quietly docker-registry:docker-registry docker-registry.service
    return
  fi
  # The other tools, and QEMU's firmware, come with these or with the system.
  local pair formulae=()
  for pair in qemu-system-x86_64:qemu xorriso:xorriso isoinfo:cdrtools 7z:p7zip wimlib-imagex:wimlib swtpm:swtpm \
    xmllint:libxml2 hivexsh:hivex zstd:zstd; do
    has "${pair%%:*}" || formulae+=("${pair#*:}")
  done
  [ ${#formulae[@]} -eq 0 ] && return
  echo "Missing for the tests: ${formulae[*]}. On a Mac: brew install ${formulae[*]}" >&2
  return 1
}

# install_quietly COMMAND:PACKAGE UNIT…: tests start an sshd and a registry of their own. The packages would start one for
# everybody, now and at each boot.
install_quietly() {
  local pair=$1 policy=/usr/sbin/policy-rc.d status=0
  shift
  has "${pair%%:*}" && return
  if [ "$(id -u)" != 0 ] || [ -e $policy ]; then
    apt_install "$pair"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
  apt_install "$pair" || status=$?
  rm -f $policy
  ! has systemctl || systemctl --quiet disable "$@" 2>/dev/null
  return $status
}

# True when the end-to-end tests have an engine, or can start their own.
engine_for_tests() {
  if [ -n "${ORIEL_TEST_ENGINE:-}" ]; then
    command -v docker >/dev/null || install_docker
    on_debian && apt_install docker-compose:docker-compose
    docker -H "$ORIEL_TEST_ENGINE" version >/dev/null || return
  elif on_debian; then
    install_docker && apt_install docker-compose:docker-compose && [ "$(id -u)" = 0 ]
  else
    command -v docker >/dev/null || { echo "docker is missing. On a Mac: brew install docker docker-compose" >&2; return 1; }
    command -v docker-compose >/dev/null || { echo "docker-compose is missing. On a Mac: brew install docker-compose" >&2; return 1; }
    docker info --format '{{.OSType}}' 2>/dev/null | grep -qx linux ||
      { echo "No Linux engine answers. Start Docker Desktop, OrbStack or Colima." >&2; return 1; }
    ORIEL_TEST_ENGINE=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
    export ORIEL_TEST_ENGINE
  fi
}
