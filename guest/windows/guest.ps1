#Requires -Version 5.1
# Care over ssh: guest.ps1 VERB [ARGUMENT] prints one JSON line and exits with 0, or one with an error and exits with 1.
param([string]$Verb = '', [string]$Argument = '')

. "$PSScriptRoot\lib.ps1"
. "$PSScriptRoot\engine.ps1"
. "$PSScriptRoot\facts.ps1"
. "$PSScriptRoot\stages-machine.ps1"

# Parsed as UTC and given to Set-Date as local time, which is the only time it takes.
function Set-Clock {
  param([string]$Time)
  $formats = [string[]]@("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", "yyyy-MM-dd'T'HH:mm:ss'Z'")
  $culture = [Globalization.CultureInfo]::InvariantCulture
  $moment = [DateTimeOffset]::ParseExact($Time, $formats, $culture, [Globalization.DateTimeStyles]::AssumeUniversal)
  Set-Date -Date $moment.LocalDateTime | Out-Null
  return [ordered]@{ time = Get-UtcTime }
}

function Invoke-Apply {
  $OrielRun.Id = $Machine.id
  $outcome = Invoke-OrielStages -Stages ($ApplyStages + $EngineStages)
  if ($outcome -eq 'failed') { throw "$($OrielRun.Stage): $($OrielRun.Failure)" }
  return [ordered]@{ id = $Machine.id; reboot = ($outcome -eq 'reboot') }
}

# Our answer file puts C: last, but some releases make a recovery partition behind it. It goes, and Windows RE stays
# off: a machine is repaired from a snapshot or made anew.
function Expand-SystemDisk {
  Update-HostStorageCache
  $system = Get-Partition -DriveLetter C
  $disk = Get-Disk -Number $system.DiskNumber
  $behind = @(Get-Partition -DiskNumber $disk.Number | Where-Object -FilterScript { $_.Offset -gt $system.Offset })
  foreach ($partition in $behind) {
    # The type of a recovery partition (learn.microsoft.com, "UEFI/GPT-based hard drive partitions").
    if ($partition.GptType -ne '{de94bba4-06d1-4d40-a16a-bfd50179d6ac}') {
      throw 'A partition that is not for recovery lies behind C:, so C: cannot grow.'
    }
    Invoke-Native -Program 'reagentc.exe' -Arguments @('/disable') -Success @(0, 2) | Out-Null
    Remove-Partition -DiskNumber $disk.Number -PartitionNumber $partition.PartitionNumber -Confirm:$false
  }
  $most = (Get-PartitionSupportedSize -DriveLetter C).SizeMax
  # Nearer than a megabyte is the same size: alignment.
  if ($most - $system.Size -gt 1mb) { Resize-Partition -DriveLetter C -Size $most }
  return [ordered]@{ bytes = (Get-Partition -DriveLetter C).Size }
}

try {
  Start-OrielLog -Name 'guest'
  Write-OrielLog -Text "$Verb $Argument"
  $lock = $null
  # Facts and the clock change nothing that a run works on, and must not wait for one.
  if (@('facts', 'set-clock') -notcontains $Verb) { $lock = Enter-OrielRun -Seconds 30 }
  # The last, should a cmdlet have said something before it.
  $answers = @(switch ($Verb) {
    'facts' { Get-Facts }
    'set-clock' { Set-Clock -Time $Argument }
    'apply' {
      $MachineDisc = Find-OrielDisc -Label 'ORIEL_MACHINE' -Seconds 60
      $Machine = Read-Machine -Disc $MachineDisc
      Invoke-Apply
    }
    'upgrade' { Update-Engine }
    'rearm' { Reset-Evaluation }
    'extend-disk' { Expand-SystemDisk }
    default { throw "There is no verb '$Verb'." }
  })
  [Console]::Out.WriteLine((ConvertTo-AsciiJson -Value $answers[-1]))
  exit 0
} catch {
  Write-OrielLog -Text "$($_.Exception.Message) $($_.ScriptStackTrace)"
  [Console]::Out.WriteLine((ConvertTo-AsciiJson -Value @{ error = (Limit-Text -Text $_.Exception.Message) }))
  exit 1
}
