#!/bin/sh
# Takes from the installed Wine what a program without a screen cannot use, and debug data from the rest, then copies it
# with the shared libraries it needs to /out.
set -eu

wine=/usr/lib/x86_64-linux-gnu/wine
cd "$wine/x86_64-windows"

# 3D, sound, cameras, scanners, USB and game devices, themes, and the debugger that would answer a crash.
rm -rf ../i386-windows *.a \
  d3d* ddraw* dxgi* d2d1* wined3d* vulkan-1* winevulkan* opencl* opengl32* glu32* dxdiag* dxcore* \
  xaudio* x3daudio* xactengine* xapofx* dsound* dmusic* dmime* dmband* dmcompos* dmloader* dmscript* dmstyle* dmsynth* \
  dinput* dplay* dpn* dpvoice* xinput* winegstreamer* winebus* wineusb* winehid* winexinput* hidclass* \
  winex11* winewayland* winepulse* winealsa* wineoss* gphoto2* sane* wiaservc* winscard* wpcap* capi2032* \
  light.msstyles winedbg* winecfg* taskmgr* winemine* wordpad* notepad* iexplore* powershell.exe setx.exe
find . -type f -print0 | xargs -0 -n 64 x86_64-w64-mingw32-strip 2>/dev/null || true

cd ../x86_64-unix
rm -f *.a opencl.so opengl32.so gphoto2.so sane.so wineusb.so winebus.so winegstreamer.so winepulse.so winealsa.so \
  winewayland.so winex11.so winevulkan.so winscard.so wpcap.so capi2032.so kerberos.so avicap32.so ctapi32.so \
  localspl.so winedmo.so qcap.so winebth.so wineps.so

mkdir -p /out/usr/lib/x86_64-linux-gnu /out/usr/lib/wine /out/usr/share/wine /out/usr/share/doc
cp -a "$wine" /out/usr/lib/x86_64-linux-gnu/
# The programs themselves; Debian's wrapper scripts print warnings.
cp -a /usr/lib/wine/wine64 /usr/lib/wine/wineserver64 /out/usr/lib/wine/
ln -s wineserver64 /out/usr/lib/wine/wineserver
cp -a /usr/share/wine/nls /usr/share/wine/wine.inf /out/usr/share/wine/
cp -a /usr/share/doc/libwine /usr/share/doc/wine64 /out/usr/share/doc/

# Wine opens these by name at run time: TLS and hashes, and fonts.
loaded=$(ldconfig -p | sed -n 's/.*\(libgnutls\.so\.30\|libfreetype\.so\.6\|libfontconfig\.so\.1\) .*=> //p')
for object in "$wine"/x86_64-unix/*.so /usr/lib/wine/wine64 /usr/lib/wine/wineserver64 $loaded; do
  ldd "$object"
done | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u > /tmp/libraries
for library in $loaded $(cat /tmp/libraries); do
  real=$(readlink -f "$library")
  # What glibc brings is in every Debian base already.
  case $(dpkg -S "$real" 2>/dev/null || true) in libc6:*) continue ;; esac
  cp -a "$real" /out/usr/lib/x86_64-linux-gnu/
  name=$(basename "$library")
  [ "$name" = "$(basename "$real")" ] || ln -sf "$(basename "$real")" "/out/usr/lib/x86_64-linux-gnu/$name"
done

# Without fontconfig win32u waits for itself for ever, and with it every console that a key is typed at. There are no fonts
# to find, but without a configuration fontconfig complains on the program's stderr.
mkdir -p /out/etc/fonts
echo '<fontconfig><cachedir>/oriel/home</cachedir></fontconfig>' > /out/etc/fonts/fonts.conf
