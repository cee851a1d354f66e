#Requires -Version 5.1
# What the host wants to know of this Windows, and its evaluation period.

# Days and rearms left, both $null where Windows is no evaluation. WMI instead of slmgr.vbs, whose words are translated;
# these are the fields that slmgr.vbs prints (learn.microsoft.com, previous-versions/windows/desktop/sppwmi).
function Get-Evaluation {
  $edition = Get-RegistryValue -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' -Name 'EditionID'
  $evaluation = [ordered]@{ evaluation = ($edition -like '*Eval'); daysLeft = $null; rearmsLeft = $null }
  if ($evaluation.evaluation) {
    # The ApplicationID is that of Windows itself; Office has another one. The unit is a minute.
    $query = 'SELECT GracePeriodRemaining FROM SoftwareLicensingProduct WHERE ' +
      "ApplicationID = '55c92734-d682-4d71-983e-d6ec3f16059f' AND PartialProductKey IS NOT NULL"
    foreach ($product in @(Get-CimInstance -Query $query)) {
      $evaluation.daysLeft = [int][Math]::Floor($product.GracePeriodRemaining / 1440)
    }
    $service = Get-CimInstance -ClassName 'SoftwareLicensingService'
    $evaluation.rearmsLeft = [int]$service.RemainingWindowsReArmCount
  }
  return $evaluation
}

function Get-Facts {
  $windows = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
  $product = Get-RegistryValue -Path $windows -Name 'ProductName'
  $evaluation = [ordered]@{ evaluation = $false; daysLeft = $null; rearmsLeft = $null }
  try {
    $evaluation = Get-Evaluation
  } catch {
    # A machine is ready without these.
    Write-OrielLog -Text "no facts of the evaluation: $($_.Exception.Message)"
  }
  return [ordered]@{
    product = $product -replace ' Evaluation$', ''
    build = [int](Get-RegistryValue -Path $windows -Name 'CurrentBuildNumber')
    revision = [int](Get-RegistryValue -Path $windows -Name 'UBR')
    evaluation = $evaluation.evaluation
    daysLeft = $evaluation.daysLeft
    rearmsLeft = $evaluation.rearmsLeft
    engine = Get-EngineVersion
    time = Get-UtcTime
  }
}

# ReArmWindows is what slmgr.vbs /rearm calls; the new period counts from the reboot after it.
function Reset-Evaluation {
  $service = Get-CimInstance -ClassName 'SoftwareLicensingService'
  $before = Get-Evaluation
  if (-not $before.evaluation) { throw 'This Windows is no evaluation, so there is no period to renew.' }
  if ($before.rearmsLeft -lt 1) { throw 'No rearm is left: the evaluation period cannot be renewed again.' }
  $result = Invoke-CimMethod -InputObject $service -MethodName 'ReArmWindows'
  if ($result.ReturnValue -ne 0) { throw "ReArmWindows returned $($result.ReturnValue)." }
  $after = Get-Evaluation
  return [ordered]@{ daysLeft = $after.daysLeft; rearmsLeft = $after.rearmsLeft; reboot = $true }
}
