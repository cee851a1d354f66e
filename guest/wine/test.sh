#!/bin/bash
# test.sh IMAGE: checks a built Wine base on the engine of DOCKER_HOST. Prints ok or FAIL per check.
set -u
image=${1:?usage: test.sh IMAGE}
name=oriel-wine-test-$$
failures=0
trap 'docker rm -f "$name" >/dev/null 2>&1' EXIT

request() { printf '%s\0' "$@" | base64 -w0; }
run() { timeout 60 docker run --rm --network none -i "$image" run "$(request "$@")" </dev/null 2>&1 | tr -d '\r'; }
state() { docker cp "$name:/oriel/run/main" - | tar xO; }
check() { # DESCRIPTION EXPECTED ACTUAL
  if [[ $3 == *"$2"* ]]; then echo "ok   $1"; else echo "FAIL $1: wanted '$2', got '$3'"; failures=$((failures + 1)); fi
}
status() { # DESCRIPTION COMMAND_LINE INIT_STATUS STATE
  docker rm -f "$name" >/dev/null 2>&1
  timeout 60 docker run --network none --name "$name" "$image" run "$(request "CMDLINE=$2")" >/dev/null 2>&1
  check "$1: status" "$3" "$?"
  check "$1: state" "$4" "$(state)"
}
stops() { # DESCRIPTION COMMAND_LINE
  docker rm -f "$name" >/dev/null 2>&1
  docker run -d -i --network none --name "$name" "$image" run "$(request "CMDLINE=$2")" >/dev/null
  sleep 2
  local start=$SECONDS
  docker stop "$name" >/dev/null
  check "$1 stops at once" yes "$([ $((SECONDS - start)) -le 2 ] && echo yes)"
  check "$1: state" 'exited 3221225786' "$(state)"
}

check ver 10.0. "$(run 'CMDLINE=cmd /c ver')"
check product 'Windows Server' "$(run 'CMDLINE=reg query "HKLM\Software\Microsoft\Windows NT\CurrentVersion" /v ProductName')"
check administrator ContainerAdministrator "$(run CMDLINE=whoami)"
check user ContainerUser "$(run USER=ContainerUser CMDLINE=whoami)"
check profile 'C:\Users\ContainerUser' "$(run USER=ContainerUser 'CMDLINE=cmd /c echo %USERPROFILE%')"
check variable 'b ar' "$(run 'ENV_foo=b ar' 'CMDLINE=cmd /c echo %FOO%')"
check 'no variable of Wine' 0 "$(run 'CMDLINE=cmd /c set' | grep -c '^WINE\|^HOME=\|^LANG=')"
check 'working directory' 'C:\made\here' "$(run 'CWD=C:\made\here' 'CMDLINE=cmd /c cd')"
check powershell '--driver qemu' "$(run 'CMDLINE=powershell -Command 1')"
check 'standard input' 'a hello' "$(printf 'z\r\na hello\r\n' |
  timeout 60 docker run --rm --network none -i "$image" run "$(request 'CMDLINE=findstr hello')" 2>&1)"
status 'small code' 'cmd /c exit 7' 7 'exited 7'
status 'large code' 'cmd /c exit 3221225477' 240 exited
status 'missing program' 'nothere.exe' 127 'failed 2 '
status 'missing folder' 'C:\no\x.exe' 127 'failed 3 '
stops pause 'cmd /c pause'
stops ping 'ping -n 60 127.0.0.1'

docker rm -f "$name" >/dev/null 2>&1
docker run --network none --name "$name" "$image" run "$(request 'CMDLINE=cmd /c setx /M KEPT yes & echo [%KEPT%]')" >/dev/null
docker restart "$name" >/dev/null
docker wait "$name" >/dev/null
check 'registry kept over a restart' '[yes]' "$(docker logs "$name" 2>&1)"

# A layer: made here by tar, since what the host makes of a Windows one is tested there.
layer() { # DESCRIPTION STATUS TAR_ARGUMENTS...: applies what is in $folder
  docker rm -f "$name" >/dev/null 2>&1
  docker create -i --network none --name "$name" "$image" layer >/dev/null
  said=$(tar --format=pax --no-recursion -C "$folder" -cf - "${@:3}" | timeout 60 docker start -ai "$name" 2>&1)
  check "$1" "$2" "$?"
}
in_layer() { docker cp "$name:/c/drive_c/$1" - | tar xO; }
folder=$(mktemp -d)
trap 'docker rm -f "$name" >/dev/null 2>&1; rm -rf "$folder"' EXIT
mkdir -p "$folder/c/drive_c/WINDOWS/System32" "$folder/c/drive_c/up" "$folder/oriel"
echo new >"$folder/c/drive_c/WINDOWS/System32/new.txt"
touch "$folder/c/drive_c/WINDOWS/.wh.WIN.INI"
ln -s ../WINDOWS/SYSTEM32/NEW.TXT "$folder/c/drive_c/up/link"
printf 'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\Software\\Oriel]\r\n"v"="yes"\r\n' |
  iconv -t UTF-16LE | { printf '\xff\xfe'; cat; } >"$folder/oriel/layer.reg"
layer 'layer' 0 c/drive_c/WINDOWS c/drive_c/WINDOWS/System32/new.txt c/drive_c/WINDOWS/.wh.WIN.INI c/drive_c/up/link oriel/layer.reg
check 'layer: says nothing' '[]' "[$said]"
check 'layer: one folder in any case' new "$(in_layer windows/system32/new.txt)"
check 'layer: whiteout' 'Could not find' "$(docker cp "$name:/c/drive_c/windows/win.ini" - 2>&1)"
check 'layer: link in the case of the files' '../windows/system32/new.txt' \
  "$(docker cp "$name:/c/drive_c/up/link" - | tar tv)"
check 'layer: registry' '[Software\\Oriel]' "$(docker cp "$name:/c/system.reg" - | tar xO)"
mkdir -p "$folder/etc"
touch "$folder/etc/passwd"
layer 'layer beside the drive' 1 etc/passwd
check 'layer beside the drive: message' 'not on the drive' "$said"
ln -s ../../../etc "$folder/c/drive_c/up/out"
layer 'link out of the drive' 1 c/drive_c/up/out
check 'link out of the drive: message' 'leads out of the drive' "$said"
ln "$folder/c/drive_c/WINDOWS/System32/new.txt" "$folder/c/drive_c/hard"
layer 'hard link to nothing' 1 --transform='flags=h;s,.*,c/drive_c/nothing,' c/drive_c/WINDOWS/System32/new.txt c/drive_c/hard
check 'hard link to nothing: message' 'not there' "$said"

terminal=$(timeout 30 script -qec "docker run --rm -t --network none $image run $(request 'CMDLINE=cmd /c ver')" /dev/null </dev/null)
check terminal 10.0. "$terminal"

exit $((failures > 0))
