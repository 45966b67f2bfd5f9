// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>
/// A pack being written: bytes are gathered into blocks, each hashed and written in order by a chain of tasks while the next one fills;
/// closing it adds contents and footer, and publishes it under the hash. Used by <see cref="PackWriter"/> under its gate.
/// </summary>
internal sealed class OpenPack(
    IObjectUpload upload, TaskScheduler scheduler, RunCounters counters, Action<Exception> fail) : IAsyncDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private volatile PackName? _name;

    /// <summary>What lies in it so far.</summary>
    public List<PackEntry> Entries { get; } = [];

    /// <summary>Bytes so far.</summary>
    public long Length { get; set; }

    /// <summary>Set once the pack is durable.</summary>
    public PackName? Name => _name;

    /// <summary>The blocks handed over so far, in order.</summary>
    public Task Written { get; private set; } = Task.CompletedTask;

    /// <summary>Hands a full block over; <paramref name="done"/> gets it back.</summary>
    public void Write(IMemoryOwner<byte> block, int length, Action<IMemoryOwner<byte>> done, CancellationToken cancellationToken)
    {
        var before = Written;
        Written = scheduler.Start(async () =>
        {
            try
            {
                await before;
                using (counters.Measure(RunStage.PackHash))
                    _hash.AppendData(block.Memory.Span[..length]);
                using (counters.Measure(RunStage.Write))
                    await upload.WriteAsync(block.Memory[..length], cancellationToken);
            }
            catch (Exception failure)
            {
                fail(failure);
                throw;
            }
            finally
            {
                done(block);
            }
        });
    }

    /// <summary>Waits for the blocks and publishes the pack, durably.</summary>
    public async Task PublishAsync(WriterId writer, RunId run, bool isData, IObjectStore store, CancellationToken cancellationToken)
    {
        await Written;
        var name = new PackName(writer, run, BlobId.From(_hash.GetHashAndReset()), isData);
        using (counters.Measure(RunStage.Sync))
        {
            // The name is the content's hash and carries this run: what exists under it is this pack, from a retried request.
            if (!await upload.CommitAsync(name.Key, cancellationToken)
                && (await store.HeadAsync(name.Key, cancellationToken))?.Size != Length)
                throw new RepositoryDamagedException(name.Key, $"a pack of {Length} bytes", "another object under its name");
        }

        _name = name;
    }

    public async ValueTask DisposeAsync()
    {
        _hash.Dispose();
        await upload.DisposeAsync();
    }
}
