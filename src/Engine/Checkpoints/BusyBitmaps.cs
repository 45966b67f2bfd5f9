// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>Gives an operation that holds a bitmap (the end of another job, another tool's export) some time to let go of it.</summary>
internal static class BusyBitmaps
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    /// <summary>The machine once none of these bitmaps is held any more, or after the time is up.</summary>
    public static async Task<Machine> WaitAsync(
        IHypervisor hypervisor, Machine machine, IReadOnlySet<string> checkpoints, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        while (AnyBusy(machine, checkpoints) && Stopwatch.GetElapsedTime(started) < Patience)
        {
            await Task.Delay(Pause, cancellationToken);
            machine = await hypervisor.FindAsync(machine.Uuid, cancellationToken) ?? machine;
        }

        return machine;
    }

    private static bool AnyBusy(Machine machine, IReadOnlySet<string> checkpoints) => machine.Disks.Any(disk =>
        disk.Bitmaps.Any(bitmap => bitmap.Value == BitmapHealth.Busy && checkpoints.Contains(bitmap.Key)));
}
