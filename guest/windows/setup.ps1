#Requires -Version 5.1
# Windows Setup starts this from the disc at the first logon (FirstLogonCommands). It copies the scripts and leaves the
# rest to the start-up task, which runs as SYSTEM now and after each reboot. The pattern (first logon, then a task at
# start-up) is that of Microsoft's install-docker-ce.ps1.

. "$PSScriptRoot\lib.ps1"
. "$PSScriptRoot\stages-setup.ps1"

New-OrielFolder
Start-OrielLog -Name 'setup'
if ((Invoke-OrielStages -Stages @($SetupStages[0])) -ne 'done') { exit 1 }
Start-ScheduledTask -TaskName 'Oriel'
