#!/bin/sh
# Makes the prefix (C: and the registry) in /out/c.
set -eu

builtin=/usr/lib/x86_64-linux-gnu/wine/x86_64-windows
drive=/c/drive_c
export USER=ContainerAdministrator HOME=/oriel/home LANG=C.UTF-8 XDG_RUNTIME_DIR=/tmp
export WINEPREFIX=/c WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe='
wine() {
  /usr/lib/wine/wine64 "$@"
}

wine wineboot --init
/usr/lib/wine/wineserver64 -w
# One server for all that follows: a program that starts while the last one's server is leaving loses its connection.
/usr/lib/wine/wineserver64 -p
wine regedit /S 'Z:\build\settings.reg'
environment='HKLM\System\CurrentControlSet\Control\Session Manager\Environment'
wine reg delete "$environment" /v PATH /f
wine reg add "$environment" /v Path /t REG_EXPAND_SZ /f \
  /d '%SystemRoot%\system32;%SystemRoot%;%SystemRoot%\System32\Wbem;%SystemRoot%\System32\WindowsPowerShell\v1.0\'
wine reg add "$environment" /v PATHEXT /f /d '.COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC'
# Without the wait the registry is not on disk yet.
/usr/lib/wine/wineserver64 -k
/usr/lib/wine/wineserver64 -w

# No update of the prefix at run time, and no drive but C:.
echo disable > /c/.update-timestamp
rm -f /c/dosdevices/z:

# A DLL of the prefix that equals the installed one becomes a link to it.
find "$drive" -type f | while read -r file; do
  original="$builtin/$(basename "$file")"
  if [ -f "$original" ] && cmp -s "$file" "$original"; then ln -sf "$original" "$file"; fi
done
# 32-bit programs do not run, so a program shall not find their folder.
rm -rf "$drive/windows/syswow64"

mv "$drive/users" "$drive/Users"
mkdir -p "$drive/Users/ContainerAdministrator/AppData/Local/Temp" "$drive/Users/ContainerAdministrator/AppData/Roaming"
cp -a "$drive/Users/ContainerAdministrator" "$drive/Users/ContainerUser"

powershell="$drive/windows/system32/WindowsPowerShell/v1.0/powershell.exe"
mkdir -p "$(dirname "$powershell")"
rm -f "$powershell"
for stub in "$powershell" "$drive/windows/system32/pwsh.exe" "$drive/windows/system32/iisreset.exe" \
    "$drive/windows/system32/w3wp.exe"; do
  cp /build/stub.exe "$stub"
done

rm -f "$drive/windows/system32/setx.exe"
cp /build/setx.exe "$drive/windows/system32/"

# cmd takes kernel32's functions from a DLL of ours; the names have the same length.
cp /build/cmdkrn32.dll "$drive/windows/system32/"
perl -pi -e 's/\bkernel32\.dll\0/cmdkrn32.dll\0/i' /out/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/cmd.exe

# Only now: hidden variables would keep wineboot from making a prefix.
sh /build/hide.sh /out/usr/lib/x86_64-linux-gnu/wine

mkdir -p /out/oriel/run /out/oriel/anchor
cp -a /c /out/
cp /build/release.sh /out/oriel/
