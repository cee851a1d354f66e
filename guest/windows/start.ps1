#Requires -Version 5.1
# What the start-up task Oriel runs, as SYSTEM at each boot: goes on with the phase that the guest is in.

. "$PSScriptRoot\lib.ps1"
. "$PSScriptRoot\engine.ps1"
. "$PSScriptRoot\facts.ps1"
. "$PSScriptRoot\stages-setup.ps1"
. "$PSScriptRoot\stages-machine.ps1"

Start-OrielLog -Name 'start'
$lock = Enter-OrielRun -Seconds 1800
try {
  $applied = Get-OrielState -Name 'applied'
  $sealed = Get-OrielState -Name 'sealed'
  # The setup disc still in the drive of a sealed guest: the shutdown was cut, and the host waits for it.
  $finished = $sealed -and ($applied -or -not (Find-OrielDisc -Label 'ORIEL_SETUP'))
  $OrielRun.Stage = if ($finished) { 'identity' } else { 'copy' }

  if (-not $finished) {
    $outcome = Invoke-OrielStages -Stages $SetupStages
    if ($outcome -eq 'done') { Stop-Computer -Force }
  } else {
    # A machine's first start cannot do without its disc, so it waits until Windows has read it.
    $MachineDisc = Find-OrielDisc -Label 'ORIEL_MACHINE' -Seconds $(if ($applied) { 0 } else { 120 })
    $OrielRun.Id = $applied
    $stages = $EngineStages
    if ($MachineDisc -or -not $applied) {
      $Machine = Read-Machine -Disc $MachineDisc
      if ($Machine.id -ne $applied) {
        $OrielRun.Id = $Machine.id
        $stages = $ApplyStages + $EngineStages
      }
    }
    $outcome = Invoke-OrielStages -Stages $stages
  }
  if ($outcome -eq 'reboot') { Restart-Computer -Force }
  if ($outcome -eq 'failed') { exit 1 }
} catch {
  Write-OrielLog -Text "$($_.Exception.Message) $($_.ScriptStackTrace)"
  Send-OrielLine -State 'failed' -Detail $_.Exception.Message
  exit 1
} finally {
  $lock.Dispose()
}
