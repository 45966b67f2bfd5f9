// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Points;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>A machine with one disk of 64 chunks, backed up with audits.</summary>
internal static class AuditedDisk
{
    public const int Chunk = 1 << 16;
    public const int Chunks = 64;

    /// <summary>A running machine whose disk is full of noise.</summary>
    public static async Task<LabMachine> StartAsync(LabFixture fixture, string name)
    {
        var machine = await LabMachine.DefineAsync(fixture.Host, $"audit-{name}", new LabDisk("vda", Chunks * Chunk));
        var bytes = new byte[Chunks * Chunk];
        Random.Shared.NextBytes(bytes);
        await machine.WriteBytesAsync("vda", 0, bytes, EngineLab.Token);
        return machine;
    }

    /// <summary>A backup that compares so much of each disk with the store.</summary>
    public static BackupOptions Audit(int percent) =>
        new() { Audit = AuditBudget.OfPercent(percent), ChunkLog2 = 16, Quiesce = Machines.Quiesce.Off };

    /// <summary>The run found a bitmap that lied, and its disk is whole again.</summary>
    public static void AssertHealed(PointInfo point)
    {
        var disk = Assert.Single(point.Disks);
        Assert.Equal("full", disk.Mode);
        Assert.Contains("calls them unchanged", disk.Reason, StringComparison.Ordinal);
        Assert.Contains(point.Warnings, warning => warning.Contains("was read in full", StringComparison.Ordinal));
        Assert.Equal(point.Time, disk.CoveredSince);
    }
}
