// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Tidemark.Blocks;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Machines;
using Tidemark.Storage;
using Disk = Tidemark.Engine.Tests.AuditCostTests.CountingDisk;

namespace Tidemark.Engine.Tests;

/// <summary>What an audit reads, counted in bytes at the disk, over many runs into a real repository.</summary>
public sealed class AuditCostTests(LabFixture fixture)
{
    private const int Chunk = 1 << 16;
    private const int Chunks = 10_000;

    [Fact]
    public async Task DefaultAuditOfTenThousandChunks_ReadsTwoPercentInOnePass()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var disk = new Disk(Chunks * (long)Chunk);
        var first = await BackUpAsync(lab, disk, null, AuditBudget.Default);
        Assert.Equal(Chunks * (long)Chunk, disk.Read);

        long next = 0;
        var point = first;
        foreach (var changed in (long[][])[[7, 4000, 9999], [], [100, 101, 102, 5000]])
        {
            foreach (var chunk in changed)
                disk.Change(chunk);
            disk.Read = 0;
            point = await BackUpAsync(lab, disk, point, AuditBudget.Default, changed);
            var (details, audit) = (point.Disk("vda"), point.Disk("vda").Audit!);
            next += 200;
            Assert.Equal(next, audit.Next);
            Assert.Equal(changed.Length * (long)Chunk, details.ReadBytes);
            Assert.InRange(audit.Bytes, 190 * Chunk, (200 + AuditedChunks.MostWitnesses) * Chunk);
            Assert.Equal(details.ReadBytes + audit.Bytes + Chunk, disk.Read); // and the last chunk that is inherited
        }

        Assert.Equal(4, point.Disk("vda").Audit!.Covered.Count);

        // A lie outside of the window costs nothing and is found when the window comes there.
        disk.Change(650);
        disk.Read = 0;
        var healed = await BackUpAsync(lab, disk, point, AuditBudget.Default);
        Assert.Equal("full", healed.Disk("vda").Mode);
        Assert.InRange(disk.Read, Chunks * (long)Chunk, (Chunks + 300) * (long)Chunk);
        await using var restored = lab.Repository.Repository.OpenDisk(healed.Disk("vda"));
        var (bytes, truth) = (new byte[Chunk], new byte[Chunk]);
        foreach (var chunk in (long[])[7, 99, 100, 650, 651, 5000, 9999])
        {
            await restored.ReadAsync(chunk * Chunk, bytes, EngineLab.Token);
            await disk.ReadAsync(chunk * Chunk, truth, EngineLab.Token);
            Assert.Equal(truth, bytes);
        }
    }

    private static async Task<RestorePoint> BackUpAsync(
        EngineLab lab, Disk disk, RestorePoint? last, AuditBudget budget, params long[] changed)
    {
        await using var run = await lab.Repository.Repository.BeginRunAsync(
            new MachineId("counted"), new BackupRunOptions { Bases = last is null ? [] : [last] }, EngineLab.Token);
        var frozen = new FrozenPoint(disk, changed);
        var warnings = new List<string>();
        var backup = new DiskBackup(
            run, frozen, lab.Repository, await lab.Repository.PointsOfAsync("counted", EngineLab.Token), budget, warnings.Add);
        var draft = await backup.ReadAsync(
            PlannedDisk.Of(disk.Size, last), last?.Disk("vda").Tree, null, (_, _) => { }, EngineLab.Token);
        return await run.CommitAsync(
            new RestorePointDraft { Name = "counted", Uuid = "counted", Time = frozen.Time, Disks = [draft], Warnings = warnings },
            EngineLab.Token);
    }

    /// <summary>A disk larger than memory should hold: each chunk is its number and how often it changed, again and again.</summary>
    internal sealed class CountingDisk(long size) : IBlockSource
    {
        private readonly Dictionary<long, int> _versions = [];
        private long _read;

        public long Size => size;

        /// <summary>Bytes read.</summary>
        public long Read
        {
            get => Interlocked.Read(ref _read);
            set => Interlocked.Exchange(ref _read, value);
        }

        public void Change(long chunk) => _versions[chunk] = _versions.GetValueOrDefault(chunk) + 1;

        public ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            Interlocked.Add(ref _read, buffer.Length);
            buffer.Span.Fill(1);
            BinaryPrimitives.WriteInt64LittleEndian(buffer.Span, offset / Chunk);
            BinaryPrimitives.WriteInt32LittleEndian(buffer.Span[8..], _versions.GetValueOrDefault(offset / Chunk));
            return ValueTask.CompletedTask;
        }

        public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await Task.CompletedTask;
            yield return new Extent(range, ExtentKind.Data);
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class FrozenPoint(Disk disk, IReadOnlyList<long> changed) : IFrozenPoint, IFrozenDisk
    {
        public DateTimeOffset Time { get; } = DateTimeOffset.UtcNow;

        public Consistency Consistency => Consistency.Crash;

        public IReadOnlyList<string> Warnings => [];

        public bool ThawOwed => false;

        public CancellationToken Voided => CancellationToken.None;

        public string? VoidReason => null;

        public IBlockSource Source => disk;

        public Task ConnectAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public IFrozenDisk Disk(string name) => this;

        public Task EndAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task ConfirmAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        public IAsyncEnumerable<ByteRange> ChangedAsync(CancellationToken cancellationToken) =>
            changed.Select(chunk => new ByteRange(chunk * Chunk, Chunk)).ToAsyncEnumerable();
    }
}
