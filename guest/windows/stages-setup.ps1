#Requires -Version 5.1
# The stages of setup: what no machine of a release differs in. Each Test says whether its Run has nothing left to do.

$AutoLogon = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
$AutoLogonValues = @('AutoAdminLogon', 'AutoLogonCount', 'DefaultPassword', 'DefaultUserName', 'DefaultDomainName')
$UpdatePolicy = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU'
$SystemPolicy = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
$TimeZoneKey = 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation'
$TimeService = 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time'

# Where Setup leaves the answer file with the password of the first logon (learn.microsoft.com, "Windows Setup
# Automation Overview", implicit answer file search order).
$AnswerFiles = @(
  "$env:SystemRoot\Panther\unattend.xml", "$env:SystemRoot\Panther\Autounattend.xml",
  "$env:SystemRoot\Panther\unattend-original.xml", "$env:SystemRoot\Panther\Unattend\Unattend.xml",
  "$env:SystemRoot\Panther\Unattend\Autounattend.xml", "$env:SystemRoot\System32\Sysprep\unattend.xml",
  "$env:SystemDrive\unattend.xml", "$env:SystemDrive\autounattend.xml"
)

# TCP ports that are let in, by the name of the rule.
$FirewallRules = @{ 'Oriel-Docker' = 2376; 'Oriel-SSH' = 22 }

# Keys only, and one file of keys for every account: this sshd has one user. No "Match Group administrators", the
# usual way to that file, because the name of the group is translated. Directives: man.openbsd.org/sshd_config;
# __PROGRAMDATA__: learn.microsoft.com, "OpenSSH Server configuration for Windows Server and Windows".
$SshdConfig = @'
Port 22
HostKey __PROGRAMDATA__/ssh/ssh_host_ed25519_key
AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
AllowTcpForwarding yes
Subsystem sftp sftp-server.exe
'@

# Windows keeps an autologon password as the LSA secret DefaultPassword, which is deleted by storing nothing under its
# name (learn.microsoft.com, LsaStorePrivateData). rgl/windows-vagrant removes it in the same way.
$LsaSource = @'
using System;
using System.Runtime.InteropServices;

public static class OrielLsa
{
    [StructLayout(LayoutKind.Sequential)]
    private struct LsaString
    {
        public ushort Length;
        public ushort MaximumLength;
        public IntPtr Buffer;
    }

    // The attributes are not used by the call but must be there: 48 zero bytes, the size of the structure on x64.
    [DllImport("advapi32.dll")]
    private static extern uint LsaOpenPolicy(IntPtr system, byte[] attributes, uint access, out IntPtr policy);

    [DllImport("advapi32.dll")]
    private static extern uint LsaStorePrivateData(IntPtr policy, ref LsaString name, IntPtr data);

    [DllImport("advapi32.dll")]
    private static extern uint LsaClose(IntPtr policy);

    // An NTSTATUS: 0 when deleted, 0xC0000034 when there was no such secret.
    public static uint Delete(string secret)
    {
        IntPtr policy;
        const uint createSecret = 0x20;
        uint status = LsaOpenPolicy(IntPtr.Zero, new byte[48], createSecret, out policy);
        if (status != 0) return status;
        IntPtr text = Marshal.StringToHGlobalUni(secret);
        try
        {
            LsaString name = new LsaString();
            name.Buffer = text;
            name.Length = (ushort)(secret.Length * 2);
            name.MaximumLength = (ushort)(secret.Length * 2 + 2);
            return LsaStorePrivateData(policy, ref name, IntPtr.Zero);
        }
        finally
        {
            Marshal.FreeHGlobal(text);
            LsaClose(policy);
        }
    }
}
'@

# The answer files that are left, and any other file of Setup that holds a password: Setup blanks its own copies.
function Get-AnswerFile {
  $AnswerFiles | Where-Object -FilterScript { Test-Path -LiteralPath $_ }
  $others = Get-ChildItem -LiteralPath "$env:SystemRoot\Panther" -Filter '*.xml' -Recurse -File
  foreach ($file in $others) {
    $password = [IO.File]::ReadAllText($file.FullName) -match '<(AdministratorPassword|Password)>\s*<Value>[^<]'
    if ($password -and $AnswerFiles -notcontains $file.FullName) { $file.FullName }
  }
}

function Get-Setup {
  return Read-Json -Path "$OrielRoot\setup.json"
}

# The features of setup.json's isolation. Hyper-V is for containers in a VM of their own, inside this VM.
function Get-WantedFeature {
  if ((Get-Setup).isolation -eq 'hyperv') { return @('Containers', 'Microsoft-Hyper-V') }
  return @('Containers')
}

function Get-MissingFeature {
  foreach ($name in Get-WantedFeature) {
    if ((Get-WindowsOptionalFeature -Online -FeatureName $name).State -ne 'Enabled') { $name }
  }
}

# Not by [Environment], which would write the expanded %SystemRoot% back.
function Add-MachinePath {
  param([string]$Folder)
  $key = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
  $path = (Get-Item -LiteralPath $key).GetValue('Path', '', 'DoNotExpandEnvironmentNames')
  if (($path -split ';') -notcontains $Folder) {
    Set-RegistryValue -Path $key -Name 'Path' -Value "$($path.TrimEnd(';'));$Folder" -Type ExpandString
  }
}

function Install-Sshd {
  $openssh = (Get-Setup).openssh
  if ($null -eq $openssh) { throw 'This Windows has no service sshd, and the setup disc brought no OpenSSH.' }
  $program = "$env:ProgramFiles\OpenSSH"
  Assert-FileHash -Path "$OrielRoot\$($openssh.file)" -Hash $openssh.sha256
  Expand-Archive -LiteralPath "$OrielRoot\$($openssh.file)" -DestinationPath "$OrielRoot\unpacked" -Force
  $installer = @(Get-ChildItem -LiteralPath "$OrielRoot\unpacked" -Filter 'install-sshd.ps1' -Recurse)[0]
  New-Folder -Path $program
  Copy-Item -Path "$($installer.DirectoryName)\*" -Destination $program -Recurse -Force
  # In a process of its own, since it is not written for strict mode, and may ask before it sets permissions.
  $command = "`$ConfirmPreference = 'None'; & '$program\install-sshd.ps1'"
  $arguments = @('-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-Command', $command)
  Invoke-Native -Program $PowerShell -Arguments $arguments | Out-Null
  Add-MachinePath -Folder $program
}

$SetupStages = @(
  @{
    Name = 'copy'
    # The task is the last thing that Run makes.
    Test = { $null -ne (Get-ScheduledTask -TaskName 'Oriel' -ErrorAction SilentlyContinue) }
    Run = {
      $disc = Find-OrielDisc -Label 'ORIEL_SETUP' -Seconds 60
      if (-not $disc) { throw 'No disc labelled ORIEL_SETUP is in a drive.' }
      foreach ($file in Get-ChildItem -LiteralPath $disc -File) {
        Copy-FromDisc -Path $file.FullName -Target "$OrielRoot\$($file.Name)"
      }
      $arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File $OrielRoot\start.ps1"
      $action = New-ScheduledTaskAction -Execute $PowerShell -Argument $arguments
      $trigger = New-ScheduledTaskTrigger -AtStartup
      $account = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
      # The default settings end a task after three days, hold it on battery, and run it below normal priority.
      $limits = @{ AllowStartIfOnBatteries = $true; DontStopIfGoingOnBatteries = $true; Priority = 4 }
      $settings = New-ScheduledTaskSettingsSet @limits -ExecutionTimeLimit ([TimeSpan]::Zero)
      $task = @{ Action = $action; Trigger = $trigger; Principal = $account; Settings = $settings }
      Register-ScheduledTask -TaskName 'Oriel' @task -Force
    }
  }
  @{
    Name = 'settings'
    # A mark made after the last setting: each can be set again, and clean takes one of them back.
    Test = { (Get-OrielState -Name 'settings') -eq 'done' }
    Run = {
      # Set-up must not be cut by an update's reboot; clean gives updates back.
      Set-RegistryValue -Path $UpdatePolicy -Name 'NoAutoUpdate' -Value 1

      # An answer file in another language may have left the account its translated name.
      $account = Get-LocalUser | Where-Object -FilterScript { $_.SID.Value -like 'S-1-5-21-*-500' }
      if ($account.Name -ne 'Administrator') { Rename-LocalUser -SID $account.SID -NewName 'Administrator' }
      # An expired password would refuse logons by key, too.
      Set-LocalUser -SID $account.SID -PasswordNeverExpires $true

      # The VM's clock is in UTC. A suspended VM wakes up hours late, which the time service must be let mend.
      Set-RegistryValue -Path $TimeZoneKey -Name 'RealTimeIsUniversal' -Value 1
      # 0xFFFFFFFF as PowerShell's signed number: any correction.
      Set-RegistryValue -Path "$TimeService\Config" -Name 'MaxPosPhaseCorrection' -Value (-1)
      Set-RegistryValue -Path "$TimeService\Config" -Name 'MaxNegPhaseCorrection' -Value (-1)
      # Outside a domain a trigger stops the service, whatever its start type (learn.microsoft.com, "Windows Time
      # service doesn't start automatically on a workgroup computer"). 1168: there is no trigger left.
      Invoke-Native -Program 'sc.exe' -Arguments @('triggerinfo', 'w32time', 'delete') -Success @(0, 1168)
      Set-Service -Name 'w32time' -StartupType Automatic

      # No hibernation file, no sleep, and a screen that stays on: with it off the power button only wakes it up.
      # The button itself shuts down (3), also while nobody is logged on. 1: this firmware has no such thing.
      Invoke-Native -Program 'powercfg.exe' -Arguments @('/hibernate', 'off') -Success @(0, 1)
      Invoke-Native -Program 'powercfg.exe' -Arguments @('/change', 'standby-timeout-ac', '0') -Success @(0, 1)
      Invoke-Native -Program 'powercfg.exe' -Arguments @('/change', 'monitor-timeout-ac', '0') -Success @(0, 1)
      $button = @('/setacvalueindex', 'SCHEME_CURRENT', 'SUB_BUTTONS', 'PBUTTONACTION', '3')
      Invoke-Native -Program 'powercfg.exe' -Arguments $button -Success @(0, 1)
      Invoke-Native -Program 'powercfg.exe' -Arguments @('/setactive', 'SCHEME_CURRENT') -Success @(0, 1)
      Set-RegistryValue -Path $SystemPolicy -Name 'ShutdownWithoutLogon' -Value 1

      # A scanner that opens layers while they are written breaks and slows the engine. Defender may be gone or off.
      if (Get-Command -Name 'Add-MpPreference' -ErrorAction SilentlyContinue) {
        try {
          Add-MpPreference -ExclusionPath $DockerData -ExclusionProcess "$DockerProgram\dockerd.exe"
        } catch {
          Send-OrielLine -State 'progress' -Detail "Defender takes no exclusions: $($_.Exception.Message)"
        }
      }
      Set-OrielState -Name 'settings' -Value 'done'
    }
  }
  @{
    Name = 'containers'
    # Windows itself says Enabled only after the reboot (before it, EnablePending).
    Test = { @(Get-MissingFeature).Count -eq 0 }
    Run = {
      foreach ($name in Get-MissingFeature) {
        Send-OrielLine -State 'progress' -Detail "enabling the feature $name"
        Enable-WindowsOptionalFeature -Online -FeatureName $name -All -NoRestart
      }
      if (@(Get-MissingFeature).Count -ne 0) { Request-Reboot -Why 'the features are enabled by a reboot' }
    }
  }
  @{
    Name = 'engine'
    # The version that was unpacked is noted last, after the service was registered.
    Test = { (Get-OrielState -Name 'engine') -eq (Get-Setup).engine.version }
    Run = {
      $engine = (Get-Setup).engine
      Assert-FileHash -Path "$OrielRoot\$($engine.file)" -Hash $engine.sha256
      # The archive holds the folder docker (docs.docker.com, "Install Docker Engine from binaries").
      Expand-Archive -LiteralPath "$OrielRoot\$($engine.file)" -DestinationPath $env:ProgramFiles -Force
      Add-MachinePath -Folder $DockerProgram

      # The engine sets these permissions only on a folder that it makes itself; this one it will find.
      New-Folder -Path $DockerData
      Protect-Path -Path $DockerData -Folder
      New-Folder -Path "$DockerData\config"
      New-Folder -Path "$DockerData\certs.d"

      if ($null -eq (Get-Service -Name 'docker' -ErrorAction SilentlyContinue)) {
        $arguments = @('--register-service', '--service-name', 'docker')
        Invoke-Native -Program "$DockerProgram\dockerd.exe" -Arguments $arguments | Out-Null
      }
      # The start-up task starts it, after a new machine disc was applied and with retries.
      Set-Service -Name 'docker' -StartupType Manual
      Set-OrielState -Name 'engine' -Value $engine.version
    }
  }
  @{
    Name = 'ssh'
    # A mark made after the last step; the service alone may be the one that 2025 comes with.
    Test = { (Get-OrielState -Name 'ssh') -eq 'done' }
    Run = {
      if ($null -eq (Get-Service -Name 'sshd' -ErrorAction SilentlyContinue)) { Install-Sshd }
      Set-Service -Name 'sshd' -StartupType Manual
      Stop-Service -Name 'sshd' -Force
      # Each machine brings its own host key; a start would have made others.
      New-Folder -Path $SshData
      Protect-Path -Path $SshData -Folder -Read
      Remove-Item -Path "$SshData\ssh_host_*" -Force
      [IO.File]::WriteAllText("$SshData\sshd_config", $SshdConfig + [Environment]::NewLine, [Text.Encoding]::ASCII)
      Set-RegistryValue -Path 'HKLM:\SOFTWARE\OpenSSH' -Name 'DefaultShell' -Value $PowerShell -Type String
      Set-OrielState -Name 'ssh' -Value 'done'
    }
  }
  @{
    Name = 'firewall'
    # Both rules are there by their names and let in all profiles: QEMU's network is "Public" to Windows.
    Test = {
      $rules = @(Get-NetFirewallRule -Name 'Oriel-*' -ErrorAction SilentlyContinue)
      $open = @($rules | Where-Object -FilterScript { $_.Enabled -eq 'True' -and $_.Profile -eq 'Any' })
      $open.Count -eq $FirewallRules.Count
    }
    Run = {
      Remove-NetFirewallRule -Name 'Oriel-*' -ErrorAction SilentlyContinue
      foreach ($name in $FirewallRules.Keys) {
        $port = @{ Direction = 'Inbound'; Action = 'Allow'; Protocol = 'TCP'; LocalPort = $FirewallRules[$name] }
        New-NetFirewallRule -Name $name -DisplayName $name @port -Profile Any
      }
    }
  }
  @{
    Name = 'clean'
    # None of the values, files and archives is left; LSA's secret cannot be listed, so its deletion is noted.
    Test = {
      $left = @($AutoLogonValues | Where-Object -FilterScript { Test-RegistryValue -Path $AutoLogon -Name $_ })
      $left += @(Get-AnswerFile)
      $left += @(Get-ChildItem -Path "$OrielRoot\*.zip")
      $held = Test-RegistryValue -Path $UpdatePolicy -Name 'NoAutoUpdate'
      $left.Count -eq 0 -and -not $held -and (Get-OrielState -Name 'secret') -eq 'deleted'
    }
    Run = {
      foreach ($name in $AutoLogonValues) {
        Remove-ItemProperty -LiteralPath $AutoLogon -Name $name -Force -ErrorAction SilentlyContinue
      }
      Add-Type -TypeDefinition $LsaSource
      $status = [OrielLsa]::Delete('DefaultPassword')
      # 3221225524 is 0xC0000034, STATUS_OBJECT_NAME_NOT_FOUND.
      if (@(0, 3221225524) -notcontains $status) { throw "LSA keeps the autologon password: NTSTATUS $status." }
      Set-OrielState -Name 'secret' -Value 'deleted'

      foreach ($file in Get-AnswerFile) { Remove-Item -LiteralPath $file -Force }
      if (@(Get-AnswerFile).Count -ne 0) { throw "$(@(Get-AnswerFile)[0]) cannot be removed." }

      # Without the value updates are as Windows Server has them by default: downloaded, installed when asked for.
      Remove-ItemProperty -LiteralPath $UpdatePolicy -Name 'NoAutoUpdate' -Force -ErrorAction SilentlyContinue
      Remove-Item -Path "$OrielRoot\*.zip" -Force
      Remove-Item -Path "$OrielRoot\unpacked*" -Recurse -Force
    }
  }
  @{
    Name = 'sealed'
    # The mark that start.ps1 goes by, too.
    Test = { (Get-OrielState -Name 'sealed') -eq 'done' }
    Run = {
      # An image with a key in it would give all its machines the same one.
      $keys = @(Get-ChildItem -Path "$SshData\ssh_host_*", "$SshData\*_authorized_keys", "$DockerData\certs.d\*")
      if ($keys.Count -ne 0) { throw "The image would hold $($keys[0].FullName)." }
      Set-OrielState -Name 'sealed' -Value 'done'
    }
  }
)
