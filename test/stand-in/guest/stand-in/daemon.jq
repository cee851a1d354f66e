# A daemon.json for Windows as one for Linux. dockerd itself checks what is passed on.
def path: if type == "string" and test("^[A-Za-z]:[\\\\/]") then .[2:] | gsub("\\\\"; "/") else . end;
walk(path)
| (."exec-opts" // []) as $options
| if any($options[]; test("^isolation=(process|hyperv|default)$") | not)
  then error("unknown option (\($options | join(", ")))") else . end
| .hosts = ((.hosts // ["npipe://"]) | map(if startswith("npipe:") then "unix:///var/run/docker.sock" else . end))
| ."data-root" //= "/ProgramData/docker"
# Known on Windows, and not to this Docker, or not on Linux, or with other values there.
| del(."exec-opts", .group, ."storage-driver", ."storage-opts", ."log-driver", ."log-opts", .containerd, ."default-runtime",
  .proxies, ."min-api-version", ."log-format", ."host-gateway-ips", ."default-network-opts", ."firewall-backend", .mtu)
