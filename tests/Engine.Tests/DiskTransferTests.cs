// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using Tidemark.Blocks;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Storage;

namespace Tidemark.Engine.Tests;

/// <summary>A transfer ends when a read fails, however far it has read ahead.</summary>
public sealed class DiskTransferTests(LabFixture fixture)
{
    private const int Chunk = 1 << 16;
    private const int FailingChunk = 2 + 3 * 200;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task AReadThatFails_EndsIt_AlsoWhenNothingMoreFitsAhead()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        await using var run = await lab.Repository.Repository.BeginRunAsync(
            new MachineId("failing"), new BackupRunOptions(), EngineLab.Token);
        await using var disk = new SlowDisk();
        var plan = PlannedDisk.Of(disk.Size);
        var suspicion = new Suspicion(Coverage.None(disk.Size / Chunk));
        var writer = run.OpenDisk("vda", disk.Size, plan.ChunkLog2, null, suspicion.Found);
        var transfer = new DiskTransfer(disk, plan, null, suspicion, writer, (_, _) => { });
        var failure = await Assert.ThrowsAsync<IOException>(() => transfer.RunAsync(EngineLab.Token).WaitAsync(Patience, EngineLab.Token));
        Assert.Equal("the disk broke", failure.Message);
        Assert.InRange(disk.Ahead, 61, 67); // a third of it zero: the failure met a transfer that had no room for the next
        await writer.AbandonAsync();
    }

    /// <summary>
    /// One chunk of zero and two of data, again and again. One read is answered after the other, so that each is waited for and much is
    /// read ahead; one fails when nothing more is asked for.
    /// </summary>
    private sealed class SlowDisk : IBlockSource, IFrozenDisk
    {
        private readonly SemaphoreSlim _turn = new(1);
        private long _last;

        public long Size => 3 * 400 * Chunk;

        public IBlockSource Source => this;

        /// <summary>Chunks from the one that failed to the last that was asked for.</summary>
        public int Ahead { get; private set; }

        public async ValueTask ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            var chunk = offset / Chunk;
            Interlocked.Exchange(ref _last, chunk);
            await _turn.WaitAsync(CancellationToken.None);
            await Task.Delay(1, CancellationToken.None);
            _turn.Release();
            if (chunk == FailingChunk)
            {
                for (long seen = -1; seen != (seen = Interlocked.Read(ref _last));)
                    await Task.Delay(300, CancellationToken.None);
                Ahead = (int)(_last - chunk);
                throw new IOException("the disk broke");
            }

            buffer.Span.Fill((byte)chunk);
        }

        public async IAsyncEnumerable<Extent> ExtentsAsync(ByteRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await Task.CompletedTask;
            for (var at = range.Offset; at < range.End; at += 3 * Chunk)
            {
                yield return new Extent(new ByteRange(at, Chunk), ExtentKind.Zero);
                yield return new Extent(new ByteRange(at + Chunk, 2 * Chunk), ExtentKind.Data);
            }
        }

        public IAsyncEnumerable<ByteRange> ChangedAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

        public ValueTask DisposeAsync()
        {
            _turn.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
