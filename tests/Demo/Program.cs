// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Tidemark.Demo;

using var stop = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var hangup = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);

var screen = Screen.OfThisProcess();
try
{
    await Tour.RunAsync(args[0], screen, stop.Token);
    screen.ShowTable();
    screen.Say("[green]Everything is as it must be.[/] Nothing of this demo is left on this computer.");
    return 0;
}
catch (Exception) when (stop.IsCancellationRequested)
{
    screen.Say("Interrupted. Nothing of this demo is left on this computer.");
    return 130;
}
catch (Exception e)
{
    screen.ShowTable();
    screen.Fail(e is OffException ? e.Message : e.ToString());
    return 1;
}

// The first signal ends the tour in order: the command that runs is asked to end, then the machines, then the folders go.
void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}
