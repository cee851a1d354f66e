#Requires -Version 5.1
# The stages of a machine. Those of $ApplyStages read $Machine (machine.json) and $MachineDisc (its folder), which the
# caller sets; those of $EngineStages run at every start and read neither, so a later start needs no disc.

$CertificateFiles = @{
  'daemon.json' = "$DockerData\config\daemon.json"
  'ca.pem' = "$DockerData\certs.d\ca.pem"
  'server-cert.pem' = "$DockerData\certs.d\server-cert.pem"
  'server-key.pem' = "$DockerData\certs.d\server-key.pem"
}

$AccessFiles = @{
  'authorized_keys' = "$SshData\administrators_authorized_keys"
  'ssh_host_ed25519_key' = "$SshData\ssh_host_ed25519_key"
  'ssh_host_ed25519_key.pub' = "$SshData\ssh_host_ed25519_key.pub"
}

$HostsFile = "$env:SystemRoot\System32\drivers\etc\hosts"
$TimeParameters = 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time\Parameters'
$ComputerNames = 'HKLM:\SYSTEM\CurrentControlSet\Control\ComputerName'

# What the disc says, for $Machine. Scripts of an old golden image may meet a newer host.
function Read-Machine {
  param([string]$Disc)
  if (-not $Disc) { throw 'No disc labelled ORIEL_MACHINE is in a drive.' }
  $read = Read-Json -Path "$Disc\machine.json"
  if ($read.version -ne 1) { throw "These scripts read version 1 of machine.json, not $($read.version)." }
  return $read
}

# The names in a table of files whose copy is not the disc's.
function Get-ChangedFile {
  param([hashtable]$Files)
  foreach ($name in $Files.Keys) {
    if (-not (Test-SameFile -Path "$MachineDisc\$name" -Other $Files[$name])) { $name }
  }
}

# Letter by letter, so that the password is no argument of any command, which logs could keep.
function Get-MachinePassword {
  $secret = New-Object -TypeName System.Security.SecureString
  foreach ($letter in $Machine.password.ToCharArray()) { $secret.AppendChar($letter) }
  return $secret
}

function Get-HostsText {
  $lines = @([IO.File]::ReadAllLines($HostsFile) -notmatch '\shost\.docker\.internal\s*$')
  $lines += @("$($Machine.hostGateway) host.docker.internal", '')
  return $lines -join [Environment]::NewLine
}

# 0x8 asks the server as a client, which is the form that answers behind QEMU's NAT.
function Get-TimePeer {
  return @($Machine.ntpServers | ForEach-Object -Process { "$_,0x8" }) -join ' '
}

# A state file for each content, so that a script that changed runs again and one that did not never does.
function Get-WaitingScript {
  foreach ($name in $Machine.provision) {
    $hash = (Get-FileHash -LiteralPath "$MachineDisc\provision\$name" -Algorithm SHA256).Hash
    if (-not (Get-OrielState -Name "provision-$hash")) { @{ Name = $name; Hash = $hash } }
  }
}

$ApplyStages = @(
  @{
    Name = 'identity'
    # The name can be asked for; that the password was set is noted with the disc's id.
    Test = {
      $named = $env:COMPUTERNAME -eq $Machine.computerName -and (Get-TimeZone).Id -eq $Machine.timeZone
      $named -and (Get-OrielState -Name 'identity') -eq $Machine.id
    }
    Run = {
      Set-LocalUser -Name 'Administrator' -Password (Get-MachinePassword)
      Set-TimeZone -Id $Machine.timeZone
      Set-OrielState -Name 'identity' -Value $Machine.id
      # The name after the next reboot, which an earlier try may have set.
      $next = Get-RegistryValue -Path "$ComputerNames\ComputerName" -Name 'ComputerName'
      if ($next -ne $Machine.computerName) { Rename-Computer -NewName $Machine.computerName -Force }
      if ($env:COMPUTERNAME -ne $Machine.computerName) {
        Request-Reboot -Why "the guest's name becomes $($Machine.computerName)"
      }
    }
  }
  @{
    Name = 'certificates'
    # The engine's files are the disc's.
    Test = { @(Get-ChangedFile -Files $CertificateFiles).Count -eq 0 }
    Run = {
      # The engine reads them at its start only; the stage docker starts it again.
      Stop-Engine
      foreach ($name in $CertificateFiles.Keys) {
        Copy-FromDisc -Path "$MachineDisc\$name" -Target $CertificateFiles[$name]
        Protect-Path -Path $CertificateFiles[$name]
      }
    }
  }
  @{
    Name = 'access'
    # The keys are the disc's and sshd runs with them.
    Test = {
      $service = Get-Service -Name 'sshd'
      $runs = $service.Status -eq 'Running' -and $service.StartType -eq 'Automatic'
      $runs -and @(Get-ChangedFile -Files $AccessFiles).Count -eq 0
    }
    Run = {
      # sshd reads its host key at its start, the other keys at each logon.
      $stale = @(Get-ChangedFile -Files $AccessFiles) -like 'ssh_host_*'
      foreach ($name in $AccessFiles.Keys) {
        Copy-FromDisc -Path "$MachineDisc\$name" -Target $AccessFiles[$name]
        # sshd refuses a key that other accounts could read.
        Protect-Path -Path $AccessFiles[$name]
      }
      Set-Service -Name 'sshd' -StartupType Automatic
      if ($stale) { Restart-Service -Name 'sshd' -Force } else { Start-Service -Name 'sshd' }
    }
  }
  @{
    Name = 'network'
    # The hosts file is as we would write it, and the time service has the disc's servers.
    Test = {
      $peer = Get-RegistryValue -Path $TimeParameters -Name 'NtpServer'
      $peer -eq (Get-TimePeer) -and [IO.File]::ReadAllText($HostsFile) -eq (Get-HostsText)
    }
    Run = {
      [IO.File]::WriteAllText($HostsFile, (Get-HostsText), [Text.Encoding]::ASCII)
      # What w32tm /config /manualpeerlist /syncfromflags:manual writes.
      Set-RegistryValue -Path $TimeParameters -Name 'NtpServer' -Value (Get-TimePeer) -Type String
      $type = if ($Machine.ntpServers) { 'NTP' } else { 'NoSync' }
      Set-RegistryValue -Path $TimeParameters -Name 'Type' -Value $type -Type String
      Restart-Service -Name 'w32time' -Force
      # A network that Windows is still identifying has no category yet; our rules hold in every one.
      $public = @(Get-NetConnectionProfile | Where-Object -FilterScript { $_.NetworkCategory -eq 'Public' })
      foreach ($network in $public) {
        try {
          Set-NetConnectionProfile -InterfaceIndex $network.InterfaceIndex -NetworkCategory Private
        } catch {
          Write-OrielLog -Text "the network $($network.Name) stays public: $($_.Exception.Message)"
        }
      }
    }
  }
  @{
    Name = 'provision'
    # Each script's content has its note of having run.
    Test = { @(Get-WaitingScript).Count -eq 0 }
    Run = {
      foreach ($script in @(Get-WaitingScript)) {
        Send-OrielLine -State 'progress' -Detail "running $($script.Name)"
        $path = "$OrielRoot\provision\$($script.Name)"
        Copy-FromDisc -Path "$MachineDisc\provision\$($script.Name)" -Target $path
        try {
          # In a process of its own: its exit code counts, and it is not held to our strict mode.
          $arguments = @('-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-File', $path)
          Invoke-Native -Program $PowerShell -Arguments $arguments | Out-Null
        } catch {
          throw "$($script.Name): $($_.Exception.Message)"
        }
        Set-OrielState -Name "provision-$($script.Hash)" -Value $script.Name
      }
    }
  }
)

$EngineStages = @(
  @{
    Name = 'docker'
    # The engine answers on its pipe.
    Test = { Test-Engine }
    Run = {
      Restore-Engine
      Start-Engine
    }
  }
  @{
    Name = 'ready'
    # Never done: it is a report, and every start makes it.
    Test = { $false }
    Run = {
      Set-OrielState -Name 'applied' -Value $OrielRun.Id
      $OrielRun.More = @{ id = $OrielRun.Id; facts = Get-Facts }
    }
  }
)
