#Requires -Version 5.1
# What the other scripts share: the log, the lines on COM1, the stage runner, state files, discs. It only defines names.
# The host's side of every line and every file here is CONTRACT.md.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
# Progress bars slow 5.1 down, and warnings would go to the stdout that guest.ps1 keeps for its one line.
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'

$OrielRoot = 'C:\ProgramData\Oriel'
$DockerProgram = 'C:\Program Files\docker'
$DockerData = 'C:\ProgramData\docker'
$SshData = 'C:\ProgramData\ssh'
$PowerShell = "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe"

# The run as it stands. One hashtable, because a variable that a function assigns stays inside that function.
$OrielRun = @{ Stage = ''; Reboot = $false; More = @{}; Failure = ''; Log = ''; Id = '' }

# Invariant, because a Thai or Arabic Windows writes other years and other digits.
function Get-UtcTime {
  param([string]$Format = "yyyy-MM-dd'T'HH:mm:ss'Z'")
  return [DateTime]::UtcNow.ToString($Format, [Globalization.CultureInfo]::InvariantCulture)
}

# Our own log file instead of Start-Transcript: nothing gets in that was not written here, so no password can.
function Start-OrielLog {
  param([string]$Name)
  $OrielRun.Log = "$OrielRoot\log\$Name-$(Get-UtcTime -Format 'yyyyMMdd-HHmmss').log"
  Get-ChildItem -LiteralPath "$OrielRoot\log" -Filter '*.log' | Sort-Object -Property LastWriteTimeUtc -Descending |
    Select-Object -Skip 30 | Remove-Item -Force
}

function Write-OrielLog {
  param([string]$Text)
  if ($OrielRun.Log) {
    [IO.File]::AppendAllText($OrielRun.Log, "$(Get-UtcTime) $Text$([Environment]::NewLine)")
  }
}

# ConvertTo-Json of 5.1 leaves letters beyond ASCII as they are; the serial line takes ASCII only.
function ConvertTo-AsciiJson {
  param([object]$Value)
  $json = ConvertTo-Json -InputObject $Value -Compress -Depth 5
  return [regex]::Replace($json, '[^\x20-\x7e]', { param($letter) '\u{0:x4}' -f [int][char]$letter.Value })
}

# A sentence for a JSON line: one line, and short enough that even all-escaped it stays below 4000 characters.
function Limit-Text {
  param([string]$Text)
  $line = ($Text -replace '\s+', ' ').Trim()
  return $line.Substring(0, [Math]::Min($line.Length, 500))
}

# COM1 opens for one process at a time, which makes it its own lock. No COM1 is no error: the log has the line.
function Write-SerialLine {
  param([string]$Text)
  for ($try = 1; $try -le 40; $try++) {
    $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200, 'None', 8, 'One'
    try {
      $port.WriteTimeout = 5000
      $port.Open()
      $port.Write("$Text$([char]10)")
      return
    } catch [UnauthorizedAccessException] {
      Start-Sleep -Milliseconds 250
    } catch {
      Write-OrielLog -Text "COM1: $($_.Exception.Message)"
      return
    } finally {
      $port.Dispose()
    }
  }
}

function Send-OrielLine {
  param([string]$State, [string]$Detail = '', [hashtable]$More = @{})
  if (-not $OrielRun.Stage) {
    Write-OrielLog -Text "$State $Detail"
    return
  }
  $line = [ordered]@{ oriel = 1; stage = $OrielRun.Stage; state = $State }
  if ($Detail) { $line['detail'] = Limit-Text -Text $Detail }
  foreach ($key in $More.Keys) { $line[$key] = $More[$key] }
  $json = ConvertTo-AsciiJson -Value $line
  Write-OrielLog -Text $json
  Write-SerialLine -Text $json
}

# SIDs, because the names of these accounts are translated. Read lets other accounts look inside.
function Protect-Path {
  param([string]$Path, [switch]$Folder, [switch]$Read)
  $inherit = if ($Folder) { '(OI)(CI)' } else { '' }
  $grants = @("*S-1-5-18:${inherit}F", "*S-1-5-32-544:${inherit}F")
  if ($Read) { $grants += "*S-1-5-11:${inherit}RX" }
  Invoke-Native -Program 'icacls.exe' -Arguments (@($Path, '/inheritance:r', '/grant:r') + $grants) | Out-Null
  Invoke-Native -Program 'icacls.exe' -Arguments @($Path, '/setowner', '*S-1-5-32-544') | Out-Null
}

function New-Folder {
  param([string]$Path)
  New-Item -Path $Path -ItemType Directory -Force | Out-Null
}

function New-OrielFolder {
  New-Folder -Path $OrielRoot
  Protect-Path -Path $OrielRoot -Folder
  New-Folder -Path "$OrielRoot\log"
  New-Folder -Path "$OrielRoot\state"
}

function Get-OrielState {
  param([string]$Name)
  $path = "$OrielRoot\state\$Name"
  if (Test-Path -LiteralPath $path) { return [IO.File]::ReadAllText($path) }
  return ''
}

# Flushed and renamed: a power cut leaves the old state or the new one, never an empty file.
function Set-OrielState {
  param([string]$Name, [string]$Value)
  $path = "$OrielRoot\state\$Name"
  $bytes = [Text.Encoding]::ASCII.GetBytes($Value)
  $file = [IO.File]::Create("$path.new")
  try {
    $file.Write($bytes, 0, $bytes.Length)
    $file.Flush($true)
  } finally {
    $file.Dispose()
  }
  Move-Item -LiteralPath "$path.new" -Destination $path -Force
}

# Held by the start-up task and by the verbs that change something, so that no two of them do it at once.
function Enter-OrielRun {
  param([int]$Seconds)
  $watch = [Diagnostics.Stopwatch]::StartNew()
  while ($true) {
    try {
      return [IO.File]::Open("$OrielRoot\state\run.lock", 'OpenOrCreate', 'ReadWrite', 'None')
    } catch [IO.IOException] {
      if ($watch.Elapsed.TotalSeconds -ge $Seconds) { throw 'Another run of the Oriel scripts is under way.' }
      Start-Sleep -Seconds 1
    }
  }
}

# Runs a program of Windows and gives its output as lines; an exit code that is not among Success is an error.
function Invoke-Native {
  param([string]$Program, [string[]]$Arguments = @(), [int[]]$Success = @(0))
  Get-Command -Name $Program -CommandType Application | Out-Null
  # Under Stop, 5.1 takes the first line that a program writes to stderr for an error that ends the script.
  $ErrorActionPreference = 'Continue'
  $lines = @(& $Program @Arguments 2>&1 | ForEach-Object -Process { [string]$_ })
  $code = $LASTEXITCODE
  foreach ($line in $lines) { Write-OrielLog -Text "  $line" }
  if ($Success -notcontains $code) {
    $last = @($lines | Where-Object -FilterScript { $_.Trim() } | Select-Object -Last 1) -join ''
    throw "$(Split-Path -Path $Program -Leaf) ended with exit code ${code}: $last"
  }
  return $lines
}

function Invoke-Retry {
  param([scriptblock]$Action, [int]$Times = 10, [int]$Seconds = 2)
  for ($try = 1; $true; $try++) {
    try {
      return & $Action
    } catch {
      if ($try -ge $Times) { throw }
      Write-OrielLog -Text "attempt ${try}: $($_.Exception.Message)"
      Start-Sleep -Seconds $Seconds
    }
  }
}

# The folder oriel of the disc with this label, or '' when none is in a drive.
function Find-OrielDisc {
  param([string]$Label, [int]$Seconds = 0)
  $watch = [Diagnostics.Stopwatch]::StartNew()
  while ($true) {
    foreach ($drive in [IO.DriveInfo]::GetDrives()) {
      if ($drive.DriveType -eq 'CDRom' -and $drive.IsReady -and $drive.VolumeLabel -eq $Label) {
        return "$($drive.Name)oriel"
      }
    }
    if ($watch.Elapsed.TotalSeconds -ge $Seconds) { return '' }
    Start-Sleep -Seconds 1
  }
}

function Read-Json {
  param([string]$Path)
  # ReadAllText reads UTF-8, Get-Content of 5.1 the code page of the system.
  return ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($Path))
}

function Test-SameFile {
  param([string]$Path, [string]$Other)
  if (-not (Test-Path -LiteralPath $Path) -or -not (Test-Path -LiteralPath $Other)) { return $false }
  $hashes = @(Get-FileHash -LiteralPath $Path, $Other -Algorithm SHA256)
  return $hashes[0].Hash -eq $hashes[1].Hash
}

function Assert-FileHash {
  param([string]$Path, [string]$Hash)
  $found = (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash
  if ($found -ne $Hash) { throw "$Path has the SHA-256 $found, not $Hash." }
}

# A copy from a CD is read-only, and the next copy over it would fail.
function Copy-FromDisc {
  param([string]$Path, [string]$Target)
  New-Folder -Path (Split-Path -Path $Target -Parent)
  Copy-Item -LiteralPath $Path -Destination $Target -Force
  Set-ItemProperty -LiteralPath $Target -Name IsReadOnly -Value $false
}

function Get-RegistryValue {
  param([string]$Path, [string]$Name)
  if (-not (Test-Path -LiteralPath $Path)) { return $null }
  return (Get-Item -LiteralPath $Path).GetValue($Name, $null)
}

function Test-RegistryValue {
  param([string]$Path, [string]$Name)
  return $null -ne (Get-RegistryValue -Path $Path -Name $Name)
}

# New-Item -Force would empty a key that is there.
function Set-RegistryValue {
  param([string]$Path, [string]$Name, [object]$Value, [string]$Type = 'DWord')
  if (-not (Test-Path -LiteralPath $Path)) { New-Item -Path $Path -Force | Out-Null }
  New-ItemProperty -LiteralPath $Path -Name $Name -Value $Value -PropertyType $Type -Force | Out-Null
}

# For use in a stage: after its Run the guest restarts, and the stage is looked at again.
function Request-Reboot {
  param([string]$Why)
  $name = "reboots-$($OrielRun.Stage)"
  $count = 1 + [int]('0' + (Get-OrielState -Name $name))
  # Without an end the host would see a guest that restarts for ever.
  if ($count -gt 3) { throw "Three reboots did not help: $Why." }
  Set-OrielState -Name $name -Value "$count"
  Send-OrielLine -State 'progress' -Detail $Why
  $OrielRun.Reboot = $true
}

# Runs stages in order and tells COM1 of each. Gives 'done', 'reboot' or 'failed'.
function Invoke-OrielStages {
  param([object[]]$Stages)
  foreach ($stage in $Stages) {
    $OrielRun.Stage = $stage.Name
    $OrielRun.Reboot = $false
    $OrielRun.More = @{}
    Send-OrielLine -State 'started'
    $detail = 'already done'
    try {
      if (-not (& $stage.Test)) {
        $detail = ''
        & $stage.Run | Out-String -Stream | ForEach-Object -Process { Write-OrielLog -Text "  $_" }
      }
    } catch {
      Write-OrielLog -Text "$($_.Exception.Message) $($_.ScriptStackTrace)"
      $OrielRun.Failure = Limit-Text -Text $_.Exception.Message
      Send-OrielLine -State 'failed' -Detail $OrielRun.Failure
      return 'failed'
    }
    if ($OrielRun.Reboot) {
      Send-OrielLine -State 'reboot'
      return 'reboot'
    }
    Remove-Item -Path "$OrielRoot\state\reboots-$($stage.Name)*" -Force
    Send-OrielLine -State 'done' -Detail $detail -More $OrielRun.More
  }
  return 'done'
}
