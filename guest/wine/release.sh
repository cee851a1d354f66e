#!/bin/sh
# release.sh BUILD PRODUCT RELEASE_ID DISPLAY_VERSION UBR: makes this base one release of Windows Server. Wine takes its
# version from here; the registry is text, so that no Wine need run for it.
set -eu

section='^\[Software\\\\Microsoft\\\\Windows NT\\\\CurrentVersion\] '
values="\"BuildLab\"=\"$1.oriel\"\n\"ReleaseId\"=\"$3\"\n\"DisplayVersion\"=\"$4\"\n\"UBR\"=dword:$(printf %08x "$5")"
sed -i "/$section/,/^\$/ {
  s/^\"CurrentBuild\\(Number\\)\\?\"=.*/\"CurrentBuild\\1\"=\"$1\"/
  s/^\"ProductName\"=.*/\"ProductName\"=\"$2\"\n$values/
}" /c/system.reg
grep -q "^\"ProductName\"=\"$2\"" /c/system.reg
grep -q "^\"CurrentBuildNumber\"=\"$1\"" /c/system.reg
