#!/bin/sh
# build.sh OUTDIR: makes the stand-in for Windows Server from Debian's packages (README.md). Needs root and a Debian.
# What it leaves in OUTDIR: the disc, the offset of its variant (stand-in.ts), three engine archives and a Linux image.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
cache=$(dirname "$out")
iso=windows-server-2025-stand-in.iso

# Tests that run side by side build it once, and share the packages.
exec 9>"$cache/lock"
flock 9
[ ! -e "$out/done" ] || exit 0
work=$out/work
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/made" "$cache/packages/partial"

step() { echo "stand-in: $*" >&2; }
in_root() { chroot "$root" /usr/bin/env -i -C /made PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"; }

step "fetching Debian's packages"
# With an empty list of installed packages apt gives all that these need, from wherever this machine installs.
: >"$work/status"
packages='linux-image-amd64 busybox-static coreutils kmod e2fsprogs dosfstools fdisk util-linux efibootmgr wimtools
  libxml2-utils jq unzip netcat-openbsd openssh-server docker.io containerd runc iptables
  grub-efi-amd64-bin grub-common binutils mtools squashfs-tools cpio genisoimage zip'
fetch() {
  # shellcheck disable=SC2086
  apt-get -qq -y --no-install-recommends --download-only -o Dir::State::status="$work/status" \
    -o Dir::Cache::archives="$cache/packages" -o APT::Sandbox::User=root -o Debug::NoLocking=1 install $packages
}
fetch >"$work/apt.log" 2>&1 || { apt-get -qq update && fetch; } >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
apt-get -qq -y --no-install-recommends --print-uris -o Dir::State::status="$work/status" \
  -o Dir::Cache::archives="$work/none" -o Debug::NoLocking=1 install $packages 2>"$work/apt.log" |
  cut -d ' ' -f 2 >"$work/names"

step 'unpacking them'
for folder in bin sbin lib lib64; do
  mkdir -p "$root/usr/$folder"
  ln -s "usr/$folder" "$root/$folder"
done
while read -r name; do
  dpkg-deb --fsys-tarfile "$cache/packages/$name" | tar -xC "$root" --keep-directory-symlink \
    --exclude './usr/share/[dlmp]*' --exclude './usr/lib/*/perl*' --exclude './var/*'
done <"$work/names"
mkdir -p "$root/dev" "$root/tmp"
mknod -m 666 "$root/dev/null" c 1 3
[ -e "$root/bin/sh" ] || ln -s busybox "$root/bin/sh"

kernel=$(basename "$root"/lib/modules/*)
# modules TARGET NAME…: these modules and those that they need, unpacked since the guest's processor is slow.
modules() {
  target=$1
  shift
  for module; do
    in_root modprobe -S "$kernel" -a -D "$module"
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
    mkdir -p "$target$(dirname "$file")"
    case $file in
      *.xz) xz -dc "$root$file" >"$target${file%.xz}" ;;
      *.zst) zstd -qdc "$root$file" >"$target${file%.zst}" ;;
      *) cp "$root$file" "$target$file" ;;
    esac
  done
  cp "$root/lib/modules/$kernel"/modules.order "$root/lib/modules/$kernel"/modules.builtin* "$target/lib/modules/$kernel/"
  in_root depmod -b "${target#"$root"}" "$kernel"
}
in_root depmod "$kernel"

step 'making the first file system'
first=$root/made/first
mkdir -p "$first/bin"
cp "$root/usr/bin/busybox" "$first/bin/"
for applet in $(in_root busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$first/bin/$applet"; done
cp "$here/initrd-init" "$first/init"
mkdir "$first/proc" "$first/sys" "$first/dev"
mknod -m 600 "$first/dev/console" c 5 1
modules "$first" ahci nvme sd_mod sr_mod ext4 crc32c_generic loop squashfs overlay vfat udf isofs nls_cp437 nls_utf8 nls_ascii \
  nls_iso8859-1 efivarfs
(cd "$first" && find . | in_root sh -c 'cd first && cpio -o -H newc --quiet' >../initrd)

step 'making the guest'
guest=$root/made/guest
mkdir -p "$guest/usr/bin" "$guest/usr/sbin" "$guest/usr/lib" "$guest/usr/lib64"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$guest/$folder"; done
for folder in c proc sys dev run tmp var root etc disc answers efi ProgramData; do mkdir -p "$guest/$folder"; done
# put PROGRAM…: with the libraries that they are linked to.
put() {
  for program; do
    for file in "$program" $(in_root /lib64/ld-linux-x86-64.so.2 --list "$program" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*'); do
      [ ! -e "$guest$file" ] || continue
      mkdir -p "$guest$(dirname "$file")"
      cp -L "$root$file" "$guest$file"
    done
  done
}
put /usr/bin/busybox /usr/bin/xmllint /usr/bin/wimlib-imagex /usr/bin/jq /usr/bin/unzip /usr/bin/nc.openbsd /usr/bin/efibootmgr \
  /usr/bin/partx /usr/sbin/sfdisk /usr/sbin/mkfs.fat /usr/sbin/mkfs.ext4 /usr/sbin/resize2fs /usr/sbin/sshd \
  /usr/sbin/dockerd /usr/sbin/docker-proxy /usr/bin/containerd /usr/bin/containerd-shim-runc-v2 /usr/sbin/runc \
  /usr/sbin/xtables-legacy-multi
# Newer releases of OpenSSH split sshd; libxtables loads its matches by name.
for file in /usr/lib/openssh/sshd-session /usr/lib/openssh/sshd-auth; do [ ! -e "$root$file" ] || put $file; done
for match in conntrack addrtype standard MASQUERADE NAT REDIRECT DNAT SNAT MARK tcp udp; do
  for file in "$root"/usr/lib/x86_64-linux-gnu/xtables/libxt_$match.so "$root"/usr/lib/x86_64-linux-gnu/xtables/libipt_$match.so; do
    [ ! -e "$file" ] || put "${file#"$root"}"
  done
done
for name in iptables ip6tables; do ln -s xtables-legacy-multi "$guest/usr/sbin/$name"; done
for applet in $(in_root busybox --list); do [ -e "$guest/usr/bin/$applet" ] || [ -e "$guest/usr/sbin/$applet" ] || ln -s busybox "$guest/usr/bin/$applet"; done
# Where the kernel looks for it.
ln -s ../bin/busybox "$guest/usr/sbin/modprobe"
modules "$guest" e1000e button evdev bridge br_netfilter veth overlay ip_tables iptable_filter iptable_nat ip6_tables ip6table_filter \
  ip6table_nat xt_MASQUERADE xt_addrtype xt_conntrack xt_nat xt_tcpudp xt_mark nf_nat nf_conntrack_netlink efivarfs
cp -R "$here/guest/." "$guest/"
in_root mksquashfs guest root.squashfs -quiet -no-progress -all-root -comp lz4 -Xhc -processors 2 -no-xattrs >&2

step 'making install.wim'
# loader OUTPUT FOLDER WORDS: GRUB, which loads kernel and first file system from FOLDER of whatever disk has them.
loader() {
  cat >"$root/made/loader.cfg" <<CFG
search.file $2/linux root
linux $2/linux quiet loglevel=1 apparmor=0 mitigations=off $3
initrd $2/initrd
boot
CFG
  in_root grub-mkimage -O x86_64-efi -o "$1" -p / -c loader.cfg search search_fs_file linux boot efi_gop $4
}
loader bootmgfw.efi /EFI/Microsoft/Boot stand-in=disk 'part_gpt fat'
loader loader.efi /boot stand-in=setup 'udf fat'
tree=$root/made/windows
mkdir -p "$tree/Windows/Boot" "$tree/Windows/System32"
mv "$root/made/root.squashfs" "$tree/Windows/System32/"
cp "$root"/boot/vmlinuz-* "$tree/Windows/Boot/linux"
cp "$root/made/initrd" "$root/made/bootmgfw.efi" "$tree/Windows/Boot/"
disc=$root/made/disc
mkdir -p "$disc/sources/\$OEM\$" "$disc/boot" "$disc/efi/boot" "$disc/efi/microsoft/boot" "$disc/support"
# image NAME DISPLAY EDITION INSTALLATION: adds it, with the words that Microsoft's have.
image() {
  action=append
  [ -e "$disc/sources/install.wim" ] || action=capture
  in_root wimlib-imagex $action windows disc/sources/install.wim "Windows Server 2025 $1" "Windows Server 2025 $1" \
    --no-acls --compress=none \
    --image-property "FLAGS=$3" \
    --image-property "DISPLAYNAME=Windows Server 2025 $2" \
    --image-property "DISPLAYDESCRIPTION=Windows Server 2025 $2" \
    --image-property WINDOWS/ARCH=9 \
    --image-property 'WINDOWS/PRODUCTNAME=Microsoft® Windows® Operating System' \
    --image-property "WINDOWS/EDITIONID=$3" \
    --image-property "WINDOWS/INSTALLATIONTYPE=$4" \
    --image-property WINDOWS/SERVICINGDATA/GDRDUREVISION=0 \
    --image-property WINDOWS/PRODUCTTYPE=ServerNT \
    --image-property WINDOWS/PRODUCTSUITE=Terminal\ Server \
    --image-property WINDOWS/LANGUAGES/LANGUAGE=en-US \
    --image-property WINDOWS/LANGUAGES/DEFAULT=en-US \
    --image-property WINDOWS/VERSION/MAJOR=10 \
    --image-property WINDOWS/VERSION/MINOR=0 \
    --image-property WINDOWS/VERSION/BUILD=26100 \
    --image-property WINDOWS/VERSION/SPBUILD=32230 \
    --image-property WINDOWS/VERSION/SPLEVEL=0 \
    --image-property WINDOWS/SYSTEMROOT=WINDOWS >/dev/null
}
image SERVERSTANDARDCORE 'Standard Evaluation' ServerStandardEval 'Server Core'
image SERVERSTANDARD 'Standard Evaluation (Desktop Experience)' ServerStandardEval Server
image SERVERDATACENTERCORE 'Datacenter Evaluation' ServerDatacenterEval 'Server Core'
image SERVERDATACENTER 'Datacenter Evaluation (Desktop Experience)' ServerDatacenterEval Server
step 'making the disc'
mkdir -p "$root/made/pe/Windows"
in_root wimlib-imagex capture pe disc/sources/boot.wim 'Microsoft Windows Setup (amd64)' --compress=none >/dev/null
in_root wimlib-imagex dir disc/sources/install.wim 1 --detailed --path=/Windows/System32/root.squashfs |
  sed -n 's/^Offset in WIM *= \([0-9]*\).*/\1/p' >"$disc/boot/root.offset"
cp "$tree/Windows/Boot/linux" "$tree/Windows/Boot/initrd" "$disc/boot/"
printf '[EditionID]\r\n\r\n[Channel]\r\neval\r\n\r\n[VL]\r\n0\r\n' >"$disc/sources/ei.cfg"
# Of one length always, so that stand-in.ts can write another variant over it.
printf '%-512s' "variant=normal" >"$disc/sources/\$OEM\$/stand-in.conf"
printf 'This disc contains a "UDF" file system and requires an operating system\r\nthat supports the ISO-13346 "UDF" file system specification.\r\n' >"$disc/README.TXT"
printf 'Linux, in the place of Windows Server 2025\r\n' | tee "$disc/bootmgr" "$disc/bootmgr.efi" >"$disc/setup.exe"
printf '[AutoRun.Amd64]\r\nopen=setup.exe\r\n' >"$disc/autorun.inf"
head -c 4096 /dev/zero >"$disc/boot/etfsboot.com"
cp "$here/prompt.S" "$root/made/"
in_root as -o prompt.o prompt.S
in_root objcopy -O binary -j .text prompt.o prompt.efi
cp "$root/made/loader.efi" "$disc/efi/boot/bootx64.efi"
# Two of one size, as Microsoft's are.
for pair in efisys:prompt efisys_noprompt:loader; do
  fat=disc/efi/microsoft/boot/${pair%:*}.bin
  in_root mformat -C -i $fat -f 1440 ::
  in_root mmd -i $fat ::/EFI ::/EFI/BOOT
  in_root mcopy -i $fat "${pair#*:}.efi" ::/EFI/BOOT/BOOTX64.EFI
done
in_root genisoimage -quiet -o $iso -V SSS_X64FREE_EN-US_DV9 -udf -iso-level 3 \
  -hide 'boot*' -hide efi -hide sources -hide support -hide setup.exe -hide autorun.inf \
  -b boot/etfsboot.com -c boot/boot.catalog -no-emul-boot -boot-load-size 8 -eltorito-alt-boot \
  -e efi/microsoft/boot/efisys.bin -no-emul-boot disc >&2

step 'making engine archives and an image'
for version in 29.7.2 29.8.0 29.9.0-broken; do
  rm -rf "$root/made/docker"
  mkdir "$root/made/docker"
  echo $version | tee "$root/made/docker/dockerd.exe" >"$root/made/docker/docker.exe"
  touch -d @1767225600 "$root/made/docker/"* "$root/made/docker"
  in_root env TZ=UTC zip -qrX docker-$version-stand-in.zip docker
done
layer=$root/made/layer
mkdir -p "$layer/bin" "$layer/tmp"
cp "$root/usr/bin/busybox" "$layer/bin/"
for applet in sh ash echo cat ls sleep true false date env hostname id nc wget httpd ps head tail grep sort dd sync; do ln -s busybox "$layer/bin/$applet"; done
saved=$root/made/saved
mkdir "$saved"
tar -C "$layer" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1767225600 -cf "$saved/layer.tar" .
jq_root() { in_root jq -nc "$@"; }
jq_root --arg layer "sha256:$(sha256sum "$saved/layer.tar" | cut -d ' ' -f 1)" '{architecture: "amd64", os: "linux",
  created: "2026-01-01T00:00:00Z", config: {Cmd: ["sh"], Env: ["PATH=/bin"]}, rootfs: {type: "layers", diff_ids: [$layer]}}' \
  >"$saved/config.json"
jq_root '[{Config: "config.json", RepoTags: ["stand-in/busybox:latest"], Layers: ["layer.tar"]}]' >"$saved/manifest.json"
tar -C "$saved" -cf "$root/made/busybox.tar" .

mv "$root/made/$iso" "$root"/made/docker-*.zip "$root/made/busybox.tar" "$out/"
LC_ALL=C grep -abo 'variant=normal  ' "$out/$iso" | cut -d : -f 1 >"$out/variant.offset"
touch "$out/done"
step "made in $out"
