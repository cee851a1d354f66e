#Requires -Version 5.1
# The Docker Engine as a service of this guest: is it there, does it answer, start it.

# One request on the engine's own pipe; gives the whole answer, head included. HTTP/1.0, so that its end is the end of
# the stream. PowerShell 5.1 has no client for HTTP over a pipe (the pipe's name: moby, client.DefaultDockerHost).
function Invoke-EnginePipe {
  param([string]$Path)
  $name = @('.', 'docker_engine', 'InOut', 'Asynchronous')
  $pipe = New-Object -TypeName System.IO.Pipes.NamedPipeClientStream -ArgumentList $name
  try {
    $pipe.Connect(2000)
    $head = @("GET $Path HTTP/1.0", 'Host: docker', '', '') -join [Environment]::NewLine
    $request = [Text.Encoding]::ASCII.GetBytes($head)
    $pipe.Write($request, 0, $request.Length)
    $reader = New-Object -TypeName System.IO.StreamReader -ArgumentList $pipe
    $answer = $reader.ReadToEndAsync()
    if (-not $answer.Wait(10000)) { throw 'The engine does not end its answer.' }
    return $answer.Result
  } finally {
    $pipe.Dispose()
  }
}

function Test-Engine {
  try {
    return (Invoke-EnginePipe -Path '/_ping') -match '(?s)^HTTP/1\.[01] 200 .*OK\s*$'
  } catch {
    return $false
  }
}

# The version of the program on disk, since facts are asked for while the engine is down, too. $null when there is none.
function Get-EngineVersion {
  if (-not (Test-Path -LiteralPath "$DockerProgram\dockerd.exe")) { return $null }
  $said = (Invoke-Native -Program "$DockerProgram\dockerd.exe" -Arguments @('--version')) -join ' '
  if ($said -match 'version (?<version>[0-9][^ ,]*)') { return $Matches['version'] }
  return $null
}

# What the engine last wrote as an error. It logs to the Application log as docker (moby, service_windows.go).
function Get-EngineError {
  try {
    $found = @{ LogName = 'Application'; ProviderName = 'docker'; Level = 2 }
    return @(Get-WinEvent -FilterHashtable $found -MaxEvents 1)[0].Message
  } catch {
    return 'it wrote no error to the event log'
  }
}

# Starts the service and waits until the engine answers. The service says Running long before that, and at a first boot
# the engine may stop again because HNS is not ready (moby#50093, "hnsCall failed"): starting it once more helps.
function Start-Engine {
  param([int]$Minutes = 20)
  $watch = [Diagnostics.Stopwatch]::StartNew()
  $starts = 0
  while ($watch.Elapsed.TotalMinutes -lt $Minutes) {
    if ((Get-Service -Name 'docker').Status -eq 'Stopped') {
      if ($starts -ge 10) { break }
      $starts++
      Send-OrielLine -State 'progress' -Detail "starting the engine, attempt $starts"
      try {
        Start-Service -Name 'docker'
      } catch {
        Write-OrielLog -Text $_.Exception.Message
      }
    }
    if (Test-Engine) { return }
    Start-Sleep -Seconds 5
  }
  throw "The engine did not answer on its pipe after $starts starts: $(Get-EngineError)"
}

function Stop-Engine {
  Stop-Service -Name 'docker' -Force
  # The process outlives the service by a moment and keeps its files open.
  Get-Process -Name 'dockerd' -ErrorAction SilentlyContinue | Wait-Process -Timeout 60
}

# An upgrade that was cut leaves the old engine in docker.old: it goes back, and the upgrade can be asked for again.
function Restore-Engine {
  if (-not (Test-Path -LiteralPath "$DockerProgram.old")) { return }
  Stop-Engine
  if (Test-Path -LiteralPath $DockerProgram) { Remove-Item -LiteralPath $DockerProgram -Recurse -Force }
  Invoke-Retry -Action { Move-Item -LiteralPath "$DockerProgram.old" -Destination $DockerProgram }
}

# Replaces the engine by the one of the disc ORIEL_ENGINE.
function Update-Engine {
  $disc = Find-OrielDisc -Label 'ORIEL_ENGINE' -Seconds 60
  if (-not $disc) { throw 'No disc labelled ORIEL_ENGINE is in a drive.' }
  $wanted = Read-Json -Path "$disc\engine.json"
  Restore-Engine
  if ((Get-EngineVersion) -ne $wanted.version) {
    $unpacked = "$OrielRoot\engine"
    if (Test-Path -LiteralPath $unpacked) { Remove-Item -LiteralPath $unpacked -Recurse -Force }
    Assert-FileHash -Path "$disc\$($wanted.file)" -Hash $wanted.sha256
    Expand-Archive -LiteralPath "$disc\$($wanted.file)" -DestinationPath "$unpacked\new" -Force
    try {
      Stop-Engine
      Invoke-Retry -Action { Move-Item -LiteralPath $DockerProgram -Destination "$DockerProgram.old" }
      Move-Item -LiteralPath "$unpacked\new\docker" -Destination $DockerProgram
      # Moved within a volume, it kept the permissions of our folder.
      Invoke-Native -Program 'icacls.exe' -Arguments @($DockerProgram, '/reset', '/T', '/Q') | Out-Null
      Start-Engine -Minutes 10
      if ((Get-EngineVersion) -ne $wanted.version) { throw "The disc's engine is not $($wanted.version)." }
    } catch {
      $why = $_.Exception.Message
      Restore-Engine
      Start-Engine
      throw "The old engine is back, because of the new one: $why"
    }
    # Out of the way in one step: half an old engine must not be taken for one to put back.
    Move-Item -LiteralPath "$DockerProgram.old" -Destination "$unpacked\old"
    Remove-Item -LiteralPath $unpacked -Recurse -Force
  }
  Start-Engine
  return [ordered]@{ engine = Get-EngineVersion }
}
