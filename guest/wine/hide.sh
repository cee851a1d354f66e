#!/bin/sh
# hide.sh WINE_DIRECTORY: renames the variables that Wine puts into the environment of every Windows process
# (WINEUSERNAME, WINEDLLDIR0, ...) to names that begin with "=". Windows has such names of its own ("=C:"), and every
# program that lists the environment leaves them out, so that a program sees what it would see on Windows.
# wineboot keeps the old names, because its getenv knows no name with "="; init gives it what it needs.
# Writer (ntdll.so) and readers (the DLLs) change alike, each string by one byte in place.
set -eu

names='DATADIR|HOMEDIR|BUILDDIR|CONFIGDIR|LOADER|DLLDIR|UNIXCP|USERLOCALE|USERNAME|DLLOVERRIDES|SYSTEMDLLPATH'
export names

{
  echo "$1/x86_64-unix/ntdll.so"
  find "$1/x86_64-windows" -type f ! -name wineboot.exe
} | xargs perl -0777 -i -pe '
  BEGIN { $wide = join "|", map { join "", map { "$_\\0" } split // } split /\|/, $ENV{names} }
  s/(?<=\0)W(?=INE(?:$ENV{names})(?:%u|=)?\0)/=/g;
  s/W\0(?=I\0N\0E\0(?:$wide)(?:%\0u\0)?\0\0)/=\0/g'
